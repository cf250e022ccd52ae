//! `RUN`: a command in a sandbox above the layers so far.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::builder::{Builder, Failure, Stage};
use super::copy::{self, From, Origin, Target};
use super::environment::{PRIVATE, own_dir};
use super::layers;
use super::plan::Fault;
use super::traces;
use super::tree::{Dir, Node};
use crate::dockerfile::{Instruction, Mount, Run};
use crate::process::sandbox::{ACTOR_HOME, Bind, Command, CommandEnd, Sandbox, SandboxError, owner, remove_tree};

/// What programs leave in `/tmp` that is of no use to later steps.
const TRASH: [&str; 2] = [PRIVATE, "node-compile-cache"];

/// A `--mount` with its words resolved.
struct Mounted<'a> {
    kind: &'a str,
    /// Absolute.
    target: String,
    /// For `cache`, what tells it from others.
    id: String,
    /// For `bind`, where it is in its origin.
    source: String,
    /// For `bind`, the stage; the build context if it is missing.
    from: Option<&'a str>,
}

impl Builder<'_> {
    pub(super) fn run(
        &mut self,
        stage: &mut Stage,
        run: &Run,
        instruction: &Instruction,
        index: usize,
    ) -> Result<(), Failure> {
        let line = instruction.line;
        let argv = stage.config.argv(&run.command);
        let mut env = stage.args.clone();
        env.extend(stage.config.env.clone());
        let mounts = self.mounts(stage, &run.mounts, line)?;

        let mut hash = Sha256::new();
        for word in &argv {
            layers::field(&mut hash, word.as_bytes());
        }
        for (name, value) in &env {
            layers::field(&mut hash, name.as_bytes());
            layers::field(&mut hash, value.as_bytes());
        }
        layers::field(&mut hash, stage.config.workdir.as_bytes());
        layers::field(&mut hash, stage.config.user.as_bytes());
        for mount in &mounts {
            layers::field(&mut hash, format!("{} {} {}", mount.kind, mount.target, mount.id).as_bytes());
            if mount.kind == "bind" {
                let items = self.bound_files(mount, index, line)?;
                copy::fingerprint(&items, &mut hash)?;
            }
        }

        // Everything that a step takes for granted about its own means is below the host's settings.
        let mut full_env = self.environment.env.clone();
        full_env.extend(env);
        let before = stage.clone();
        let whole = self.shop.upper_is_whole();
        self.add_layer(stage, "run", whole, &hash.finalize(), |builder, upper| {
            let scratch = upper.with_file_name("scratch");
            let home = full_env.get("HOME").cloned().unwrap_or_else(|| ACTOR_HOME.into());
            builder.prepare_tmp(&before, &scratch, run)?;
            // Templates end their installation with `rm -r ~/.npm`, which npm has no cause to make here. A layer of its
            // own below the step's shows one.
            let home = Path::new(&home).strip_prefix("/").unwrap_or(Path::new("home/myuser"));
            let image = before.tree();
            let shown = scratch.join("shown");
            fs::create_dir(&shown)?;
            Target::new(&shown, &image, owner()).make_dir(&home.join(".npm"), 0o755)?;
            let mut binds = builder.environment.binds.clone();
            binds.extend(before.binds.iter().cloned());
            for (number, mount) in mounts.iter().enumerate() {
                binds.push(builder.bind(mount, index, line, &scratch.join(format!("mount-{number}")))?);
            }

            let argv = match &run.script {
                Some(script) if script.body.starts_with("#!") => vec![format!("/tmp/{PRIVATE}/script")],
                _ => argv,
            };
            let command = Command { argv, env: full_env, cwd: before.config.workdir.clone() };
            let sandbox = Sandbox {
                layers: before.layer_dirs().into_iter().chain([shown]).collect(),
                upper: upper.to_owned(),
                scratch: scratch.clone(),
                writable_system: true,
                binds,
            };
            let end = match builder.shop.run(&sandbox, &command) {
                Ok(end) => end,
                Err(SandboxError::Stopped) => return Err(Failure::Stopped),
                Err(err) => return Err(Fault::new(line, err.to_string()).into()),
            };
            if end.code != 0 {
                builder.check_not_stopped()?;
                return Err(Fault::new(line, complaint(&instruction.text, &end)).into());
            }
            let targets = sandbox.binds.iter().map(|bind| bind.target.as_path());
            traces::clean_up(upper, targets)?;
            if !matches!(image.resolve(&home.join(".npm"), true)?.node, Some(Node::Dir(_))) {
                traces::forget_dir(upper, &home.join(".npm"))?;
            }
            traces::prune(upper)?;
            keep_tmp(&scratch.join("tmp"), upper, &image)?;
            remove_tree(&scratch)?;
            Ok(())
        })
    }

    /// Fills the private `/tmp` of a step with what earlier steps left there, and with the step's own means.
    fn prepare_tmp(&self, stage: &Stage, scratch: &Path, run: &Run) -> Result<(), Failure> {
        remove_tree(scratch)?;
        fs::create_dir_all(scratch)?;
        let tmp = scratch.join("tmp");
        own_dir(&tmp)?;
        let image = stage.tree();
        if matches!(image.resolve(Path::new("tmp"), false)?.node, Some(Node::Dir(_))) {
            let origin = Origin { root: &image, ignore: None, name: "the image" };
            let here = Dir::of(scratch.to_owned());
            let items =
                copy::plan(&origin, &[From::Path("/tmp".into())], &here, "/tmp/", None).map_err(Failure::Other)?;
            Target::new(scratch, &here, owner()).put(&items, &mut || false).map_err(Failure::Other)?;
        }
        fs::set_permissions(&tmp, std::os::unix::fs::PermissionsExt::from_mode(0o1777))?;
        self.environment.furnish(&tmp)?;
        if let Some(script) = run.script.as_ref().filter(|script| script.body.starts_with("#!")) {
            let path = tmp.join(PRIVATE).join("script");
            fs::write(&path, &script.body)?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        Ok(())
    }

    fn mounts<'m>(&self, stage: &Stage, mounts: &'m [Mount], line: usize) -> Result<Vec<Mounted<'m>>, Fault> {
        let resolve = |mount: &'m Mount| {
            let target = mount.get(&["target", "dst", "destination"]).unwrap_or_default();
            let target = stage.config.absolute(&self.expanded(stage, target, line)?);
            let source = self.expanded(stage, mount.get(&["source", "src"]).unwrap_or("/"), line)?;
            let id = mount.get(&["id"]).map_or(Ok(target.clone()), |id| self.expanded(stage, id, line))?;
            Ok(Mounted { kind: &mount.kind, target, id, source, from: mount.get(&["from"]) })
        };
        mounts.iter().map(resolve).collect()
    }

    /// What a mount of kind `bind` shows, as a copy of it to `/bound` would be made.
    fn bound_files(&self, mount: &Mounted<'_>, index: usize, line: usize) -> Result<Vec<copy::Item>, Failure> {
        let from_tree;
        let name;
        let origin = match mount.from {
            None => self.context(),
            Some(from) => {
                from_tree = self.stage_named(from, index, line)?.tree();
                name = format!("the stage {from}");
                Origin { root: &from_tree, ignore: None, name: &name }
            }
        };
        let nowhere = Dir::of(self.shop.dir().join("layers"));
        let sources = [From::Path(mount.source.clone())];
        copy::plan(&origin, &sources, &nowhere, "/bound", None).map_err(|message| Fault::new(line, message).into())
    }

    /// Makes what a mount shows, in `dir` if it has to be put somewhere.
    fn bind(&mut self, mount: &Mounted<'_>, index: usize, line: usize, dir: &Path) -> Result<Bind, Failure> {
        let target = PathBuf::from(&mount.target);
        match mount.kind {
            "cache" => {
                let mut hash = Sha256::new();
                layers::field(&mut hash, mount.id.as_bytes());
                let name = layers::hex(&hash.finalize()[..16]);
                let source = own_dir(&self.shop.data_dir().join("cache/mounts").join(name))?;
                Ok(Bind { source, target, writable: true })
            }
            "bind" => {
                let items = self.bound_files(mount, index, line)?;
                fs::create_dir_all(dir)?;
                let nothing = Dir::of(dir.to_owned());
                let mut copy = Target::new(dir, &nothing, owner());
                copy.put(&items, &mut || self.shop.is_stopped()).map_err(|message| Fault::new(line, message))?;
                Ok(Bind { source: dir.join("bound"), target, writable: false })
            }
            _ => Ok(Bind { source: own_dir(dir)?, target, writable: true }),
        }
    }
}

/// Makes what a step left in `/tmp` part of its layer, for the steps after it.
fn keep_tmp(tmp: &Path, upper: &Path, image: &Dir) -> io::Result<()> {
    for name in TRASH {
        remove_tree(&tmp.join(name))?;
    }
    let left: Vec<_> = fs::read_dir(tmp)?.collect::<io::Result<_>>()?;
    let had_any = matches!(image.resolve(Path::new("tmp"), false)?.node, Some(Node::Dir(_)));
    if left.is_empty() && !had_any {
        return Ok(());
    }
    let kept = upper.join("tmp");
    remove_tree(&kept)?;
    fs::create_dir(&kept)?;
    fs::set_permissions(&kept, std::os::unix::fs::PermissionsExt::from_mode(0o1777))?;
    for entry in left {
        fs::rename(entry.path(), kept.join(entry.file_name()))?;
    }
    // What earlier layers have there is part of this already, or was removed. Where the file system has no such
    // attributes, removed files come back, which `/tmp` can live with.
    rustix::fs::lsetxattr(&kept, "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).ok();
    Ok(())
}

/// Says how a step failed.
fn complaint(text: &str, end: &CommandEnd) -> String {
    let mut shown: String = text.chars().take(200).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    if end.out_of_memory {
        return format!("{shown} ran out of memory");
    }
    if let Some(signal) = end.signal {
        return format!("{shown} was ended by signal {signal}");
    }
    let installs_for_system = text
        .split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '('))
        .any(|word| matches!(word, "apt-get" | "apt" | "apk" | "yum" | "dnf"));
    let hint = if installs_for_system {
        "; packages of the system cannot be installed without a container engine"
    } else {
        ""
    };
    format!("{shown} failed with exit code {}{hint}", end.code)
}
