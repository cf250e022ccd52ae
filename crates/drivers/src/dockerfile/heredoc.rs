//! Heredocs: `<<EOF` on an instruction, and the lines up to `EOF` as its body.

/// A text that stands in the Dockerfile itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it; for `COPY` also the name of the file.
    pub name: String,
    /// The lines of the body, each with its line break.
    pub body: String,
    /// Whether variables in the body are left alone, because the name was quoted.
    pub verbatim: bool,
    /// Whether it was written `<<-`; leading tabs are gone from `body` then.
    pub strips_tabs: bool,
}

/// Finds the heredocs that an instruction announces, with bodies still empty.
///
/// Only `RUN`, `COPY` and `ADD` have any, and not inside of quotes.
pub(super) fn announced_by(line: &str, escape: char) -> Vec<Heredoc> {
    let keyword = line.split_whitespace().next().unwrap_or_default();
    if !["RUN", "COPY", "ADD"].iter().any(|with| keyword.eq_ignore_ascii_case(with)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut chars = line.char_indices().peekable();
    let mut quote = None;
    let mut only_digits_in_word = true;
    while let Some((index, c)) = chars.next() {
        match quote {
            _ if c == escape && quote != Some('\'') => {
                chars.next();
            }
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            // A heredoc begins a word, perhaps after the number of a file descriptor.
            None if c == '<' && only_digits_in_word => {
                if let Some((heredoc, length)) = announcement(&line[index..]) {
                    found.push(heredoc);
                    while chars.peek().is_some_and(|(next, _)| *next < index + length) {
                        chars.next();
                    }
                }
            }
            None => {}
        }
        only_digits_in_word = c.is_whitespace() || (only_digits_in_word && c.is_ascii_digit());
    }
    found
}

/// Reads `<<NAME`, `<<-NAME`, `<<"NAME"` at the start of `text`; returns it with its length in bytes.
fn announcement(text: &str) -> Option<(Heredoc, usize)> {
    let after_arrows = text.strip_prefix("<<")?;
    let (strips_tabs, word) = match after_arrows.strip_prefix('-') {
        Some(word) => (true, word),
        None => (false, after_arrows),
    };
    let (name, verbatim, length) = match word.chars().next()? {
        quote @ ('"' | '\'') => {
            let inner = &word[1..];
            let end = inner.find(quote)?;
            (&inner[..end], true, end + 2)
        }
        _ => {
            let end = word.find(|c: char| !is_name(c)).unwrap_or(word.len());
            (&word[..end], false, end)
        }
    };
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let length = text.len() - word.len() + length;
    Some((Heredoc { name: name.to_owned(), body: String::new(), verbatim, strips_tabs }, length))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Whether `word` is nothing but the announcement of a heredoc.
pub(super) fn is_announcement(word: &str) -> bool {
    announcement(word).is_some_and(|(_, length)| length == word.len())
}
