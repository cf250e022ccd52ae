//! The data directory: its format, its lock, its secrets.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use model::Random;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::exit::{DATA_DIR_IN_USE, Failure};

/// Layout that this binary writes.
const FORMAT: &str = "1";

/// How long the lock of a server that is dead may outlast it: a child that it was just starting when it was killed holds
/// the lock too, until it executes its program.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// An open data directory. Nobody else opens it while this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held for its lock.
    _lock: Flock<File>,
}

impl DataDir {
    /// Opens a data directory, or makes one. Only its owner may look inside, unless it is one that others put things into, too.
    ///
    /// # Errors
    /// A [`Failure`] with [`DATA_DIR_IN_USE`] if another process has it open; others if it cannot be used or is of a newer format.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the data directory {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        let format = path.join("FORMAT");
        if format.exists() || path.read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
            close_to_others(&path)?;
        }
        let lock = lock(&path)?;
        match std::fs::read_to_string(&format) {
            Ok(text) if text.trim() == FORMAT => {}
            Ok(text) => bail!(
                "{} has format {}, and this version knows {FORMAT}: use the version that made it, or a newer one",
                path.display(),
                text.trim()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_private(&format, FORMAT)?,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", format.display())),
        }
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket on which a running server takes orders of the command line.
    pub fn control_socket(path: &Path) -> PathBuf {
        path.join("control.sock")
    }

    /// The server's secret, which signs run tokens and seals secret values. Made at the first call.
    pub fn secret(&self, random: &dyn Random) -> anyhow::Result<[u8; 32]> {
        let path = self.path.join("secret");
        let text = match read_private(&path)? {
            Some(text) => text,
            None => {
                let mut secret = [0; 32];
                random.fill(&mut secret);
                let text = model::hex::encode(&secret);
                write_private(&path, &text)?;
                text
            }
        };
        model::hex::decode(text.trim()).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Names this data directory among those whose servers share a container engine. Made at the first call.
    pub fn instance(&self, random: &dyn Random) -> anyhow::Result<String> {
        let path = self.path.join("instance");
        if let Some(text) = read_private(&path)? {
            return Ok(text.trim().to_owned());
        }
        let mut bytes = [0; 6];
        random.fill(&mut bytes);
        let instance = model::hex::encode(&bytes);
        write_private(&path, &instance)?;
        Ok(instance)
    }

    /// The driver that this data directory was used with last, if any.
    pub fn driver(&self) -> anyhow::Result<Option<String>> {
        let noted = read_private(&self.path.join("driver"))?.map(|text| text.trim().to_owned());
        // Before there was a choice, nothing was noted.
        let has_builds = std::fs::read_dir(self.path.join("builds"))
            .is_ok_and(|builds| builds.flatten().any(|build| build.path().join("image.json").exists()));
        Ok(noted.or(has_builds.then(|| "process".to_owned())))
    }

    /// Notes the driver that is used from now on.
    pub fn set_driver(&self, driver: &str) -> anyhow::Result<()> {
        if self.driver()?.as_deref() == Some(driver) {
            return Ok(());
        }
        write_private(&self.path.join("driver"), driver)
    }

    /// The local operator's token, if there is one: what `playhouse env` prints.
    pub fn operator_token(path: &Path) -> anyhow::Result<Option<String>> {
        Ok(read_private(&path.join("operator-token"))?.map(|text| text.trim().to_owned()))
    }

    /// Keeps the local operator's token.
    pub fn set_operator_token(&self, token: &str) -> anyhow::Result<()> {
        write_private(&self.path.join("operator-token"), token)
    }

    /// Keeps the address that the server answers at, for commands that look for it.
    pub fn set_url(&self, url: &str) -> anyhow::Result<()> {
        write_private(&self.path.join("url"), url)
    }

    /// The address that the last server answered at.
    pub fn url(path: &Path) -> anyhow::Result<Option<String>> {
        Ok(read_private(&path.join("url"))?.map(|text| text.trim().to_owned()))
    }
}

/// Takes from everybody but the owner what a directory lets them do, if it is not one for everybody, as `/tmp` is.
fn close_to_others(path: &Path) -> anyhow::Result<()> {
    let mode = path.metadata()?.permissions().mode();
    if mode & 0o1000 != 0 || mode & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode & 0o700))
        .with_context(|| format!("cannot keep others from looking into {}", path.display()))
}

fn lock(path: &Path) -> anyhow::Result<Flock<File>> {
    let lock_path = path.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .with_context(|| format!("cannot open {}", lock_path.display()))?;
    let deadline = Instant::now() + LAST_BREATH;
    let mut file = file;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut locked) => {
                locked.set_len(0)?;
                write!(locked, "{}", std::process::id())?;
                return Ok(locked);
            }
            Err((held, Errno::EWOULDBLOCK)) => {
                let holder = std::fs::read_to_string(&lock_path).unwrap_or_default();
                if is_alive(&holder) || Instant::now() > deadline {
                    return Err(in_use(path, &holder).into());
                }
                file = held;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err((_, error)) => return Err(error).with_context(|| format!("cannot lock {}", lock_path.display())),
        }
    }
}

/// Whether a process of that number is there.
fn is_alive(pid: &str) -> bool {
    pid.trim().parse().is_ok_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

fn in_use(path: &Path, holder: &str) -> Failure {
    Failure::new(
        DATA_DIR_IN_USE,
        format!(
            "{} is in use by another playhouse (process {holder}).\n\
             Stop that one, or give this one another directory with --data-dir",
            path.display()
        ),
    )
}

fn read_private(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a small file whole or not at all, readable by its owner only.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    File::open(directory)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn a_second_server_is_refused_with_the_process_that_holds_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDir::open(directory.path()).unwrap();

        let refused = DataDir::open(directory.path()).unwrap_err();

        assert_eq!(refused.downcast_ref::<Failure>().unwrap().code, DATA_DIR_IN_USE);
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        DataDir::open(directory.path()).unwrap();
    }

    #[test]
    fn a_lock_that_outlasts_its_holder_for_a_moment_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let first = DataDir::open(directory.path()).unwrap();
        gone.wait().unwrap();
        std::fs::write(directory.path().join("lock"), gone.id().to_string()).unwrap();

        let released = std::thread::spawn(move || drop(first));

        DataDir::open(directory.path()).unwrap();
        released.join().unwrap();
    }

    #[test]
    fn the_secret_stays_and_only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(directory.path()).unwrap();

        let secret = data_dir.secret(&SystemRandom).unwrap();

        assert_ne!(secret, [0; 32]);
        assert_eq!(data_dir.secret(&SystemRandom).unwrap(), secret);
        let mode = std::fs::metadata(data_dir.path().join("secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_directory_that_was_there_is_closed_to_others_if_it_is_its_own() {
        let mode_after_opening = |mode: u32, with: Option<&str>| {
            let directory = tempfile::tempdir().unwrap();
            if let Some(file) = with {
                std::fs::write(directory.path().join(file), FORMAT).unwrap();
            }
            std::fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
            DataDir::open(directory.path()).unwrap();
            directory.path().metadata().unwrap().permissions().mode() & 0o7777
        };

        assert_eq!(mode_after_opening(0o755, None), 0o700);
        assert_eq!(mode_after_opening(0o755, Some("FORMAT")), 0o700);
        assert_eq!(mode_after_opening(0o755, Some("something-else")), 0o755);
        assert_eq!(mode_after_opening(0o1777, None), 0o1777);
    }

    #[test]
    fn the_driver_and_the_instance_stay() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(directory.path()).unwrap();
        assert_eq!(data_dir.driver().unwrap(), None);
        let build = directory.path().join("builds/b");
        std::fs::create_dir_all(&build).unwrap();
        std::fs::write(build.join("image.json"), "").unwrap();
        assert_eq!(data_dir.driver().unwrap().as_deref(), Some("process"));

        data_dir.set_driver("docker").unwrap();

        assert_eq!(data_dir.driver().unwrap().as_deref(), Some("docker"));
        let instance = data_dir.instance(&SystemRandom).unwrap();
        assert_eq!(instance.len(), 12);
        assert_eq!(data_dir.instance(&SystemRandom).unwrap(), instance);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("FORMAT"), "2").unwrap();

        assert!(DataDir::open(directory.path()).unwrap_err().to_string().contains("format 2"));
    }
}
