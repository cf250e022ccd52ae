//! What a build is going to do: which stages it needs, what they start from, and whether all of it can be done here.

use std::collections::BTreeMap;

use super::names::{self, BaseName};
use super::refusals::refusal;
use crate::dockerfile::words::expand;
use crate::dockerfile::{Action, Dockerfile, Run};

/// A sentence about a line of the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// The stages that the last one needs, in the order of the Dockerfile.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) stages: Vec<Planned>,
    /// `ARG`s before the first `FROM`, resolved.
    pub(super) global_args: BTreeMap<String, String>,
    /// `FROM`s and instructions of all these stages.
    pub(super) steps: usize,
}

/// A stage to be built.
#[derive(Debug)]
pub(super) struct Planned {
    /// Its place in the Dockerfile.
    pub(super) index: usize,
    pub(super) parent: Parent,
}

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    Base(BaseName),
    Stage(usize),
}

impl Plan {
    /// # Errors
    /// The first instruction of a needed stage that cannot be carried out here.
    pub(super) fn make(file: &Dockerfile, build_args: &BTreeMap<String, String>) -> Result<Self, Fault> {
        let global_args = global_args(file, build_args)?;
        let mut needed = vec![false; file.stages.len()];
        let mut stages = Vec::new();
        if let Some(last) = needed.last_mut() {
            *last = true;
        }
        // A stage uses none but those above it, so that going up once finds them all.
        for index in (0..file.stages.len()).rev().collect::<Vec<_>>() {
            if !needed[index] {
                continue;
            }
            let parent = parent(file, index, &global_args)?;
            if let Parent::Stage(above) = parent {
                needed[above] = true;
            }
            for (line, name) in stages_named(file, index) {
                match file.stage_before(name, index) {
                    Some(above) => needed[above] = true,
                    None => {
                        let message =
                            format!("--from={name} is no stage above; copying from an image needs a container engine");
                        return Err(Fault::new(line, message));
                    }
                }
            }
            stages.push(Planned { index, parent });
        }
        stages.reverse();
        for stage in &stages {
            for instruction in &file.stages[stage.index].instructions {
                if let Some(message) = refusal(instruction) {
                    return Err(Fault::new(instruction.line, message));
                }
            }
        }
        let steps = stages.iter().map(|stage| 1 + file.stages[stage.index].instructions.len()).sum();
        Ok(Self { stages, global_args, steps })
    }
}

/// The stages that instructions of a stage take files from, with the lines that do.
fn stages_named(file: &Dockerfile, index: usize) -> impl Iterator<Item = (usize, &str)> {
    file.stages[index].instructions.iter().flat_map(|instruction| {
        let names: Vec<&str> = match &instruction.action {
            Action::Copy(copy) => copy.from.as_deref().into_iter().collect(),
            Action::Run(Run { mounts, .. }) => {
                mounts.iter().filter(|mount| mount.kind == "bind").filter_map(|mount| mount.get(&["from"])).collect()
            }
            _ => Vec::new(),
        };
        names.into_iter().map(|name| (instruction.line, name))
    })
}

fn parent(file: &Dockerfile, index: usize, global_args: &BTreeMap<String, String>) -> Result<Parent, Fault> {
    let stage = &file.stages[index];
    let fault = |message| Fault::new(stage.line, message);
    let lookup = |name: &str| global_args.get(name).cloned();
    if let Some(platform) = &stage.from.platform {
        let platform = expand(platform, file.escape, &lookup).map_err(fault)?;
        let here = platform_here();
        if !platform.is_empty() && !platform.starts_with(&here) {
            let message = format!("FROM --platform={platform} needs a container engine; this machine is {here}");
            return Err(fault(message));
        }
    }
    let image = expand(&stage.from.image, file.escape, &lookup).map_err(fault)?;
    if image.is_empty() {
        return Err(fault(format!("FROM {} names no image once its variables are resolved", stage.from.image)));
    }
    // In FROM an index is no name.
    if let Some(above) = file.stage_before(&image, index).filter(|_| image.parse::<usize>().is_err()) {
        return Ok(Parent::Stage(above));
    }
    names::base(&image).map(Parent::Base).map_err(fault)
}

fn global_args(file: &Dockerfile, build_args: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Fault> {
    let mut values = platform_args();
    for arg in &file.global_args {
        let value = match (build_args.get(&arg.name), &arg.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => {
                let lookup = |name: &str| values.get(name).cloned();
                Some(expand(default, file.escape, &lookup).map_err(|message| Fault::new(1, message))?)
            }
            (None, None) => None,
        };
        if let Some(value) = value {
            values.insert(arg.name.clone(), value);
        }
    }
    Ok(values)
}

/// This machine as Docker calls it.
fn platform_here() -> String {
    format!("linux/{}", architecture())
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The arguments that every build has without being given them.
fn platform_args() -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for of in ["BUILD", "TARGET"] {
        args.insert(format!("{of}PLATFORM"), platform_here());
        args.insert(format!("{of}OS"), "linux".into());
        args.insert(format!("{of}ARCH"), architecture().into());
        args.insert(format!("{of}VARIANT"), String::new());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile;

    fn plan(text: &str) -> Result<Plan, Fault> {
        Plan::make(&dockerfile::parse(text).unwrap(), &BTreeMap::from([("V".to_owned(), "22".to_owned())]))
    }

    fn refused(text: &str) -> (usize, String) {
        let fault = plan(text).unwrap_err();
        (fault.line, fault.message)
    }

    #[test]
    fn only_the_stages_that_the_last_one_needs_are_built() {
        let plan = plan(
            "ARG V=20\nFROM node:$V AS deps\nRUN a\nFROM ubuntu AS unused\nRUN b\nFROM deps AS built\nRUN c\n\
             FROM node:$V AS tools\nFROM apify/actor-node:${V}\nCOPY --from=built /x /x\n\
             RUN --mount=from=tools,target=/t true",
        )
        .unwrap();

        assert_eq!(plan.stages.iter().map(|stage| stage.index).collect::<Vec<_>>(), [0, 2, 3, 4]);
        assert_eq!(plan.stages[1].parent, Parent::Stage(0));
        let Parent::Base(base) = &plan.stages[3].parent else { panic!() };
        assert_eq!(base.version, "22");
        assert_eq!(plan.steps, 8);
    }

    #[test]
    fn what_cannot_be_done_here_is_refused_with_its_line_before_anything_is_built() {
        for (text, line, part) in [
            ("FROM scratch", 1, "FROM scratch"),
            ("FROM node:22\nRUN a\nFROM apify/actor-node-puppeteer-chrome", 3, "browser"),
            ("FROM node:22\n\nRUN --mount=type=secret,id=a b", 3, "type=secret needs a container engine"),
            ("FROM node:22\nRUN --mount=type=ssh b", 2, "type=ssh needs a container engine"),
            ("FROM node:22\nRUN --mount=type=cache b", 2, "needs a target"),
            ("FROM node:22\nRUN --network=none b", 2, "--network=none needs a container engine"),
            ("FROM node:22\nRUN --security=insecure b", 2, "needs a container engine"),
            ("FROM node:22\nADD https://a/b /b", 2, "download and needs a container engine"),
            ("FROM node:22\nADD a.tar.gz /b", 2, "archive and needs a container engine"),
            ("FROM node:22\nADD --checksum=1 a /b", 2, "--checksum needs a container engine"),
            ("FROM node:22\nCOPY --parents a /b", 2, "--parents needs a container engine"),
            ("FROM node:22\nCOPY --chmod=u+x a /b", 2, "not an octal mode"),
            ("FROM node:22\nCOPY --from=ghcr.io/astral-sh/uv:latest /uv /bin/", 2, "needs a container engine"),
            ("FROM node:22\nCOPY --from=0 /uv /bin/", 2, "no stage above"),
            ("FROM node:22\nONBUILD RUN x", 2, "ONBUILD"),
            ("FROM --platform=linux/riscv64 node:22", 1, "this machine is linux/"),
            ("FROM $NOTHING", 1, "names no image"),
            ("FROM ${V", 1, "missing `}`"),
        ] {
            let (at, message) = refused(text);
            assert_eq!((at, message.contains(part)), (line, true), "{text}: {message}");
        }
    }

    #[test]
    fn an_unneeded_stage_may_ask_for_anything() {
        assert!(plan("FROM scratch AS x\nONBUILD RUN y\nFROM --platform=$BUILDPLATFORM node:22\nRUN z").is_ok());
    }
}
