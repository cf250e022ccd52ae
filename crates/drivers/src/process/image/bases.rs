//! Base images: prepared from the host's toolchain once for each of its versions, and kept.
//!
//! A base is `bases/<name>/`: a layer in `fs`, and `base.json`. It is made under another name and renamed, so that a
//! base that is there is complete.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::Config;
use super::copy::Target;
use super::environment::{self, BuildEnvironment, NPM_PREFIX};
use super::layers::{self, Content, Layer};
use super::names::{BaseName, Family, satisfies};
use super::toolchain::Toolchain;
use super::traces;
use super::tree::Dir;
use super::workshop::Workshop;
use crate::process::sandbox::{
    ACTOR_HOME, ACTOR_UID, ACTOR_USER, Bind, Command, Sandbox, SandboxError, owner, remove_tree,
};

/// Counts up whenever a base is made differently.
const REVISION: u32 = 1;

/// Where Python packages are installed.
const VENV: &str = "/opt/python";

/// Where the platform's own images keep the Actor.
const APP: &str = "/usr/src/app";

/// A base image that is ready.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) layers: Vec<Layer>,
    pub(super) config: Config,
    /// The toolchain's part of the host.
    pub(super) binds: Vec<Bind>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    config: Config,
    binds: Vec<Bind>,
    /// By the names of their directories, oldest first.
    layers: Vec<(String, Content)>,
}

/// Returns the base for `name`, and prepares it first if it is not there yet. What is done is said in the log.
///
/// # Errors
/// A sentence.
pub(super) fn prepare(
    shop: &mut dyn Workshop,
    environment: &BuildEnvironment,
    name: &BaseName,
) -> Result<Base, String> {
    let toolchain = Toolchain::find(name.family, &name.version)?;
    let title = name.family.title();
    if satisfies(&toolchain.version, &name.version) {
        shop.say(&format!("Using {title} {} of this machine", toolchain.version));
    } else {
        shop.say(&format!(
            "WARNING: the Dockerfile asks for {title} {}, this machine has {}; going on with that",
            name.version, toolchain.version
        ));
    }
    if name.family == Family::Python && !shop.has_own_root() {
        return Err("Python images need namespaces or a container engine; this machine has neither".into());
    }
    let failed = |err: io::Error| format!("cannot prepare the base image: {err}");
    let bases = shop.data_dir().join("bases");
    fs::create_dir_all(&bases).map_err(failed)?;
    let directory = directory_name(name, &toolchain, shop.upper_is_whole());
    // Builds that need the same base wait for the first of them to make it.
    let lock = bases.join(format!("{directory}.lock"));
    let _lock = loop {
        match layers::try_lock_file(&lock).map_err(failed)? {
            Some(lock) => break lock,
            None if shop.is_stopped() => return Err("the build was stopped".into()),
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let dir = bases.join(&directory);
    if !dir.join("base.json").exists() {
        shop.say(&format!("Preparing a base image with {title} {}; this is done once", toolchain.version));
        let temporary = bases.join(format!("tmp-{directory}"));
        remove_tree(&temporary).map_err(failed)?;
        let made = make(shop, environment, name, &toolchain, &temporary);
        if made.is_err() {
            remove_tree(&temporary).map_err(failed)?;
        }
        made?;
        fs::rename(&temporary, &dir).and_then(|()| File::open(&bases)?.sync_all()).map_err(failed)?;
    }
    let stored: Stored =
        fs::read(dir.join("base.json")).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)).map_err(failed)?;
    let home = Path::new("bases").join(&directory);
    let layer = |(name, content)| Layer { dir: dir.join(&name), home: home.join(&name), content };
    let layers = stored.layers.into_iter().map(layer).collect();
    Ok(Base { layers, config: stored.config, binds: stored.binds })
}

fn directory_name(name: &BaseName, toolchain: &Toolchain, whole: bool) -> String {
    let kind = match (name.family, name.with_sdk) {
        (Family::Node, true) => "actor-node",
        (Family::Node, false) => "node",
        (Family::Python, true) => "actor-python",
        (Family::Python, false) => "python",
        (Family::Sample, _) => "sample",
    };
    let mut hash = Sha256::new();
    layers::field(&mut hash, toolchain.program.as_os_str().as_encoded_bytes());
    let of_program = layers::hex(&hash.finalize()[..4]);
    let form = if whole { "-whole" } else { "" };
    format!("{kind}-{}-{of_program}-r{REVISION}{form}", toolchain.version)
}

/// Makes a base in the directory `at`.
fn make(
    shop: &mut dyn Workshop,
    environment: &BuildEnvironment,
    name: &BaseName,
    toolchain: &Toolchain,
    at: &Path,
) -> Result<(), String> {
    let failed = |err: io::Error| format!("cannot prepare the base image: {err}");
    let tree = at.join("given");
    let upper = at.join("made");
    let scratch = at.join("scratch");
    fs::create_dir_all(&tree).and_then(|()| fs::create_dir(&upper)).map_err(failed)?;
    environment::own_dir(&scratch.join("tmp")).and_then(|tmp| environment.furnish(&tmp)).map_err(failed)?;
    furnish(&tree, name).map_err(failed)?;
    if name.family == Family::Sample {
        // A copy: the program may be replaced while an image is still in use.
        fs::copy(&toolchain.program, tree.join("usr/local/bin/playhouse")).map_err(failed)?;
    }

    let config = config(name, toolchain);
    let mut env = environment.env.clone();
    env.extend(config.env.clone());
    let sandbox = Sandbox {
        layers: vec![tree.clone()],
        upper: upper.clone(),
        scratch: scratch.clone(),
        writable_system: true,
        binds: environment.binds.iter().chain(&toolchain.binds).cloned().collect(),
    };
    let commands = commands(name, toolchain);
    let is_made = !commands.is_empty();
    for argv in commands {
        let shown = argv.join(" ");
        shop.say(&format!("  {shown}"));
        let command = Command { argv, env: env.clone(), cwd: config.workdir.clone() };
        match shop.run(&sandbox, &command) {
            Ok(end) if end.code == 0 => {}
            Ok(end) => {
                return Err(format!("cannot prepare the base image: {shown} failed with exit code {}", end.code));
            }
            Err(SandboxError::Stopped) => return Err("the build was stopped".into()),
            Err(err) => return Err(format!("cannot prepare the base image: {err}")),
        }
    }
    let targets = sandbox.binds.iter().map(|bind| bind.target.as_path());
    traces::clean_up(&upper, targets).and_then(|()| remove_tree(&scratch)).map_err(failed)?;
    let mut layers = Vec::new();
    for (name, counts) in [("given", !(is_made && shop.upper_is_whole())), ("made", is_made)] {
        if counts {
            layers.push((name.to_owned(), layers::measure(&at.join(name)).map_err(failed)?));
        } else {
            remove_tree(&at.join(name)).map_err(failed)?;
        }
    }
    let stored = Stored { config, binds: toolchain.binds.clone(), layers };
    let text = serde_json::to_vec_pretty(&stored).map_err(|err| err.to_string())?;
    fs::write(at.join("base.json"), text).map_err(failed)?;
    File::open(at).and_then(|dir| Ok(rustix::fs::syncfs(dir)?)).map_err(failed)
}

fn config(name: &BaseName, toolchain: &Toolchain) -> Config {
    let mut path = String::from("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut env = vec![("LANG", "C.UTF-8".to_owned())];
    match name.family {
        Family::Node => {
            path = path.replace(":/usr/local/bin", &format!(":{NPM_PREFIX}/bin:/usr/local/bin"));
            if let Some(dir) = toolchain.extra_path() {
                path = path.replace(":/usr/sbin", &format!(":{}:/usr/sbin", dir.display()));
            }
            env.push(("NODE_VERSION", toolchain.version.clone()));
            if name.with_sdk {
                env.push(("NODE_ENV", "production".into()));
                // Some sites send longer headers than Node.js takes by default.
                env.push(("NODE_OPTIONS", "--max-http-header-size=80000".into()));
            }
        }
        Family::Python => {
            path = format!("{VENV}/bin:{path}");
            env.push(("PYTHON_VERSION", toolchain.version.clone()));
            if name.with_sdk {
                env.push(("PYTHONUNBUFFERED", "1".into()));
                env.push(("PYTHONDONTWRITEBYTECODE", "1".into()));
            }
        }
        Family::Sample => {}
    }
    env.push(("PATH", path));
    let cmd: &[&str] = match (name.family, name.with_sdk) {
        (Family::Node, true) => &["/bin/sh", "-c", "npm start --silent"],
        (Family::Node, false) => &["node"],
        (Family::Python, true) => &["python3", "-m", "src"],
        (Family::Python, false) => &["python3"],
        (Family::Sample, _) => &["playhouse", "sample-crawler"],
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Config {
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
        workdir: if name.with_sdk { APP } else { "/" }.into(),
        user: if name.with_sdk { ACTOR_USER } else { "" }.into(),
        shell: words(&["/bin/sh", "-c"]),
        entrypoint: Vec::new(),
        cmd: words(cmd),
    }
}

/// What is executed to fill a base.
fn commands(name: &BaseName, toolchain: &Toolchain) -> Vec<Vec<String>> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut commands = Vec::new();
    match name.family {
        Family::Node if name.with_sdk => {
            commands.push(words("npm install --omit=dev --omit=optional --no-package-lock --no-audit --no-fund"));
        }
        Family::Node | Family::Sample => {}
        Family::Python => {
            commands.push(vec![
                toolchain.program.to_string_lossy().into_owned(),
                "-m".into(),
                "venv".into(),
                VENV.into(),
            ]);
            if name.with_sdk {
                commands.push(words(&format!("{VENV}/bin/pip install --quiet --upgrade pip setuptools wheel apify")));
            }
        }
    }
    commands
}

/// Puts the files into a base that need no command: users, directories, and stand-ins for programs about users.
fn furnish(tree: &Path, name: &BaseName) -> io::Result<()> {
    let nothing = Dir::of_layers(&[tree.to_owned()]);
    let mut target = Target::new(tree, &nothing, owner());
    // Where packages are installed, a directory is there beforehand: none can be made in one of the host's where its
    // files cannot be overlaid.
    let own = match name.family {
        Family::Python => vec![VENV.to_owned()],
        Family::Node => vec![format!("{NPM_PREFIX}/bin"), format!("{NPM_PREFIX}/lib/node_modules")],
        Family::Sample => Vec::new(),
    };
    let everywhere = ["/home/node", ACTOR_HOME, "/etc", "/usr/local/sbin", "/usr/local/bin", "/opt"].map(str::to_owned);
    for dir in everywhere.iter().chain(&own) {
        target.make_dir(Path::new(dir.trim_start_matches('/')), 0o755)?;
    }
    // The first name is the one that a user id is shown as.
    let users = format!(
        "root:x:0:0:root:/root:/bin/sh\n\
         {ACTOR_USER}:x:{ACTOR_UID}:{ACTOR_UID}::{ACTOR_HOME}:/bin/sh\n\
         node:x:{ACTOR_UID}:{ACTOR_UID}::/home/node:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    let groups = format!("root:x:0:\n{ACTOR_USER}:x:{ACTOR_UID}:\nnode:x:{ACTOR_UID}:\nnogroup:x:65534:\n");
    let mut files = vec![("etc/passwd", users, 0o644), ("etc/group", groups, 0o644)];
    for program in ["usr/local/sbin/adduser", "usr/local/sbin/useradd"] {
        files.push((program, add_user(), 0o755));
    }
    for program in ["usr/local/sbin/addgroup", "usr/local/sbin/groupadd"] {
        files.push((program, add_group(), 0o755));
    }
    for program in ["usr/local/sbin/chown", "usr/local/sbin/chgrp", "usr/local/sbin/usermod"] {
        files.push((program, NOTHING_TO_DO.to_owned(), 0o755));
    }
    if name.with_sdk {
        target.make_dir(Path::new(APP.trim_start_matches('/')), 0o755)?;
        if name.family == Family::Node {
            files.push(("usr/src/app/package.json", PACKAGE_JSON.to_owned(), 0o644));
            files.push(("usr/src/app/main.js", MAIN_JS.to_owned(), 0o644));
        }
    }
    for (path, text, mode) in files {
        target.put_text(Path::new(path), &text, mode)?;
    }
    Ok(())
}

const PACKAGE_JSON: &str = r#"{
  "name": "actor",
  "version": "0.0.1",
  "private": true,
  "description": "An Actor without source code",
  "main": "main.js",
  "scripts": { "start": "node main.js" },
  "dependencies": { "apify": "^3", "crawlee": "^3" }
}
"#;

const MAIN_JS: &str = "console.log('This image has no source code: its Dockerfile copied none over this file.');\n";

const NOTHING_TO_DO: &str = "#!/bin/sh\n# All files belong to the one user that commands run as.\nexit 0\n";

/// Commands run as one user only; another name for it is all that can be had.
fn add_user() -> String {
    format!(
        "#!/bin/sh\n\
         # Adds a name for the one user that commands run as.\n\
         name=\n\
         for word; do case $word in -*|'') ;; *) name=$word ;; esac; done\n\
         [ -n \"$name\" ] || exit 1\n\
         grep -q \"^$name:\" /etc/passwd || echo \"$name:x:{ACTOR_UID}:{ACTOR_UID}::/home/$name:/bin/sh\" >>/etc/passwd\n\
         grep -q \"^$name:\" /etc/group || echo \"$name:x:{ACTOR_UID}:\" >>/etc/group\n\
         mkdir -p \"/home/$name\"\n"
    )
}

fn add_group() -> String {
    format!(
        "#!/bin/sh\n\
         # Adds a name for the one group that commands run in.\n\
         name=\n\
         for word; do case $word in -*|'') ;; *) name=$word ;; esac; done\n\
         [ -n \"$name\" ] || exit 1\n\
         grep -q \"^$name:\" /etc/group || echo \"$name:x:{ACTOR_UID}:\" >>/etc/group\n"
    )
}
