//! Reads Dockerfiles: text in, instructions out; no file system, no environment.
//!
//! Everything that the syntax allows is parsed, so that a builder can say of an instruction it cannot carry out which
//! line it is on. Words keep their quotes and variables until [`expand`](words::expand) is given an environment.

mod heredoc;
mod instruction;
mod lines;

pub mod ignore;
pub mod pattern;
pub mod words;

#[cfg(test)]
mod tests;

pub use heredoc::Heredoc;
pub use instruction::{
    Action, Add, Arg, Assignment, Command, Copy, Flag, From, Instruction, Mount, Run, Setting, Source,
};

/// A Dockerfile, split into its stages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// The character that escapes and continues lines: `\`, or what `# escape=` says.
    pub escape: char,
    /// What `# syntax=` says, if anything.
    pub syntax: Option<String>,
    /// `ARG`s before the first `FROM`: visible in every `FROM`, and in stages that name them again.
    pub global_args: Vec<Arg>,
    /// One for each `FROM`, at least one.
    pub stages: Vec<Stage>,
}

/// What stands between one `FROM` and the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Number of the line with `FROM`, from 1.
    pub line: usize,
    /// The `FROM` instruction as one line, for logs.
    pub text: String,
    /// What the stage is built from, and its name.
    pub from: From,
    /// The instructions after `FROM`.
    pub instructions: Vec<Instruction>,
}

impl Dockerfile {
    /// Finds the stage that `name` means: its `AS` name without regard to case, or its index counted from 0.
    ///
    /// Only the stages before `before` are looked at, as a stage can use nothing but those above it.
    pub fn stage_before(&self, name: &str, before: usize) -> Option<usize> {
        let known = &self.stages[..before.min(self.stages.len())];
        // The last of several stages with the same name counts, like in Docker.
        let by_name = known.iter().rposition(|stage| {
            stage.from.name.as_deref().is_some_and(|stage_name| stage_name.eq_ignore_ascii_case(name))
        });
        by_name.or_else(|| name.parse::<usize>().ok().filter(|index| *index < known.len()))
    }
}

/// Why a text is not a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// Parses the text of a Dockerfile.
///
/// # Errors
/// The first line that is no valid instruction, and why.
pub fn parse(text: &str) -> Result<Dockerfile, ParseError> {
    let source = lines::read(text)?;
    let mut file = Dockerfile { escape: source.escape, syntax: source.syntax, ..Dockerfile::default() };
    for line in source.lines {
        let number = line.number;
        let at = |message| ParseError { line: number, message };
        match instruction::parse(line, source.escape).map_err(at)? {
            instruction::Parsed::From { text, from } => {
                file.stages.push(Stage { line: number, text, from, instructions: Vec::new() });
            }
            instruction::Parsed::Instruction(instruction) => match (file.stages.last_mut(), instruction.action) {
                (Some(stage), action) => stage.instructions.push(Instruction { action, ..instruction }),
                (None, Action::Arg(args)) => file.global_args.extend(args),
                (None, _) => return Err(at("only ARG may stand before the first FROM".into())),
            },
        }
    }
    if file.stages.is_empty() {
        return Err(ParseError { line: text.lines().count().max(1), message: "there is no FROM instruction".into() });
    }
    Ok(file)
}
