//! From text to a tree.

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Number(f64),
    Text(String),
    Bool(bool),
    Null,
    Undefined,
    Variable(String),
    List(Vec<Node>),
    /// A property, or an element counted from 1.
    Access(Box<Node>, Box<Node>),
    Call(String, Vec<Node>),
    Negate(Box<Node>),
    Plus(Box<Node>),
    Not(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    /// `a < b <= c`: all neighbours must compare so.
    Chain(Box<Node>, Vec<(Operator, Node)>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    Assign(String, Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Nullish,
    And,
    Or,
    Xor,
    Equal,
    Unequal,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
}

/// Parts inside each other; an expression that people write needs a handful.
const MAX_DEPTH: u32 = 40;

/// What may follow `runOptions.` in double braces.
const RUN_OPTIONS: [&str; 7] =
    ["build", "timeoutSecs", "memoryMbytes", "diskMbytes", "maxItems", "maxTotalChargeUsd", "restartOnError"];

/// The statements of an expression in order; the value of the last one counts.
pub(super) fn parse(expression: &str) -> Option<Vec<Node>> {
    let tokens = tokens(&without_braces(expression)?)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, in_brackets: 0 };
    let mut statements = Vec::new();
    loop {
        while parser.take(&Token::End) {}
        if parser.peek().is_none() {
            return Some(statements);
        }
        statements.push(parser.assignment()?);
        if parser.peek().is_some_and(|next| *next != Token::End) {
            return None;
        }
    }
}

/// Replaces `{{input.x}}` by `input.x`.
fn without_braces(expression: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = expression;
    while let Some((before, opened)) = rest.split_once("{{") {
        let (inside, after) = opened.split_once("}}")?;
        let name = inside.trim();
        let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        let option = name.strip_prefix("runOptions.");
        let is_known = name.starts_with("input.") || option.is_some_and(|option| RUN_OPTIONS.contains(&option));
        if !is_word || !is_known {
            return None;
        }
        text.push_str(before);
        text.push_str(name);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    Word(String),
    Sign(&'static str),
    /// The end of a statement.
    End,
}

/// Longer signs first.
const SIGNS: [&str; 20] =
    ["??", "==", "!=", "<=", ">=", "<", ">", "=", "+", "-", "*", "/", "(", ")", "[", "]", ",", "?", ":", "."];

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '\n' | ';' => {
                tokens.push(Token::End);
                1
            }
            '#' => rest.find('\n').unwrap_or(rest.len()),
            space if space.is_whitespace() => space.len_utf8(),
            quote @ ('"' | '\'') => {
                let length = rest[1..].find(quote)?;
                tokens.push(Token::Text(rest[1..=length].to_owned()));
                length + 2
            }
            digit if digit.is_ascii_digit() || digit == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let length = number_length(rest);
                tokens.push(Token::Number(rest[..length].parse().ok()?));
                length
            }
            letter if letter.is_alphabetic() || letter == '_' => {
                let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign))?;
                tokens.push(Token::Sign(sign));
                sign.len()
            }
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

fn number_length(text: &str) -> usize {
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(0);
    if text[length..].starts_with('.') {
        length += 1 + digits(length + 1);
    }
    if text[length..].starts_with(['e', 'E']) {
        let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    depth: u32,
    /// Line breaks inside brackets do not end a statement.
    in_brackets: u32,
}

impl Parser<'_> {
    fn assignment(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let target = self.conditional()?;
        let node = if self.take_sign("=") {
            let Node::Variable(name) = target else { return None };
            Node::Assign(name, Box::new(self.assignment()?))
        } else {
            target
        };
        self.depth -= 1;
        Some(node)
    }

    fn conditional(&mut self) -> Option<Node> {
        let test = self.binary(0)?;
        if !self.take_sign("?") {
            return Some(test);
        }
        let then = self.assignment()?;
        if !self.take_sign(":") {
            return None;
        }
        let otherwise = self.assignment()?;
        Some(Node::Conditional(Box::new(test), Box::new(then), Box::new(otherwise)))
    }

    /// Operators by how tightly they bind, from `or` on.
    fn binary(&mut self, level: usize) -> Option<Node> {
        const LEVELS: [&[(&str, Operator)]; 6] = [
            &[("or", Operator::Or)],
            &[("xor", Operator::Xor)],
            &[("and", Operator::And)],
            &[
                ("==", Operator::Equal),
                ("!=", Operator::Unequal),
                ("<=", Operator::LessOrEqual),
                (">=", Operator::GreaterOrEqual),
                ("<", Operator::Less),
                (">", Operator::Greater),
            ],
            &[("+", Operator::Add), ("-", Operator::Subtract)],
            &[("*", Operator::Multiply), ("/", Operator::Divide)],
        ];
        const COMPARISONS: usize = 3;
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut node = self.binary(level + 1)?;
        let mut compared = Vec::new();
        while let Some(&(_, operator)) = operators.iter().find(|(sign, _)| self.take_sign(sign)) {
            let right = self.binary(level + 1)?;
            if level == COMPARISONS {
                compared.push((operator, right));
            } else {
                node = Node::Binary(operator, Box::new(node), Box::new(right));
            }
        }
        Some(if compared.is_empty() { node } else { Node::Chain(Box::new(node), compared) })
    }

    fn unary(&mut self) -> Option<Node> {
        let wrap = ["-", "+", "not"].into_iter().find(|sign| self.take_sign(sign));
        let Some(sign) = wrap else { return self.nullish() };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let inner = Box::new(self.unary()?);
        self.depth -= 1;
        Some(match sign {
            "-" => Node::Negate(inner),
            "+" => Node::Plus(inner),
            _ => Node::Not(inner),
        })
    }

    /// `??` binds tighter than arithmetic.
    fn nullish(&mut self) -> Option<Node> {
        let mut node = self.access()?;
        while self.take_sign("??") {
            let is_signed = matches!(self.peek(), Some(Token::Sign("-" | "+")));
            let right = if is_signed { self.unary()? } else { self.access()? };
            node = Node::Binary(Operator::Nullish, Box::new(node), Box::new(right));
        }
        Some(node)
    }

    fn access(&mut self) -> Option<Node> {
        let mut node = self.primary()?;
        loop {
            let key = if self.take_sign(".") {
                let Token::Word(name) = self.next()? else { return None };
                Node::Text(name)
            } else if self.take_sign("[") {
                self.in_brackets += 1;
                let key = self.assignment()?;
                self.close("]")?;
                key
            } else {
                return Some(node);
            };
            node = Node::Access(Box::new(node), Box::new(key));
        }
    }

    fn primary(&mut self) -> Option<Node> {
        Some(match self.next()? {
            Token::Number(number) => Node::Number(number),
            Token::Text(text) => Node::Text(text),
            Token::Sign("(") => {
                self.in_brackets += 1;
                let inner = self.assignment()?;
                self.close(")")?;
                inner
            }
            Token::Sign("[") => Node::List(self.list("]")?),
            Token::Word(word) => match word.as_str() {
                "true" => Node::Bool(true),
                "false" => Node::Bool(false),
                "null" => Node::Null,
                "undefined" => Node::Undefined,
                "and" | "or" | "xor" | "not" => return None,
                _ if self.take_sign("(") => Node::Call(word, self.list(")")?),
                _ => Node::Variable(word),
            },
            Token::Sign(_) | Token::End => return None,
        })
    }

    /// What stands between brackets, separated by commas; the opening one is taken already.
    fn list(&mut self, closing: &'static str) -> Option<Vec<Node>> {
        self.in_brackets += 1;
        let mut items = Vec::new();
        if self.peek() == Some(&Token::Sign(closing)) {
            self.close(closing)?;
            return Some(items);
        }
        loop {
            items.push(self.assignment()?);
            if !self.take_sign(",") {
                self.close(closing)?;
                return Some(items);
            }
        }
    }

    fn close(&mut self, bracket: &'static str) -> Option<()> {
        let closed = self.take_sign(bracket);
        self.in_brackets -= 1;
        closed.then_some(())
    }

    fn peek(&mut self) -> Option<&Token> {
        while self.in_brackets > 0 && self.tokens.get(self.at) == Some(&Token::End) {
            self.at += 1;
        }
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let next = self.peek().cloned();
        self.at += 1;
        next
    }

    /// Takes a sign, or an operator that is spelled as a word.
    fn take_sign(&mut self, wanted: &str) -> bool {
        let found = match self.peek() {
            Some(Token::Sign(sign)) => *sign == wanted,
            Some(Token::Word(word)) => word == wanted && ["and", "or", "xor", "not"].contains(&wanted),
            _ => false,
        };
        self.at += usize::from(found);
        found
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }
}
