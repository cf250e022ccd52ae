//! Patterns for paths: `*`, `?`, `[a-z]`, and in `.dockerignore` also `**`.

/// A pattern ready to be matched; matching takes time linear in the path.
#[derive(Clone, Debug)]
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug)]
enum Token {
    Is(char),
    /// Any one character but `/`.
    One,
    /// Any number of characters but `/`.
    Many,
    /// Any number of characters, `/` among them.
    Deep,
    /// Nothing, or what the [`Token::InDirectories`] after it takes.
    MaybeDirectories,
    /// Anything that ends with `/`.
    InDirectories,
    OneOf {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern of `COPY`, where `**` is no more than `*`.
    ///
    /// # Errors
    /// An unfinished class or escape.
    pub fn of_copy(text: &str) -> Result<Self, String> {
        Self::read(text, false)
    }

    /// Reads a pattern of `.dockerignore`, where `**` crosses directories.
    ///
    /// # Errors
    /// An unfinished class or escape.
    pub fn of_ignore(text: &str) -> Result<Self, String> {
        Self::read(text, true)
    }

    fn read(text: &str, deep: bool) -> Result<Self, String> {
        let bad = || format!("the pattern {text:?} is not complete");
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let token = match c {
                '*' if deep && chars.next_if_eq(&'*').is_some() => match chars.next_if_eq(&'/') {
                    Some(_) => {
                        tokens.push(Token::MaybeDirectories);
                        Token::InDirectories
                    }
                    None => Token::Deep,
                },
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => Token::Is(chars.next().ok_or_else(bad)?),
                '[' => {
                    let not = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                        let low = class_member(&mut chars).ok_or_else(bad)?;
                        let high = match chars.next_if_eq(&'-') {
                            Some(_) => class_member(&mut chars).ok_or_else(bad)?,
                            None => low,
                        };
                        ranges.push((low, high));
                    }
                    Token::OneOf { not, ranges }
                }
                other => Token::Is(other),
            };
            tokens.push(token);
        }
        Ok(Self { tokens })
    }

    /// Whether the whole of `path` fits.
    pub fn matches(&self, path: &str) -> bool {
        // All places in the pattern that may be reached are followed at once, so that no pattern takes long.
        let mut places = vec![false; self.tokens.len() + 1];
        places[0] = true;
        self.skip_empty(&mut places);
        for c in path.chars() {
            let mut next = vec![false; places.len()];
            for (index, token) in self.tokens.iter().enumerate().filter(|(index, _)| places[*index]) {
                match token {
                    Token::Is(wanted) => next[index + 1] |= *wanted == c,
                    Token::One => next[index + 1] |= c != '/',
                    Token::Many => next[index] |= c != '/',
                    Token::Deep => next[index] = true,
                    Token::MaybeDirectories => {}
                    Token::InDirectories => {
                        next[index] = true;
                        next[index + 1] |= c == '/';
                    }
                    Token::OneOf { not, ranges } => {
                        let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                        next[index + 1] |= c != '/' && inside != *not;
                    }
                }
            }
            self.skip_empty(&mut next);
            places = next;
        }
        places[self.tokens.len()]
    }

    /// Marks the places that are reached without a further character.
    fn skip_empty(&self, places: &mut [bool]) {
        for (index, token) in self.tokens.iter().enumerate() {
            match token {
                _ if !places[index] => {}
                Token::Many | Token::Deep => places[index + 1] = true,
                Token::MaybeDirectories => {
                    places[index + 1] = true;
                    places[index + 2] = true;
                }
                _ => {}
            }
        }
    }
}

/// Reads one end of a range.
fn class_member(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '\\' => chars.next(),
        '-' | ']' => None,
        other => Some(other),
    }
}

/// Whether `text` has anything that only a pattern has.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}
