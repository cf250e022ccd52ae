//! Regular expressions as JavaScript writes them (`INP-7`).
//!
//! The engine here shares most of the syntax, but not all: classes like `\d` are ASCII in JavaScript, unknown escapes and
//! stray brackets stand for themselves, and so on. So a pattern is read by the rules of ECMAScript without the unicode flag
//! and spelled anew, which also finds patterns that can run for ever.

use fancy_regex::{Regex, RegexBuilder};

/// Longer patterns are refused.
const MAX_PATTERN: usize = 10_000;

/// Groups inside each other; bounds the recursion here and in the engine.
const MAX_DEPTH: usize = 50;

/// How often a match may go back before it is given up, which then counts as no match.
const BACKTRACK_LIMIT: usize = 100_000;

/// What one compiled pattern may take, in bytes.
const SIZE_LIMIT: usize = 2 << 20;

/// A pattern that is ready to be matched.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern. The error continues a sentence that starts with the field.
    pub(super) fn new(source: &str) -> Result<Self, &'static str> {
        let translated = translate(source).map_err(|error| match error {
            Refused::Invalid => "must be a valid regular expression",
            Refused::Unsafe => "must be a safe regular expression (it may take exponential time)",
        })?;
        let regex = RegexBuilder::new(&translated)
            .backtrack_limit(BACKTRACK_LIMIT)
            .delegate_size_limit(SIZE_LIMIT)
            .max_prog_size(100_000)
            .build()
            .map_err(|_| "must be a valid regular expression")?;
        Ok(Self { source: source.to_owned(), regex })
    }

    /// The pattern as the author wrote it.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether the pattern is found anywhere in the text.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text).unwrap_or(false)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Invalid,
    Unsafe,
}

const DIGIT: &str = "0-9";
const WORD: &str = "A-Za-z0-9_";
const SPACE: &str = r"\t\n\x0B\x0C\r \x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}";
const LINE_BREAK: &str = r"\n\r\x{2028}\x{2029}";

/// Spells a JavaScript pattern in the syntax of the engine.
fn translate(source: &str) -> Result<String, Refused> {
    if source.len() > MAX_PATTERN {
        return Err(Refused::Invalid);
    }
    let chars: Vec<char> = source.chars().collect();
    let (groups, has_names) = count_groups(&chars);
    let mut translator =
        Translator { chars: &chars, at: 0, out: String::with_capacity(source.len() * 2), groups, has_names };
    translator.alternatives(0)?;
    if translator.at < chars.len() { Err(Refused::Invalid) } else { Ok(translator.out) }
}

struct Translator<'a> {
    chars: &'a [char],
    at: usize,
    out: String,
    /// Capturing groups in the whole pattern: a back-reference may come before its group.
    groups: usize,
    has_names: bool,
}

/// What a part of a pattern can match, as far as needed to see repetition that explodes.
#[derive(Clone, Copy)]
struct Extent {
    /// It can match nothing.
    is_nullable: bool,
    /// It can match texts of any length by repeating one part of it, with nothing else in between.
    is_pumpable: bool,
}

impl Translator<'_> {
    fn alternatives(&mut self, depth: usize) -> Result<Extent, Refused> {
        if depth > MAX_DEPTH {
            return Err(Refused::Invalid);
        }
        let mut whole = self.sequence(depth)?;
        while self.take('|') {
            self.out.push('|');
            let alternative = self.sequence(depth)?;
            whole.is_nullable |= alternative.is_nullable;
            whole.is_pumpable |= alternative.is_pumpable;
        }
        Ok(whole)
    }

    fn sequence(&mut self, depth: usize) -> Result<Extent, Refused> {
        let (mut solid, mut solid_pumpable, mut pumpable) = (0_usize, false, false);
        while let Some(next) = self.peek().filter(|next| !['|', ')'].contains(next)) {
            let start = self.out.len();
            let part = self.part(next, depth)?;
            let part = self.quantified(part, start)?;
            pumpable |= part.is_pumpable;
            if !part.is_nullable {
                solid += 1;
                solid_pumpable |= part.is_pumpable;
            }
        }
        // A repeated part explodes in a repeated sequence when all its neighbours can vanish.
        let is_pumpable = match solid {
            0 => pumpable,
            1 => solid_pumpable,
            _ => false,
        };
        Ok(Extent { is_nullable: solid == 0, is_pumpable })
    }

    /// One atom or assertion, without what repeats it. `None` for what cannot be repeated.
    fn part(&mut self, next: char, depth: usize) -> Result<Option<Extent>, Refused> {
        const ONE: Extent = Extent { is_nullable: false, is_pumpable: false };
        const NOTHING: Extent = Extent { is_nullable: true, is_pumpable: false };
        self.at += 1;
        Ok(match next {
            '^' => {
                self.out.push_str(r"\A");
                None
            }
            '$' => {
                self.out.push_str(r"\z");
                None
            }
            '(' => return self.group(depth),
            '.' => {
                self.out.push_str(&format!("[^{LINE_BREAK}]"));
                Some(ONE)
            }
            '[' => {
                self.class()?;
                Some(ONE)
            }
            '\\' => match self.peek().ok_or(Refused::Invalid)? {
                boundary @ ('b' | 'B') => {
                    self.at += 1;
                    let (same, other) = if boundary == 'b' { ("!", "=") } else { ("=", "!") };
                    self.out.push_str(&format!("(?:(?<=[{WORD}])(?{same}[{WORD}])|(?<![{WORD}])(?{other}[{WORD}]))"));
                    None
                }
                'k' if self.has_names => {
                    self.at += 1;
                    let name = self.group_name()?;
                    self.out.push_str(&format!(r"\k<{name}>"));
                    Some(NOTHING)
                }
                '1'..='9' if self.back_reference() => Some(NOTHING),
                _ => {
                    match self.escape()? {
                        Escape::Class(class) => self.out.push_str(&format!("[{class}]")),
                        Escape::Char(character) => push_char(&mut self.out, character),
                    }
                    Some(ONE)
                }
            },
            '*' | '+' | '?' => return Err(Refused::Invalid),
            '{' if self.braces_at(self.at - 1).is_some() => return Err(Refused::Invalid),
            plain => {
                push_char(&mut self.out, plain);
                Some(ONE)
            }
        })
    }

    fn group(&mut self, depth: usize) -> Result<Option<Extent>, Refused> {
        let mut is_assertion = false;
        if self.take('?') {
            let rest = &self.chars[self.at..];
            let opening = match rest {
                [':', ..] => "?:",
                ['=', ..] => "?=",
                ['!', ..] => "?!",
                ['<', '=', ..] => "?<=",
                ['<', '!', ..] => "?<!",
                ['<', ..] => {
                    let name = self.group_name()?;
                    self.out.push_str(&format!("(?<{name}>"));
                    ""
                }
                _ => return Err(Refused::Invalid),
            };
            if !opening.is_empty() {
                self.at += opening.len() - 1;
                self.out.push('(');
                self.out.push_str(opening);
                is_assertion = opening != "?:";
            }
        } else {
            self.out.push('(');
        }
        let extent = self.alternatives(depth + 1)?;
        if !self.take(')') {
            return Err(Refused::Invalid);
        }
        self.out.push(')');
        Ok(if is_assertion { None } else { Some(extent) })
    }

    /// Takes the quantifier of the part that was written from `start` on, if there is one.
    fn quantified(&mut self, part: Option<Extent>, start: usize) -> Result<Extent, Refused> {
        let (least, most, text) = match self.peek() {
            Some('*') => (0, None, "*".to_owned()),
            Some('+') => (1, None, "+".to_owned()),
            Some('?') => (0, Some(1), "?".to_owned()),
            Some('{') => match self.braces_at(self.at) {
                Some((least, most, length)) => {
                    self.at += length - 1;
                    let most_text = most.map_or(String::new(), |most| most.to_string());
                    (least, most, format!("{{{least},{most_text}}}"))
                }
                None => return Ok(part.unwrap_or(Extent { is_nullable: true, is_pumpable: false })),
            },
            _ => return Ok(part.unwrap_or(Extent { is_nullable: true, is_pumpable: false })),
        };
        self.at += 1;
        let part = part.ok_or(Refused::Invalid)?;
        if most.is_none() && part.is_pumpable {
            return Err(Refused::Unsafe);
        }
        // What a part was spelled as may be more than one atom for the engine.
        self.out.insert_str(start, "(?:");
        self.out.push(')');
        self.out.push_str(&text);
        if self.take('?') {
            self.out.push('?');
        }
        Ok(Extent { is_nullable: least == 0 || part.is_nullable, is_pumpable: most.is_none() || part.is_pumpable })
    }

    /// The bounds of a quantifier in braces and how many characters it takes; braces around something else are plain text.
    fn braces_at(&self, at: usize) -> Option<(u32, Option<u32>, usize)> {
        let length = self.chars[at..].iter().take(24).position(|&c| c == '}')? + 1;
        let inside: String = self.chars[at + 1..at + length - 1].iter().collect();
        let number = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            is_number.then(|| digits.parse().unwrap_or(u32::MAX))
        };
        let (least, most) = match inside.split_once(',') {
            None => {
                let exactly = number(&inside)?;
                (exactly, Some(exactly))
            }
            Some((least, "")) => (number(least)?, None),
            Some((least, most)) => (number(least)?, Some(number(most)?)),
        };
        Some((least, most, length))
    }

    fn class(&mut self) -> Result<(), Refused> {
        let is_negated = self.take('^');
        let mut items = String::new();
        loop {
            let low = match self.peek().ok_or(Refused::Invalid)? {
                ']' => break,
                _ => self.class_atom()?,
            };
            let is_range = self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|&next| next != ']');
            if !is_range {
                push_class_atom(&mut items, &low);
                continue;
            }
            self.at += 1;
            let high = self.class_atom()?;
            match (low, high) {
                (Escape::Char(low), Escape::Char(high)) if low <= high => {
                    push_hex(&mut items, low);
                    items.push('-');
                    push_hex(&mut items, high);
                }
                (Escape::Char(_), Escape::Char(_)) => return Err(Refused::Invalid),
                // With a class at one end, the dash is a dash.
                (low, high) => {
                    push_class_atom(&mut items, &low);
                    items.push_str(r"\-");
                    push_class_atom(&mut items, &high);
                }
            }
        }
        self.at += 1;
        match (items.is_empty(), is_negated) {
            (true, false) => self.out.push_str("(?:(?!))"),
            (true, true) => self.out.push_str(r"[\x00-\x{10FFFF}]"),
            (false, true) => self.out.push_str(&format!("[^{items}]")),
            (false, false) => self.out.push_str(&format!("[{items}]")),
        }
        Ok(())
    }

    fn class_atom(&mut self) -> Result<Escape, Refused> {
        let next = self.peek().ok_or(Refused::Invalid)?;
        self.at += 1;
        if next != '\\' {
            return Ok(Escape::Char(next));
        }
        if self.take('b') {
            return Ok(Escape::Char('\u{8}'));
        }
        self.escape()
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<Escape, Refused> {
        let next = self.peek().ok_or(Refused::Invalid)?;
        self.at += 1;
        Ok(match next {
            'd' => Escape::Class(DIGIT.to_owned()),
            'w' => Escape::Class(WORD.to_owned()),
            's' => Escape::Class(SPACE.to_owned()),
            'D' => Escape::Class(format!("[^{DIGIT}]")),
            'W' => Escape::Class(format!("[^{WORD}]")),
            'S' => Escape::Class(format!("[^{SPACE}]")),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            't' => Escape::Char('\t'),
            'v' => Escape::Char('\u{b}'),
            'f' => Escape::Char('\u{c}'),
            'c' => match self.peek().filter(char::is_ascii_alphabetic) {
                Some(letter) => {
                    self.at += 1;
                    Escape::Char(char::from(letter as u8 % 32))
                }
                // Not an escape at all: a backslash and then a `c`.
                None => {
                    self.at -= 1;
                    Escape::Char('\\')
                }
            },
            'x' => Escape::Char(self.hex(2).and_then(char::from_u32).unwrap_or('x')),
            'u' => match self.hex(4) {
                Some(high @ 0xD800..0xDC00) if self.chars[self.at..].starts_with(&['\\', 'u']) => {
                    self.at += 2;
                    let low = self.hex(4).filter(|low| (0xDC00..0xE000).contains(low)).ok_or(Refused::Invalid)?;
                    let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                    Escape::Char(char::from_u32(code).ok_or(Refused::Invalid)?)
                }
                Some(unit) => Escape::Char(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)),
                None => Escape::Char('u'),
            },
            '0'..='7' => {
                let mut code = next as u32 - '0' as u32;
                while let Some(digit) =
                    self.peek().and_then(|digit| digit.to_digit(8)).filter(|digit| code * 8 + digit < 256)
                {
                    code = code * 8 + digit;
                    self.at += 1;
                }
                Escape::Char(char::from_u32(code).ok_or(Refused::Invalid)?)
            }
            plain => Escape::Char(plain),
        })
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text: String = self.chars.get(self.at..self.at + digits)?.iter().collect();
        let is_hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_hex.then(|| u32::from_str_radix(&text, 16).ok()).flatten()?;
        self.at += digits;
        Some(number)
    }

    /// Takes a reference to a group by number, if there is a group of that number; else it is an old octal escape.
    fn back_reference(&mut self) -> bool {
        let digits: String = self.chars[self.at..].iter().take(3).take_while(|c| c.is_ascii_digit()).collect();
        let Some(number) = digits.parse::<usize>().ok().filter(|&number| number <= self.groups) else { return false };
        self.at += digits.len();
        self.out.push_str(&format!(r"(?:\{number})"));
        true
    }

    fn group_name(&mut self) -> Result<String, Refused> {
        if !self.take('<') {
            return Err(Refused::Invalid);
        }
        let length = self.chars[self.at..].iter().position(|&c| c == '>').ok_or(Refused::Invalid)?;
        let name: String = self.chars[self.at..self.at + length].iter().collect();
        self.at += length + 1;
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name && is_word { Ok(name) } else { Err(Refused::Invalid) }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }
}

enum Escape {
    Char(char),
    /// What stands between the brackets of a class.
    Class(String),
}

/// How many capturing groups there are, and whether one has a name.
fn count_groups(chars: &[char]) -> (usize, bool) {
    let (mut count, mut named, mut in_class, mut at) = (0, false, false, 0);
    while let Some(&next) = chars.get(at) {
        match next {
            '\\' => at += 1,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => {
                let has_name = matches!(chars[at + 1..], ['?', '<', next, ..] if next != '=' && next != '!');
                named |= has_name;
                count += usize::from(has_name || chars.get(at + 1) != Some(&'?'));
            }
            _ => {}
        }
        at += 1;
    }
    (count, named)
}

fn push_char(out: &mut String, character: char) {
    if character.is_ascii_alphanumeric() {
        out.push(character);
    } else {
        push_hex(out, character);
    }
}

fn push_class_atom(items: &mut String, atom: &Escape) {
    match atom {
        Escape::Char(character) => push_hex(items, *character),
        Escape::Class(class) => items.push_str(class),
    }
}

fn push_hex(out: &mut String, character: char) {
    out.push_str(&format!(r"\x{{{:X}}}", u32::from(character)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_javascript() {
        for (source, matching, other) in [
            ("b", &["abc"][..], &["ac"][..]),
            (r"^\d+$", &["12"], &["1a", "١", "12\n", ""]),
            (r"^\w$", &["_", "a"], &["é", "-"]),
            (r"^\s$", &[" ", "\u{a0}", "\u{feff}"], &["x", "\u{180e}"]),
            (r"^[\s\S]$", &["x", "\n"], &[]),
            (r"^[\w.-]+$", &["a.b-c"], &["a b"]),
            (r"^[^\d\W]+$", &["ab_"], &["a1", "a-"]),
            (r"^.$", &["é"], &["\n", "\u{2028}"]),
            (r"^https?:\/\/.+", &["http://x"], &["ftp://x"]),
            (r"^(?=.*[A-Z])(?!.*\s).{3,5}$", &["abC", "ABCDE"], &["abc", "A c", "ABCDEF"]),
            (r"(?<=\$)\d+(?<!0)$", &["$12"], &["12", "$10"]),
            (r"^(a|b)\1$", &["aa", "bb"], &["ab"]),
            (r"^(?<x>a|b)\k<x>$", &["aa"], &["ab"]),
            (r"\bcat\b", &["a cat!"], &["cats", "_cat"]),
            (r"^\Bx", &[], &["x"]),
            (r"^a{2}$", &["aa"], &["a", "a{2}"]),
            (r"^a{,2}$", &["a{,2}"], &["aa"]),
            (r"^{x}]$", &["{x}]"], &[]),
            (r"^[a-f&&[b]]$", &["a]", "&]", "[]"], &["b"]),
            (r"^[+--]$", &["+", ",", "-"], &["."]),
            (r"^[\d-x]$", &["5", "-", "x"], &["y"]),
            (r"^[^]$", &["a", "\n"], &["", "ab"]),
            ("[]", &[], &["", "a"]),
            (r"^\x41\u0042\cA\0$", &["AB\u{1}\0"], &["AB"]),
            (r"^\ud83d\ude00$", &["😀"], &["x"]),
            (r"^\-\_\@\p\e$", &["-_@pe"], &[]),
            (r"^\1$", &["\u{1}"], &["1"]),
            (r"^(?:a?b?)*?c$", &["ababc", "c"], &["abd"]),
            (r"^[a-z0-9]+(-[a-z0-9]+)*$", &["a-b-c"], &["a--b"]),
            (r"^([a-z]+\.)+[a-z]{2,}$", &["www.example.com"], &["com"]),
            (r"^😀+$", &["😀😀"], &[]),
            ("^$", &[""], &["a"]),
            ("", &["", "x"], &[]),
        ] {
            let pattern = Pattern::new(source).unwrap_or_else(|why| panic!("{source}: {why}"));
            for text in matching {
                assert!(pattern.matches(text), "{source} should match {text:?}");
            }
            for text in other {
                assert!(!pattern.matches(text), "{source} should not match {text:?}");
            }
        }
    }

    #[test]
    fn invalid_and_exploding_patterns_are_refused() {
        for source in ["(", ")", "[a", "a**", "*a", "a{1}{2}", "(?i)a", "[z-a]", "\\", "(?<1>a)", "^*"] {
            assert_eq!(Pattern::new(source).unwrap_err(), "must be a valid regular expression", "{source}");
        }
        for source in ["^(a+)+$", "(a*)*b", r"^(\w+\s?)*$", "(x|[a-z]+)*y", "((a+)?b?)+c", "(a{1,})*"] {
            assert!(Pattern::new(source).unwrap_err().starts_with("must be a safe"), "{source}");
        }
        assert!(Pattern::new(&"(".repeat(5000)).is_err());
        assert!(Pattern::new(&"(?:a{1,1000}){1,1000}".repeat(20)).is_err());
    }

    #[test]
    fn a_match_that_takes_too_long_counts_as_none() {
        let pattern = Pattern::new(r"^(?=(a|aa|a.)*b)(a|aa|a.)*c$").unwrap();

        assert!(!pattern.matches(&"a".repeat(5_000)));
    }

    proptest! {
        #[test]
        fn any_pattern_is_answered(source in r"[\[\](){}^$|*+?.\\:=!<>bdDkux0-9,a\-é]{0,16}", text in "[ab1é]{0,8}") {
            if let Ok(pattern) = Pattern::new(&source) {
                pattern.matches(&text);
            }
        }

        #[test]
        fn plain_text_matches_itself(text in "[a-zA-Z0-9 _@#%&~é😀-]{0,12}") {
            let pattern = Pattern::new(&format!("^{text}$")).unwrap();
            prop_assert!(pattern.matches(&text));
        }
    }
}
