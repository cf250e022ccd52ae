//! Carries out a Dockerfile, stage by stage and instruction by instruction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::bases::{self, Base};
use super::config::Config;
use super::copy::{self, From, Origin, Target};
use super::environment::BuildEnvironment;
use super::layers::{self, Layer, Layers};
use super::names::BaseName;
use super::plan::{Fault, Parent, Plan};
use super::refusals;
use super::tree::{self, Dir, Node};
use super::workshop::Workshop;
use crate::dockerfile::ignore::Ignore;
use crate::dockerfile::words::expand;
use crate::dockerfile::{Action, Arg, Assignment, Copy, Dockerfile, Instruction, Source};
use crate::process::sandbox::{Bind, owner};

/// Why a build did not come to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// Because of a line of the Dockerfile.
    At(Fault),
    /// Because of anything else, as a sentence.
    Other(String),
    /// It was stopped.
    Stopped,
}

impl std::convert::From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::At(fault)
    }
}

impl std::convert::From<std::io::Error> for Failure {
    fn from(err: std::io::Error) -> Self {
        Self::Other(format!("cannot build here: {err}"))
    }
}

/// A stage on its way: what an image is made of.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) layers: Vec<Layer>,
    /// Says how the layers came about; equal keys mean equal layers.
    pub(super) key: String,
    pub(super) config: Config,
    /// Parts of the host that the toolchain needs.
    pub(super) binds: Vec<Bind>,
    /// `ARG`s named so far.
    pub(super) args: BTreeMap<String, String>,
    /// Whether `CMD` stood in this very stage.
    has_own_cmd: bool,
}

impl Stage {
    /// Its files, as a command would see them.
    pub(super) fn tree(&self) -> Dir {
        Dir::of_layers(&self.layer_dirs())
    }

    pub(super) fn layer_dirs(&self) -> Vec<PathBuf> {
        self.layers.iter().map(|layer| layer.dir.clone()).collect()
    }

    fn of_base(base: &Base) -> Self {
        Self {
            layers: base.layers.clone(),
            key: base.layers.iter().map(|layer| layer.home.to_string_lossy() + " ").collect(),
            config: base.config.clone(),
            binds: base.binds.clone(),
            args: BTreeMap::new(),
            has_own_cmd: false,
        }
    }
}

/// A build in progress.
pub(super) struct Builder<'a> {
    pub(super) shop: &'a mut dyn Workshop,
    pub(super) file: &'a Dockerfile,
    pub(super) environment: BuildEnvironment,
    pub(super) layers: &'a mut Layers,
    context: Dir,
    ignore: Ignore,
    plan: Plan,
    done: BTreeMap<usize, Stage>,
    step: usize,
}

impl<'a> Builder<'a> {
    /// Checks that all of the Dockerfile can be carried out here; does nothing yet.
    pub(super) fn new(
        shop: &'a mut dyn Workshop,
        file: &'a Dockerfile,
        layers: &'a mut Layers,
    ) -> Result<Self, Failure> {
        let plan = Plan::make(file, &shop.spec().args)?;
        let context = Dir::of(shop.spec().context.clone());
        let ignore = read_ignore(&context, &shop.spec().dockerfile_name)?;
        let environment = BuildEnvironment::of_host(&shop.data_dir().join("cache"))?;
        Ok(Self { shop, file, environment, layers, context, ignore, plan, done: BTreeMap::new(), step: 0 })
    }

    /// Builds the stages and returns the last one.
    pub(super) fn build(&mut self) -> Result<Stage, Failure> {
        let stages: Vec<(usize, Parent)> =
            self.plan.stages.iter().map(|stage| (stage.index, stage.parent.clone())).collect();
        let mut bases: BTreeMap<BaseName, Base> = BTreeMap::new();
        for (_, parent) in &stages {
            if let Parent::Base(name) = parent
                && !bases.contains_key(name)
            {
                let base = bases::prepare(self.shop, &self.environment, name);
                self.check_not_stopped()?;
                bases.insert(name.clone(), base.map_err(Failure::Other)?);
            }
        }

        let mut last = None;
        for (index, parent) in stages {
            let stage = &self.file.stages[index];
            let text = stage.text.clone();
            self.announce(&text);
            let mut state = match &parent {
                Parent::Base(name) => Stage::of_base(&bases[name]),
                // Only what ends up in an image is passed from stage to stage.
                Parent::Stage(above) => Stage { args: BTreeMap::new(), has_own_cmd: false, ..self.done[above].clone() },
            };
            for instruction in &stage.instructions {
                self.check_not_stopped()?;
                self.announce(&instruction.text);
                self.carry_out(&mut state, instruction, index)?;
            }
            last = Some(state.clone());
            self.done.insert(index, state);
        }
        last.ok_or_else(|| Failure::Other("the Dockerfile has no stage".into()))
    }

    fn announce(&mut self, text: &str) {
        self.step += 1;
        self.shop.say(&format!("Step {}/{} : {text}", self.step, self.plan.steps));
    }

    pub(super) fn check_not_stopped(&mut self) -> Result<(), Failure> {
        if self.shop.is_stopped() { Err(Failure::Stopped) } else { Ok(()) }
    }

    fn carry_out(&mut self, stage: &mut Stage, instruction: &Instruction, index: usize) -> Result<(), Failure> {
        let line = instruction.line;
        match &instruction.action {
            Action::Run(run) => self.run(stage, run, instruction, index)?,
            Action::Copy(copy) => self.copy(stage, copy, line, index)?,
            Action::Add(add) => self.copy_added(stage, &add.copy, line, index)?,
            Action::Env(assignments) => {
                for (name, value) in self.assigned(stage, assignments, line)? {
                    stage.config.env.insert(name, value);
                }
            }
            Action::Label(assignments) => {
                self.assigned(stage, assignments, line)?;
            }
            Action::Arg(args) => self.args(stage, args, line)?,
            Action::Workdir(path) => {
                let path = self.expanded(stage, path, line)?;
                stage.config.workdir = stage.config.absolute(&path);
                self.make_workdir(stage, line)?;
            }
            Action::User(user) => {
                let user = self.expanded(stage, user, line)?;
                stage.config.user = user.split(':').next().unwrap_or_default().to_owned();
            }
            Action::Cmd(command) => {
                stage.config.cmd = stage.config.argv(command);
                stage.has_own_cmd = true;
            }
            Action::Entrypoint(command) => {
                stage.config.entrypoint = stage.config.argv(command);
                // A command of the base image was not meant for this entry point.
                if !stage.has_own_cmd {
                    stage.config.cmd.clear();
                }
            }
            Action::Shell(words) => stage.config.shell = words.clone(),
            Action::Expose(_) | Action::Maintainer(_) => {}
            Action::Stopsignal(signal) => {
                let signal = self.expanded(stage, signal, line)?;
                if !matches!(signal.as_str(), "SIGTERM" | "TERM" | "15") {
                    self.shop.say(&format!("WARNING: STOPSIGNAL {signal} is ignored; Actors are stopped with SIGTERM"));
                }
            }
            Action::Healthcheck(_) => self.shop.say("WARNING: HEALTHCHECK is ignored; it needs a container engine"),
            Action::Volume(_) => self.shop.say("WARNING: VOLUME is ignored; every run has its own files anyway"),
            Action::Onbuild(_) => return Err(Fault::new(line, "ONBUILD needs a container engine").into()),
        }
        Ok(())
    }

    /// Resolves the variables and quotes of a word.
    pub(super) fn expanded(&self, stage: &Stage, word: &str, line: usize) -> Result<String, Fault> {
        let lookup = |name: &str| stage.config.env.get(name).or_else(|| stage.args.get(name)).cloned();
        expand(word, self.file.escape, &lookup).map_err(|message| Fault::new(line, message))
    }

    /// Resolves all assignments with the variables as they were before the instruction.
    fn assigned(&self, stage: &Stage, assignments: &[Assignment], line: usize) -> Result<Vec<(String, String)>, Fault> {
        let resolve = |assignment: &Assignment| {
            Ok((self.expanded(stage, &assignment.name, line)?, self.expanded(stage, &assignment.value, line)?))
        };
        assignments.iter().map(resolve).collect()
    }

    fn args(&self, stage: &mut Stage, args: &[Arg], line: usize) -> Result<(), Fault> {
        for arg in args {
            let value = match (self.shop.spec().args.get(&arg.name), &arg.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(self.expanded(stage, default, line)?),
                (None, None) => self.plan.global_args.get(&arg.name).cloned(),
            };
            if let Some(value) = value {
                stage.args.insert(arg.name.clone(), value);
            }
        }
        Ok(())
    }

    fn make_workdir(&mut self, stage: &mut Stage, line: usize) -> Result<(), Failure> {
        let image = stage.tree();
        let fault = |err: std::io::Error| Fault::new(line, format!("WORKDIR: {err}"));
        let resolved = image.resolve(Path::new(&stage.config.workdir), true).map_err(fault)?;
        match resolved.node {
            Some(Node::Dir(_)) => return Ok(()),
            None if tree::is_dir_below_layers(&resolved.path) => return Ok(()),
            None => {}
            Some(_) => {
                return Err(Fault::new(line, format!("{} is not a directory", stage.config.workdir)).into());
            }
        }
        let path = resolved.path;
        self.add_layer(stage, "workdir", false, path.to_string_lossy().as_bytes(), |_, tree| {
            Target::new(tree, &image, owner()).make_dir(&path, 0o755).map_err(|err| fault(err).into())
        })
    }

    fn copy_added(&mut self, stage: &mut Stage, copy: &Copy, line: usize, index: usize) -> Result<(), Failure> {
        for source in &copy.sources {
            if let Source::Path(path) = source
                && let Some(refusal) = refusals::add_source_refusal(&self.expanded(stage, path, line)?)
            {
                return Err(Fault::new(line, refusal).into());
            }
        }
        self.copy(stage, copy, line, index)
    }

    fn copy(&mut self, stage: &mut Stage, copy: &Copy, line: usize, index: usize) -> Result<(), Failure> {
        let fault = |message: String| Failure::At(Fault::new(line, message));
        let mut sources = Vec::new();
        for source in &copy.sources {
            sources.push(match source {
                Source::Path(path) => From::Path(self.expanded(stage, path, line)?),
                Source::Heredoc(heredoc) if heredoc.verbatim => {
                    From::Text { name: heredoc.name.clone(), text: heredoc.body.clone() }
                }
                Source::Heredoc(heredoc) => {
                    let text = self.expanded_text(stage, &heredoc.body, line)?;
                    From::Text { name: heredoc.name.clone(), text }
                }
            });
        }
        let destination = self.expanded(stage, &copy.destination, line)?;
        let destination = stage.config.destination(&destination);
        let mode = match &copy.chmod {
            Some(mode) => Some(refusals::parse_mode(&self.expanded(stage, mode, line)?).map_err(fault)?),
            None => None,
        };

        let from_tree;
        let (root, name, ignore) = match &copy.from {
            None => (&self.context, "the build context".to_owned(), Some(&self.ignore)),
            Some(from) => {
                from_tree = self.stage_named(from, index, line)?.tree();
                (&from_tree, format!("the stage {from}"), None)
            }
        };
        let image = stage.tree();
        let origin = Origin { root, ignore, name: &name };
        let items = copy::plan(&origin, &sources, &image, &destination, mode).map_err(fault)?;
        if items.is_empty() {
            self.shop.say("Nothing fits, nothing is copied");
            return Ok(());
        }
        let mut hash = Sha256::new();
        copy::fingerprint(&items, &mut hash).map_err(|err| fault(err.to_string()))?;
        self.add_layer(stage, "copy", false, &hash.finalize(), |builder, tree| {
            let shop = &mut *builder.shop;
            Target::new(tree, &image, owner()).put(&items, &mut || shop.is_stopped()).map_err(fault)
        })
    }

    /// Resolves the variables of a text, in which quotes mean nothing.
    fn expanded_text(&self, stage: &Stage, text: &str, line: usize) -> Result<String, Fault> {
        let escape = self.file.escape;
        let mut quoted = String::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' | '\'' => quoted.extend([escape, c]),
                // Only a `$` can be escaped in a heredoc; any other escape character stands for itself.
                _ if c == escape && chars.peek() != Some(&'$') => quoted.extend([escape, escape]),
                _ if c == escape => quoted.extend(std::iter::once(c).chain(chars.next())),
                _ => quoted.push(c),
            }
        }
        self.expanded(stage, &quoted, line)
    }

    /// The finished stage that `name` means in stage `index`.
    pub(super) fn stage_named(&self, name: &str, index: usize, line: usize) -> Result<&Stage, Fault> {
        let above = self.file.stage_before(name, index);
        above
            .and_then(|above| self.done.get(&above))
            .ok_or_else(|| Fault::new(line, format!("there is no stage {name} above")))
    }

    /// The build context, without what is left out of it.
    pub(super) fn context(&self) -> Origin<'_> {
        Origin { root: &self.context, ignore: Some(&self.ignore), name: "the build context" }
    }

    /// Adds a layer to `stage`: one from the cache, or one that `fill` fills.
    ///
    /// A `whole` layer has all of those below it in itself.
    ///
    /// `inputs` is all that decides about its content besides `what` it is and the layers below it.
    pub(super) fn add_layer(
        &mut self,
        stage: &mut Stage,
        what: &str,
        whole: bool,
        inputs: &[u8],
        fill: impl FnOnce(&mut Self, &Path) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut hash = Sha256::new();
        let spec = self.shop.spec();
        // Without cache, layers are made anew even if there are some like them.
        let apart = if spec.use_cache { "" } else { &spec.job.id };
        let form = if whole { b"whole".as_slice() } else { b"" };
        for part in [stage.key.as_bytes(), what.as_bytes(), form, inputs, apart.as_bytes()] {
            layers::field(&mut hash, part);
        }
        let key = layers::hex(&hash.finalize()[..16]);
        let layer = match self.layers.find(&key)? {
            Some(layer) => {
                self.shop.say("---> as in an earlier build");
                layer
            }
            None => {
                let tree = self.layers.begin(&key)?;
                fill(self, &tree)?;
                self.check_not_stopped()?;
                self.layers.finish(&key)?
            }
        };
        if whole {
            stage.layers.clear();
        }
        stage.layers.push(layer);
        stage.key = key;
        Ok(())
    }
}

/// Reads the `.dockerignore` of the Dockerfile, or else that of the context.
fn read_ignore(context: &Dir, dockerfile_name: &str) -> Result<Ignore, Failure> {
    for name in [format!("{dockerfile_name}.dockerignore"), ".dockerignore".to_owned()] {
        let Ok(resolved) = context.resolve(Path::new(&name), true) else { continue };
        let Some(Node::File(path)) = resolved.node else { continue };
        let text = std::fs::read(path)?;
        let ignore = Ignore::parse(&String::from_utf8_lossy(&text));
        return ignore.map_err(|(line, message)| Failure::Other(format!("{name}:{line}: {message}")));
    }
    Ok(Ignore::default())
}
