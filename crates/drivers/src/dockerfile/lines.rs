//! From text to logical lines: directives, comments, continuations and the bodies of heredocs.

use super::ParseError;
use super::heredoc::{self, Heredoc};

/// The lines of a Dockerfile that hold instructions.
pub(super) struct Lines {
    pub(super) escape: char,
    pub(super) syntax: Option<String>,
    pub(super) lines: Vec<Line>,
}

/// One instruction: continuations joined, comments gone.
pub(super) struct Line {
    /// Number of its first line, from 1.
    pub(super) number: usize,
    pub(super) text: String,
    pub(super) heredocs: Vec<Heredoc>,
}

/// Splits `text` into logical lines.
pub(super) fn read(text: &str) -> Result<Lines, ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let physical: Vec<&str> = text.lines().collect();
    let (escape, syntax) = directives(&physical)?;

    let mut lines = Vec::new();
    let mut at = 0;
    while at < physical.len() {
        if is_comment(physical[at]) || physical[at].trim().is_empty() {
            at += 1;
            continue;
        }
        let number = at + 1;
        let (text, after) = logical_line(&physical, at, escape);
        at = after;
        let mut heredocs = Vec::new();
        for mut heredoc in heredoc::announced_by(&text, escape) {
            at = body(&physical, at, &mut heredoc).ok_or_else(|| ParseError {
                line: number,
                message: format!("the heredoc {} has no end", heredoc.name),
            })?;
            heredocs.push(heredoc);
        }
        lines.push(Line { number, text, heredocs });
    }
    Ok(Lines { escape, syntax, lines })
}

/// Joins the line at `at` with those that continue it; returns it and the index after them.
fn logical_line(physical: &[&str], mut at: usize, escape: char) -> (String, usize) {
    let mut text = String::new();
    let mut first = true;
    while let Some(line) = physical.get(at) {
        at += 1;
        // Comments and empty lines inside an instruction are skipped, whether or not the line before was continued
        // across them: that is how commented-out steps of a long RUN are written.
        if !first && (is_comment(line) || line.trim().is_empty()) {
            continue;
        }
        let line = if first { line.trim_start() } else { line };
        first = false;
        match line.trim_end().strip_suffix(escape) {
            // An escaped escape character is a plain one.
            Some(continued) if !continued.ends_with(escape) => text.push_str(continued),
            _ => {
                text.push_str(line.trim_end());
                return (text, at);
            }
        }
    }
    (text.trim_end().to_owned(), at)
}

/// Reads the body of `heredoc` from the line at `at`; returns the index after its end, or `None` if there is no end.
fn body(physical: &[&str], mut at: usize, heredoc: &mut Heredoc) -> Option<usize> {
    loop {
        let line = *physical.get(at)?;
        at += 1;
        let line = if heredoc.strips_tabs { line.trim_start_matches('\t') } else { line };
        if line == heredoc.name {
            return Some(at);
        }
        heredoc.body.push_str(line);
        heredoc.body.push('\n');
    }
}

/// Reads `# key=value` from the first lines; anything else ends them.
fn directives(physical: &[&str]) -> Result<(char, Option<String>), ParseError> {
    let mut escape = None;
    let mut syntax = None;
    for (index, line) in physical.iter().enumerate() {
        let Some((key, value)) = directive(line) else { break };
        let at = |message: String| ParseError { line: index + 1, message };
        match key.as_str() {
            "escape" if escape.is_some() => return Err(at("the directive `escape` is there twice".into())),
            "escape" => match value {
                "\\" => escape = Some('\\'),
                "`" => escape = Some('`'),
                other => return Err(at(format!("the escape character is \\ or `, not {other:?}"))),
            },
            "syntax" if syntax.is_some() => return Err(at("the directive `syntax` is there twice".into())),
            "syntax" => syntax = Some(value.to_owned()),
            "check" => {}
            // An ordinary comment that happens to hold a `=`.
            _ => break,
        }
    }
    Ok((escape.unwrap_or('\\'), syntax))
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let key = key.trim();
    key.chars().all(|c| c.is_ascii_alphanumeric()).then(|| (key.to_ascii_lowercase(), value.trim()))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}
