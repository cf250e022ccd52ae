//! Words of a line: where they end, what their quotes mean, what their variables stand for.

/// Splits at white space outside of quotes. Quotes and escapes stay, for [`expand`].
pub fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, remaining) = rest.split_at(word_length(rest, escape));
        words.push(word.to_owned());
        rest = remaining.trim_start();
    }
    words
}

/// Bytes up to the first white space outside of quotes.
pub(super) fn word_length(text: &str, escape: char) -> usize {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match quote {
            _ if c == escape && quote != Some('\'') => {
                chars.next();
            }
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => return index,
            None => {}
        }
    }
    text.len()
}

/// Resolves quotes, escapes and variables in a word: `$X`, `${X}`, `${X:-default}`, `${X:+instead}`, the same without
/// colon, and `${X:?message}`.
///
/// A variable for which `lookup` has nothing is empty.
///
/// # Errors
/// An unfinished quote or brace, a form other than these, the message of `${X:?message}`, or more than 1 MiB.
pub fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expander = Expander { chars: word.chars().peekable(), escape, lookup };
    expander.until(None, 0)
}

/// How deep defaults may stand inside of defaults.
const MAX_DEPTH: usize = 32;
/// Bytes to which variables may make a word grow. Lines like `ENV A=$A$A` double it each time.
const MAX_EXPANDED: usize = 1 << 20;

struct Expander<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Expander<'_> {
    /// Expands up to `end` (taken, not kept) or the end of the word.
    fn until(&mut self, end: Option<char>, depth: usize) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err("variables are nested too deep".into());
        }
        let mut out = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                _ if Some(c) == end => return Ok(out),
                '\'' => self.single_quoted(&mut out)?,
                '"' => self.double_quoted(&mut out, depth)?,
                '$' => self.variable(&mut out, depth)?,
                _ if c == self.escape => match self.chars.next() {
                    Some(escaped) => out.push(escaped),
                    None => out.push(c),
                },
                _ => out.push(c),
            }
        }
        match end {
            Some(end) => Err(format!("missing `{end}`")),
            None => Ok(out),
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), String> {
        for c in self.chars.by_ref() {
            if c == '\'' {
                return Ok(());
            }
            out.push(c);
        }
        Err("a single quote is not closed".into())
    }

    fn double_quoted(&mut self, out: &mut String, depth: usize) -> Result<(), String> {
        while let Some(c) = self.chars.next() {
            match c {
                '"' => return Ok(()),
                '$' => self.variable(out, depth)?,
                _ if c == self.escape => match self.chars.next() {
                    Some(escaped) if escaped == '"' || escaped == '$' || escaped == self.escape => out.push(escaped),
                    Some(other) => out.extend([c, other]),
                    None => out.push(c),
                },
                _ => out.push(c),
            }
        }
        Err("a double quote is not closed".into())
    }

    /// Expands what follows a `$`.
    fn variable(&mut self, out: &mut String, depth: usize) -> Result<(), String> {
        self.value(out, depth)?;
        if out.len() > MAX_EXPANDED {
            return Err(format!("variables make this longer than {MAX_EXPANDED} bytes"));
        }
        Ok(())
    }

    fn value(&mut self, out: &mut String, depth: usize) -> Result<(), String> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(&(self.lookup)(&name).unwrap_or_default());
            }
            return Ok(());
        }
        let name = self.name();
        if name.is_empty() {
            return Err("`${` needs the name of a variable".into());
        }
        let value = (self.lookup)(&name);
        let colon = self.chars.next_if_eq(&':').is_some();
        // With a colon an empty variable counts as one that is not set.
        let value = if colon { value.filter(|value| !value.is_empty()) } else { value };
        match self.chars.next() {
            Some('}') if !colon => out.push_str(&value.unwrap_or_default()),
            Some('-') => {
                let default = self.until(Some('}'), depth + 1)?;
                out.push_str(&value.unwrap_or(default));
            }
            Some('+') => {
                let instead = self.until(Some('}'), depth + 1)?;
                if value.is_some() {
                    out.push_str(&instead);
                }
            }
            Some('?') => {
                let message = self.until(Some('}'), depth + 1)?;
                match value {
                    Some(value) => out.push_str(&value),
                    None if message.is_empty() => return Err(format!("{name} is not set")),
                    None => return Err(format!("{name}: {message}")),
                }
            }
            Some(_) => return Err(format!("the form of `${{{name}...}}` is not one of ${{X}}, ${{X:-d}}, ${{X:+d}}")),
            None => return Err("missing `}`".into()),
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.chars.next_if(|c| *c == '_' || c.is_ascii_alphanumeric()) {
            name.push(c);
            // `$1` is one digit, `$1x` the variable 1 and an x.
            if name.len() == 1 && c.is_ascii_digit() {
                break;
            }
        }
        name
    }
}
