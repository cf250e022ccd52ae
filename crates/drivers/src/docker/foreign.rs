//! Images that a Dockerfile may not begin with or copy from: those of other builds.
//!
//! Their names hold the instance, which nobody is shown, so they cannot be guessed. What is left are the ids of images, of
//! which engines take the beginning, and the places that Podman knows besides registries.

use std::collections::BTreeMap;

use crate::dockerfile::words::expand;
use crate::dockerfile::{Action, Arg, Dockerfile, Instruction, parse};

/// Where Podman finds images besides registries: its own storage, and files of its machine.
const PLACES: [&str; 7] =
    ["containers-storage:", "docker-daemon:", "docker-archive:", "oci-archive:", "oci:", "dir:", "sif:"];

/// Why a Dockerfile must not be built, if it asks for an image in a way that may lead to another build's. One that cannot be
/// read is left to the engine.
pub(super) fn refusal(name: &str, dockerfile: &str, args: &BTreeMap<String, String>) -> Option<String> {
    let file = parse(dockerfile).ok()?;
    let (line, image) = named(&file, args).into_iter().find(|(_, image)| is_foreign(image))?;
    Some(format!("{name}, line {line}: {image} is no name of an image in a registry; write it with its tag"))
}

/// The images that a Dockerfile names, with their lines.
fn named(file: &Dockerfile, args: &BTreeMap<String, String>) -> Vec<(usize, String)> {
    let mut known = BTreeMap::new();
    for arg in &file.global_args {
        learn(&mut known, arg, args, file.escape);
    }
    let resolve = |name: &str, known: &BTreeMap<String, String>| {
        expand(name, file.escape, &|name: &str| known.get(name).cloned()).unwrap_or_else(|_| name.to_owned())
    };
    let mut found = Vec::new();
    for (index, stage) in file.stages.iter().enumerate() {
        let image = resolve(&stage.from.image, &known);
        // In FROM an index is no name.
        if file.stage_before(&image, index).is_none() || image.parse::<usize>().is_ok() {
            found.push((stage.line, image));
        }
        let mut known = known.clone();
        for instruction in &stage.instructions {
            if let Action::Arg(declared) = &instruction.action {
                declared.iter().for_each(|arg| learn(&mut known, arg, args, file.escape));
            }
            let names = sources(instruction).into_iter().map(|name| resolve(&name, &known));
            let images = names.filter(|name| file.stage_before(name, index).is_none());
            found.extend(images.map(|name| (instruction.line, name)));
        }
    }
    found
}

fn learn(known: &mut BTreeMap<String, String>, arg: &Arg, given: &BTreeMap<String, String>, escape: char) {
    let value = match (given.get(&arg.name), &arg.default) {
        (Some(value), _) => Some(value.clone()),
        (None, Some(default)) => expand(default, escape, &|name: &str| known.get(name).cloned()).ok(),
        (None, None) => None,
    };
    known.extend(value.map(|value| (arg.name.clone(), value)));
}

/// What an instruction takes files from besides the context.
fn sources(instruction: &Instruction) -> Vec<String> {
    match &instruction.action {
        Action::Copy(copy) => copy.from.iter().cloned().collect(),
        Action::Run(run) => run.mounts.iter().filter_map(|mount| mount.get(&["from"])).map(str::to_owned).collect(),
        // A later stage carries it out.
        Action::Onbuild(later) => {
            let file = parse(&format!("FROM scratch\n{later}")).unwrap_or_default();
            file.stages.iter().flat_map(|stage| &stage.instructions).flat_map(sources).collect()
        }
        _ => Vec::new(),
    }
}

fn is_foreign(name: &str) -> bool {
    let name = name.trim_matches(['"', '\'']);
    let id = name.strip_prefix("sha256:").unwrap_or(name);
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id || PLACES.iter().any(|place| name.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(dockerfile: &str) -> Option<String> {
        refusal("Dockerfile", dockerfile, &BTreeMap::new())
    }

    #[test]
    fn ids_and_storages_of_the_engine_are_no_names() {
        for (dockerfile, name) in [
            ("FROM 3f2a", "line 1: 3f2a "),
            ("FROM sha256:3f2a", "line 1: sha256:3f2a "),
            ("ARG X=3f\nARG Y=${X}2a\nFROM $Y", "line 3: 3f2a "),
            ("FROM node:20\nCOPY --from=3f2a / /", "line 2: 3f2a "),
            ("FROM node:20\nCOPY --from=1 / /", "line 2: 1 "),
            ("FROM node:20\nRUN --mount=type=bind,from=3f2a,target=/x true", "line 2: 3f2a "),
            ("FROM node:20 AS a\nONBUILD COPY --from=3f2a / /\nFROM a", "line 2: 3f2a "),
            ("FROM node:20\nARG X=3f2a\nRUN --mount=from=$X,target=/x true", "line 3: 3f2a "),
            ("FROM containers-storage:node", "containers-storage:node"),
            ("FROM dir:/var/lib", "dir:/var/lib"),
        ] {
            let reason = refused(dockerfile).unwrap_or_default();
            assert!(reason.starts_with("Dockerfile, ") && reason.contains(name), "{dockerfile}: {reason}");
        }
    }

    #[test]
    fn names_and_stages_are_none_of_these() {
        for dockerfile in [
            "FROM node:20",
            "FROM apify/actor-node",
            "FROM cafe:1 AS cafe\nFROM cafe\nCOPY --from=0 /x /x\nCOPY --from=cafe /x /x",
            "ARG V=20\nFROM node:$V AS 3f2a\nFROM scratch\nRUN --mount=from=3f2a,target=/x true",
            "FROM node@sha256:3f2a",
            "FROM localhost:5000/3f2a",
            "what is this",
        ] {
            assert_eq!(refused(dockerfile), None, "{dockerfile}");
        }
    }
}
