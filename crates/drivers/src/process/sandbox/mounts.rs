//! Puts the file system of a sandbox together and makes it the root of this process's mount namespace.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};
use rustix::fs::StatVfsMountFlags;

use super::base::{ETC, NEW_ROOT, ROOT, SYSTEM_DIRS};
use super::init::InitSpec;
use super::{copies, uppers};
use crate::process::means::{Apart, Files};

/// A file system in the making.
pub(super) struct Mounts<'a> {
    pub(super) spec: &'a InitSpec,
    /// Where it is put together.
    pub(super) root: PathBuf,
    /// Mount points of the host, which a bind or an overlay of the directory above them does not show.
    on_host: Vec<PathBuf>,
}

/// Puts the file system of `spec` together and enters it.
///
/// This process must have a mount namespace and a process namespace of its own.
pub(super) fn enter(spec: &InitSpec) -> Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("cannot make mounts private")?;
    // Mount options fit a page; relative paths leave room for a hundred layers.
    chdir(&spec.data_dir).context("cannot enter the data directory")?;
    let mounts = Mounts { spec, root: spec.base.join(NEW_ROOT), on_host: mount_points()? };
    // Below this line, paths in the new root may hold links that an image made. They would lead to the host, so nothing
    // is mounted or made where a link was followed.
    match spec.files {
        Files::Overlay => mounts.stack_layers()?,
        Files::Copy => copies::mount_copies(&mounts)?,
    }
    mounts.mount_host_files()?;
    mounts.mount_devices()?;
    mounts.mount_kernel()?;
    if spec.sandbox.writable_system {
        // What is written there belongs into no layer. A run's writes are thrown away wherever they go.
        mounts.mount_tmp()?;
    }
    for bind in &spec.sandbox.binds {
        let target = mounts.make_target(&bind.source, &bind.target)?;
        mounts.bind(&bind.source, &target, bind.writable)?;
        mounts.cover_data_dir(&bind.source, &bind.target)?;
    }
    for dir in SYSTEM_DIRS {
        let dir = Path::new("/").join(dir);
        mounts.cover_data_dir(&dir, &dir)?;
    }

    chdir(&mounts.root)?;
    // The old root ends up on top of the new one and is taken off at once; no directory is needed to hold it.
    pivot_root(".", ".").context("cannot change the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("cannot leave the old root")?;
    chdir("/")?;
    Ok(())
}

impl Mounts<'_> {
    /// The directory `name` of the new root, to be mounted on.
    pub(super) fn mount_point(&self, name: &str) -> Result<PathBuf> {
        self.existing(Path::new(name)).with_context(|| format!("/{name} of the image is no directory"))
    }

    /// What is at `path` in the new root, unless a link is on the way.
    fn existing(&self, path: &Path) -> Option<PathBuf> {
        let mut at = self.root.clone();
        for part in normal_parts(path) {
            at.push(part);
            fs::symlink_metadata(&at).ok().filter(|file| !file.is_symlink())?;
        }
        Some(at)
    }

    /// Makes an empty directory or file at `target` in the new root if nothing is there, as `source` is one.
    fn make_target(&self, source: &Path, target: &Path) -> Result<PathBuf> {
        let mut at = self.root.clone();
        let mut parts = normal_parts(target).peekable();
        while let Some(part) = parts.next() {
            at.push(part);
            match fs::symlink_metadata(&at) {
                Ok(file) => {
                    anyhow::ensure!(!file.is_symlink(), "{} of the image leads through a link", target.display())
                }
                Err(_) if parts.peek().is_some() || source.is_dir() => self.make_dir(&at, 0o755, false)?,
                Err(_) => fs::write(&at, "").with_context(|| format!("cannot make {}", target.display()))?,
            }
        }
        Ok(at)
    }

    /// Makes a directory with exactly that mode; one that is there stays as it is.
    fn make_dir(&self, dir: &Path, mode: u32, writable: bool) -> Result<()> {
        if is_real_dir(dir) {
            return Ok(());
        }
        fs::create_dir(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(mode))?;
        if let Some((uid, gid)) = self.spec.owner.filter(|_| writable) {
            chown(dir, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// Image and private writes at the root; below it the system's directories with the host's beneath the image's.
    fn stack_layers(&self) -> Result<()> {
        let sandbox = &self.spec.sandbox;
        let mut lower: Vec<PathBuf> = sandbox.layers.iter().rev().cloned().collect();
        lower.push(self.spec.base.join(ROOT));
        self.overlay(&lower, Some(&sandbox.upper), "root")?;
        if sandbox.writable_system {
            self.open_places()?;
        }
        for name in SYSTEM_DIRS {
            let host = Path::new("/").join(name);
            if !is_real_dir(&host) {
                continue;
            }
            let mut lower: Vec<PathBuf> = sandbox.layers.iter().rev().map(|layer| layer.join(name)).collect();
            lower.retain(|dir| is_real_dir(dir));
            let own = uppers::parked(sandbox, name);
            // A place to show something at may have to be made.
            let bound = sandbox.binds.iter().any(|bind| bind.target.starts_with(&host));
            let changed = !lower.is_empty() || is_real_dir(&own) || bound || sandbox.writable_system;
            if name == "etc" {
                lower.push(self.spec.base.join(ETC));
            }
            lower.push(host.clone());
            match lower.as_slice() {
                [only] if !changed => self.bind(only, &self.mount_point(name)?, false)?,
                lower => self.overlay(lower, changed.then_some(&own), name)?,
            }
            for point in self.on_host.iter().filter(|point| point.starts_with(&host) && **point != host) {
                if !self.spec.data_dir.starts_with(point)
                    && let Some(target) = self.existing(point)
                {
                    self.bind(point, &target, false)?;
                }
            }
        }
        Ok(())
    }

    /// Gives directories of the host in which image builds install things to the command, in a fresh `upper`.
    ///
    /// The host's belong to root, or to nobody seen from a user namespace, and nothing could be created in them.
    fn open_places(&self) -> Result<()> {
        let [usr, opt] = ["usr", "opt"].map(|name| uppers::parked(&self.spec.sandbox, name));
        let local = (PathBuf::from("/usr/local"), usr.join("local"), 3);
        let mut open = vec![local, (PathBuf::from("/opt"), opt, 1)];
        // What a command made of them since is its own affair.
        open.retain(|(_, upper, _)| fs::symlink_metadata(upper).is_err());
        while let Some((host, upper, depth)) = open.pop() {
            if !is_real_dir(&host) {
                continue;
            }
            if host.starts_with("/usr") {
                self.make_dir(&usr, 0o755, false)?;
            }
            self.make_dir(&upper, 0o755, true)?;
            if depth > 1 {
                let below = fs::read_dir(&host)?.flatten().map(|entry| entry.file_name());
                open.extend(below.map(|name| (host.join(&name), upper.join(&name), depth - 1)));
            }
        }
        Ok(())
    }

    /// Mounts `lower` (the uppermost first) at `name` in the new root.
    fn overlay(&self, lower: &[PathBuf], upper: Option<&Path>, name: &str) -> Result<()> {
        let target = if name == "root" { self.root.clone() } else { self.mount_point(name)? };
        let lower: Vec<String> = lower.iter().map(|dir| self.option(dir)).collect();
        let mut options = format!("lowerdir={},index=off,redirect_dir=off,metacopy=off", lower.join(":"));
        if let Some(upper) = upper {
            if name != "root" {
                // Readable for all, as the host's that it stands for.
                self.make_dir(upper, 0o755, false)?;
            }
            let work = uppers::work(&self.spec.sandbox, name);
            fs::create_dir(&work)?;
            // What a command writes is thrown away, or synced by whoever keeps it: its own fsync need not wait.
            options += &format!(",upperdir={},workdir={},volatile", self.option(upper), self.option(&work));
        }
        if self.spec.apart == Apart::User {
            options += ",userxattr";
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("overlay"), &target, Some("overlay"), flags, Some(options.as_str())).with_context(|| {
            format!("cannot stack {} layers at /{}", lower.len(), if name == "root" { "" } else { name })
        })
    }

    /// A path as an overlay option.
    fn option(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.spec.data_dir).unwrap_or(path);
        let mut option = String::new();
        for character in path.to_string_lossy().chars() {
            if matches!(character, '\\' | ':' | ',') {
                option.push('\\');
            }
            option.push(character);
        }
        option
    }

    /// Shows a directory or file of the host at `target`.
    pub(super) fn bind(&self, source: &Path, target: &Path, writable: bool) -> Result<()> {
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(source), target, None::<&str>, bind, None::<&str>)
            .with_context(|| format!("cannot show {}", source.display()))?;
        if writable {
            return Ok(());
        }
        let below = self.on_host.iter().filter_map(|point| point.strip_prefix(source).ok());
        let targets = below.filter(|rest| !rest.as_os_str().is_empty()).map(|rest| target.join(rest));
        for target in std::iter::once(target.to_owned()).chain(targets) {
            let Ok(now) = rustix::fs::statvfs(&target) else { continue };
            let remount = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
            let flags = remount | kept_flags(now.f_flag);
            mount(None::<&str>, &target, None::<&str>, flags, None::<&str>)
                .with_context(|| format!("cannot make {} read-only", source.display()))?;
        }
        Ok(())
    }

    /// Name resolution as on the host, wherever its files are.
    fn mount_host_files(&self) -> Result<()> {
        for name in ["resolv.conf", "hosts"] {
            let Ok(host) = fs::canonicalize(Path::new("/etc").join(name)) else { continue };
            let target = self.root.join("etc").join(name);
            // An image may bring its own, or a link that leads nowhere here.
            if fs::symlink_metadata(&target).is_ok_and(|file| file.is_file()) {
                self.bind(&host, &target, false)?;
            }
        }
        Ok(())
    }

    fn mount_devices(&self) -> Result<()> {
        let dev = self.mount_point("dev")?;
        mount_fs("tmpfs", &dev, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, "mode=755,size=64k")?;
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let device = dev.join(name);
            fs::write(&device, "")?;
            let host = Path::new("/dev").join(name);
            if host.exists() {
                mount(Some(&host), &device, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                    .with_context(|| format!("cannot show {}", host.display()))?;
            }
        }
        let links = [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
        for (name, target) in links {
            symlink(Path::new("/proc/self").join(target), dev.join(name))?;
        }
        fs::create_dir(dev.join("pts"))?;
        // Few Actors use terminals; they do without where this is not allowed.
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        if mount_fs("devpts", &dev.join("pts"), flags, "newinstance,ptmxmode=0666,mode=0620").is_ok() {
            symlink("pts/ptmx", dev.join("ptmx"))?;
        }
        fs::create_dir(dev.join("shm"))?;
        let size = format!("mode=1777,size={}", self.spec.shm_bytes);
        mount_fs("tmpfs", &dev.join("shm"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, &size)
    }

    fn mount_kernel(&self) -> Result<()> {
        let proc = self.mount_point("proc")?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount_fs("proc", &proc, flags, "")?;
        // How many processors there are; the rest of /sys tells of the host and of other runs.
        let system = Path::new("/sys/devices/system");
        if system.is_dir() {
            self.bind(system, &self.mount_point("sys/devices/system")?, false)?;
        }
        Ok(())
    }

    fn mount_tmp(&self) -> Result<()> {
        let tmp = self.spec.sandbox.scratch.join("tmp");
        if !tmp.exists() {
            self.make_dir(&tmp, 0o1777, true)?;
        }
        self.bind(&tmp, &self.mount_point("tmp")?, true)
    }

    /// Hides the data directory where showing `source` at `target` would show it too.
    fn cover_data_dir(&self, source: &Path, target: &Path) -> Result<()> {
        let Ok(rest) = self.spec.data_dir.strip_prefix(source) else { return Ok(()) };
        let Some(covered) = self.existing(&target.join(rest)) else { return Ok(()) };
        mount_fs("tmpfs", &covered, MsFlags::MS_RDONLY, "mode=555,size=4k")
    }
}

/// Whether a directory is there, and not a link to one.
pub(super) fn is_real_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.is_dir())
}

pub(super) fn mount_fs(kind: &str, target: &Path, flags: MsFlags, options: &str) -> Result<()> {
    mount(Some(kind), target, Some(kind), flags, Some(options)).with_context(|| format!("cannot mount {kind}"))
}

/// The names in a path, without `/`, `.` and `..`.
fn normal_parts(path: &Path) -> impl Iterator<Item = &std::ffi::OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// Flags of a mount that must be repeated when it is changed: in a user namespace they may not be taken off.
fn kept_flags(now: StatVfsMountFlags) -> MsFlags {
    let flags = [
        (StatVfsMountFlags::NODEV, MsFlags::MS_NODEV),
        (StatVfsMountFlags::NOEXEC, MsFlags::MS_NOEXEC),
        (StatVfsMountFlags::NOATIME, MsFlags::MS_NOATIME),
        (StatVfsMountFlags::NODIRATIME, MsFlags::MS_NODIRATIME),
        (StatVfsMountFlags::RELATIME, MsFlags::MS_RELATIME),
    ];
    flags.into_iter().filter(|(there, _)| now.contains(*there)).map(|(_, flag)| flag).collect()
}

/// Every mount point, as the kernel lists them.
fn mount_points() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.map(|point| PathBuf::from(point.replace("\\040", " ").replace("\\134", "\\"))).collect())
}
