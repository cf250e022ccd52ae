//! From a logical line to an instruction.

use super::heredoc::{self, Heredoc};
use super::lines::Line;
use super::words;

/// A `FROM` or any other instruction.
pub(super) enum Parsed {
    From { text: String, from: From },
    Instruction(Instruction),
}

/// `FROM [--platform=...] image [AS name]`. Words are unexpanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The image, or the name of a stage above.
    pub image: String,
    /// What `--platform` says.
    pub platform: Option<String>,
    /// The name after `AS`.
    pub name: Option<String>,
}

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Number of its first line, from 1.
    pub line: usize,
    /// The instruction as one line, for logs.
    pub text: String,
    /// What it says.
    pub action: Action,
}

/// What an instruction says. Words are unexpanded unless told otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `RUN`
    Run(Run),
    /// `COPY`
    Copy(Copy),
    /// `ADD`
    Add(Add),
    /// `ENV`
    Env(Vec<Assignment>),
    /// `ARG`
    Arg(Vec<Arg>),
    /// `LABEL`
    Label(Vec<Assignment>),
    /// `WORKDIR`
    Workdir(String),
    /// `USER`
    User(String),
    /// `EXPOSE`
    Expose(Vec<String>),
    /// `CMD`
    Cmd(Command),
    /// `ENTRYPOINT`
    Entrypoint(Command),
    /// `SHELL`, the words as they are
    Shell(Vec<String>),
    /// `STOPSIGNAL`
    Stopsignal(String),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `HEALTHCHECK`, unread
    Healthcheck(String),
    /// `ONBUILD`, unread
    Onbuild(String),
    /// `MAINTAINER`
    Maintainer(String),
}

/// A command in one of its two forms, as it is: variables are the shell's matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A line for the shell.
    Shell(String),
    /// `["program", "argument"]`
    Exec(Vec<String>),
}

/// `name=value`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Left of the `=`.
    pub name: String,
    /// Right of it.
    pub value: String,
}

/// `ARG name` or `ARG name=default`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The name.
    pub name: String,
    /// The default.
    pub default: Option<String>,
}

/// `RUN [--mount=...] [--network=...] [--security=...] command`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// One for each `--mount`.
    pub mounts: Vec<Mount>,
    /// Other options.
    pub flags: Vec<Flag>,
    /// The command; in shell form with the heredocs that it announces, as a shell reads them.
    pub command: Command,
    /// The body, if the command is nothing but a heredoc: a script of its own.
    pub script: Option<Heredoc>,
}

/// `--mount=type=cache,target=/x`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `bind` unless it says otherwise.
    pub kind: String,
    /// All the other settings.
    pub settings: Vec<Setting>,
}

/// `key=value` or `key` of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// In lower case.
    pub key: String,
    /// Empty if there is none.
    pub value: String,
}

/// `--name=value` or `--name`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without dashes.
    pub name: String,
    /// What is right of the `=`.
    pub value: Option<String>,
}

/// `COPY [--from=...] [--chown=...] [--chmod=...] [--link] source... destination`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// A stage, its index, or an image; the build context if it is missing.
    pub from: Option<String>,
    /// Who is to own the files.
    pub chown: Option<String>,
    /// Their mode.
    pub chmod: Option<String>,
    /// Options other than these and `--link`, which changes nothing in what is copied.
    pub flags: Vec<Flag>,
    /// What to copy, at least one.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: String,
}

/// `ADD`, which besides what `COPY` does can download and unpack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// Whatever it shares with `COPY`; there is no `--from`.
    pub copy: Copy,
}

/// Something to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path or pattern.
    Path(String),
    /// A file given in the Dockerfile.
    Heredoc(Heredoc),
}

impl Mount {
    /// The value of the first setting with one of these names.
    pub fn get(&self, keys: &[&str]) -> Option<&str> {
        self.settings.iter().find(|setting| keys.contains(&setting.key.as_str())).map(|setting| setting.value.as_str())
    }
}

/// Parses one logical line.
pub(super) fn parse(line: Line, escape: char) -> Result<Parsed, String> {
    let (keyword, rest) = split_word(&line.text);
    let keyword = keyword.to_ascii_uppercase();
    if keyword == "FROM" {
        return Ok(Parsed::From { from: from(rest, escape)?, text: line.text });
    }
    if rest.is_empty() && keyword.chars().all(|c| c.is_ascii_alphabetic()) && KEYWORDS.contains(&keyword.as_str()) {
        return Err(format!("{keyword} needs at least one argument"));
    }
    let action = match keyword.as_str() {
        "RUN" => Action::Run(run(rest, line.heredocs, escape)?),
        "COPY" => Action::Copy(copy("COPY", rest, line.heredocs, escape)?),
        "ADD" => Action::Add(Add { copy: copy("ADD", rest, line.heredocs, escape)? }),
        "ENV" => Action::Env(assignments("ENV", rest, escape)?),
        "LABEL" => Action::Label(assignments("LABEL", rest, escape)?),
        "ARG" => Action::Arg(args(rest, escape)?),
        "WORKDIR" => Action::Workdir(rest.to_owned()),
        "USER" => Action::User(rest.to_owned()),
        "EXPOSE" => Action::Expose(rest.split_whitespace().map(str::to_owned).collect()),
        "CMD" => Action::Cmd(command(rest)),
        "ENTRYPOINT" => Action::Entrypoint(command(rest)),
        "SHELL" => match json_words(rest) {
            Some(words) if !words.is_empty() => Action::Shell(words),
            _ => return Err("SHELL needs a JSON list of words, like [\"/bin/sh\", \"-c\"]".into()),
        },
        "STOPSIGNAL" => Action::Stopsignal(rest.to_owned()),
        "VOLUME" => {
            let words = json_words(rest);
            Action::Volume(words.unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect()))
        }
        "HEALTHCHECK" => Action::Healthcheck(rest.to_owned()),
        "ONBUILD" => Action::Onbuild(rest.to_owned()),
        "MAINTAINER" => Action::Maintainer(rest.to_owned()),
        _ => return Err(format!("unknown instruction {}", shortened(&keyword))),
    };
    Ok(Parsed::Instruction(Instruction { line: line.number, text: line.text, action }))
}

const KEYWORDS: [&str; 17] = [
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "LABEL",
    "ARG",
    "WORKDIR",
    "USER",
    "EXPOSE",
    "CMD",
    "ENTRYPOINT",
    "SHELL",
    "STOPSIGNAL",
    "VOLUME",
    "HEALTHCHECK",
    "ONBUILD",
    "MAINTAINER",
];

fn from(rest: &str, escape: char) -> Result<From, String> {
    let (flags, rest) = flags(rest, escape)?;
    let mut platform = None;
    for flag in flags {
        match (flag.name.as_str(), flag.value) {
            ("platform", Some(value)) => platform = Some(value),
            (name, _) => return Err(format!("FROM has no option --{}", shortened(name))),
        }
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words.as_slice() {
        [image] => Ok(From { image: (*image).to_owned(), platform, name: None }),
        [image, between, name] if between.eq_ignore_ascii_case("as") => {
            let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
            if !valid {
                return Err(format!("{:?} is no name for a stage", shortened(name)));
            }
            Ok(From { image: (*image).to_owned(), platform, name: Some((*name).to_owned()) })
        }
        _ => Err("FROM needs one image, and may have AS and a name after it".into()),
    }
}

fn run(rest: &str, heredocs: Vec<Heredoc>, escape: char) -> Result<Run, String> {
    let (all_flags, rest) = flags(rest, escape)?;
    let mut run = Run { mounts: Vec::new(), flags: Vec::new(), command: Command::Shell(String::new()), script: None };
    for flag in all_flags {
        match (flag.name.as_str(), flag.value.as_deref()) {
            ("mount", Some(value)) => run.mounts.push(mount(value)?),
            ("mount", None) => return Err("--mount needs a value".into()),
            _ => run.flags.push(flag),
        }
    }
    if rest.is_empty() {
        return Err("RUN needs a command".into());
    }
    run.command = command(rest);
    if let [heredoc] = heredocs.as_slice()
        && heredoc::is_announcement(rest)
    {
        run.command = Command::Shell(heredoc.body.clone());
        run.script = Some(heredoc.clone());
    } else if let Command::Shell(text) = &mut run.command {
        for heredoc in heredocs {
            text.push('\n');
            text.push_str(&heredoc.body);
            text.push_str(&heredoc.name);
        }
    }
    Ok(run)
}

fn mount(value: &str) -> Result<Mount, String> {
    let mut mount = Mount { kind: "bind".into(), settings: Vec::new() };
    for field in value.split(',') {
        let field = field.trim().trim_matches('"');
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match key.to_ascii_lowercase().as_str() {
            "" => return Err(format!("--mount={} has an empty setting", shortened(value))),
            "type" => mount.kind = value.to_ascii_lowercase(),
            key => mount.settings.push(Setting { key: key.to_owned(), value: value.to_owned() }),
        }
    }
    Ok(mount)
}

fn copy(keyword: &str, rest: &str, heredocs: Vec<Heredoc>, escape: char) -> Result<Copy, String> {
    let (all_flags, rest) = flags(rest, escape)?;
    let mut copy = Copy {
        from: None,
        chown: None,
        chmod: None,
        flags: Vec::new(),
        sources: Vec::new(),
        destination: String::new(),
    };
    for flag in all_flags {
        match (flag.name.as_str(), flag.value) {
            ("from", Some(value)) if keyword == "COPY" => copy.from = Some(value),
            ("chown", Some(value)) => copy.chown = Some(value),
            ("chmod", Some(value)) => copy.chmod = Some(value),
            ("link", None) => {}
            ("link", Some(value)) if value == "true" || value == "false" => {}
            (_, value) => copy.flags.push(Flag { name: flag.name, value }),
        }
    }
    let mut words = match json_words(rest) {
        Some(words) => words,
        None => words::split(rest, escape),
    };
    let few = || format!("{keyword} needs at least one source and a destination");
    copy.destination = words.pop().ok_or_else(few)?;
    let mut heredocs = heredocs.into_iter();
    for word in words {
        copy.sources.push(if heredoc::is_announcement(&word) {
            Source::Heredoc(heredocs.next().ok_or_else(|| format!("the heredoc {} has no body", shortened(&word)))?)
        } else {
            Source::Path(word)
        });
    }
    if copy.sources.is_empty() {
        return Err(few());
    }
    Ok(copy)
}

/// Reads `a=1 b="2 3"`, or the old form `a 1` with a single variable and everything after it as its value.
fn assignments(keyword: &str, rest: &str, escape: char) -> Result<Vec<Assignment>, String> {
    let words = words::split(rest, escape);
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (name, value) = split_word(rest);
        if value.is_empty() {
            return Err(format!("{keyword} needs a value for {}", shortened(name)));
        }
        return Ok(vec![Assignment { name: name.to_owned(), value: value.to_owned() }]);
    }
    let mut found = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some(("", _)) => return Err(format!("{keyword} has a value without a name")),
            Some((name, value)) => found.push(Assignment { name: name.to_owned(), value: value.to_owned() }),
            None => return Err(format!("{keyword} has no `=` after {}", shortened(&word))),
        }
    }
    Ok(found)
}

fn args(rest: &str, escape: char) -> Result<Vec<Arg>, String> {
    let mut found = Vec::new();
    for word in words::split(rest, escape) {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (word.as_str(), None),
        };
        if name.is_empty() {
            return Err("ARG has a value without a name".into());
        }
        found.push(Arg { name: name.to_owned(), default });
    }
    Ok(found)
}

fn command(rest: &str) -> Command {
    match json_words(rest) {
        Some(words) => Command::Exec(words),
        None => Command::Shell(rest.to_owned()),
    }
}

/// Reads a JSON list of strings; anything else, even if it nearly is one, is a line for the shell as in Docker.
fn json_words(text: &str) -> Option<Vec<String>> {
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Takes the `--name=value` words off the front.
fn flags(mut rest: &str, escape: char) -> Result<(Vec<Flag>, &str), String> {
    let mut flags = Vec::new();
    while let Some(after) = rest.strip_prefix("--") {
        let length = words::word_length(after, escape);
        let (word, remaining) = after.split_at(length);
        rest = remaining.trim_start();
        // A bare `--` ends the options.
        if word.is_empty() {
            break;
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        if name.is_empty() {
            return Err("there is an option without a name".into());
        }
        flags.push(Flag { name: name.to_owned(), value });
    }
    Ok((flags, rest))
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.find(char::is_whitespace) {
        Some(end) => (&text[..end], text[end..].trim_start()),
        None => (text, ""),
    }
}

/// At most the first 60 characters of something that may be long, for messages.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
