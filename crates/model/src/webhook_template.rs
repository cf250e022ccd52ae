//! The language of payload and headers templates (`WH-6` to `WH-9`): JSON in which `{{name.of.a.value}}` stands for values.

use std::io;

use serde::Serialize as _;
use serde_json::{Map, Value};

/// What is sent when a webhook has no template of its own (`WH-5`).
const DEFAULT: &str = r#"{
    "userId": {{userId}},
    "createdAt": {{createdAt}},
    "eventType": {{eventType}},
    "eventData": {{eventData}},
    "resource": {{resource}}
}"#;
/// What variables may begin with (`WH-8`).
const ROOTS: [&str; 6] = ["userId", "createdAt", "eventType", "eventData", "resource", "globals"];

/// A template, ready to be filled.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Node);

/// A template of headers: an object whose members are text (`WH-9`).
#[derive(Clone, Debug, PartialEq)]
pub struct HeadersTemplate(Vec<(String, Node)>);

/// Why a template is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// With every variable replaced by `null` it would be no JSON.
    #[error("it must be JSON in which {{{{variables}}}} stand for values: {0}")]
    Json(String),
    /// A variable that there is not (`WH-8`).
    #[error("Invalid payload template variable: {0}")]
    Variable(String),
    /// Headers that are no flat object.
    #[error("it must be an object of strings")]
    NotFlat,
    /// A header with a name that no header can have.
    #[error("\"{0}\" is not a name of a header, or its value not one that a header can have")]
    Header(String),
}

/// What was filled in is larger than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload is larger than {0} bytes")]
pub struct TooLarge(pub usize);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    /// Outside of strings: what is missing or falsy becomes `null`.
    Value(Path),
    /// A string that is nothing but a variable: the value as it is.
    Typed(Path),
    /// A string with variables in it.
    Text(Vec<Piece>),
    /// What has no variables in it.
    Literal(Value),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Variable(Path),
}

/// `resource.stats.durationMillis`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path(Vec<String>);

impl Template {
    /// Reads a template. With `interpolate`, variables inside strings count as well (`WH-7`).
    ///
    /// # Errors
    /// If it is no JSON, or has a variable that there is not.
    pub fn parse(text: &str, interpolate: bool) -> Result<Self, TemplateError> {
        let (json, mark, variables) = with_marks(text)?;
        let value: Value = serde_json::from_str(&json).map_err(|error| TemplateError::Json(error.to_string()))?;
        Reader { mark: &mark, variables: &variables, interpolate }.node(value).map(Self)
    }

    /// The JSON text that comes of it, with the variables of `context`.
    ///
    /// # Errors
    /// `TooLarge` beyond `max` bytes; no more than that is ever held.
    pub fn fill(&self, context: &Value, max: usize) -> Result<Vec<u8>, TooLarge> {
        let mut bounded = Bounded { written: Vec::new(), max };
        self.0.write(context, &mut bounded).map_err(|_| TooLarge(max))?;
        Ok(bounded.written)
    }
}

impl Default for Template {
    fn default() -> Self {
        // Its own test sees to it that this is a template.
        Self::parse(DEFAULT, false).unwrap_or(Self(Node::Literal(Value::Null)))
    }
}

impl HeadersTemplate {
    /// Reads a template of headers.
    ///
    /// # Errors
    /// As [`Template::parse`], and if it is no object of texts whose names are those of headers.
    pub fn parse(text: &str, interpolate: bool) -> Result<Self, TemplateError> {
        let Template(root) = Template::parse(text, interpolate)?;
        let members = match root {
            Node::Object(members) => members,
            Node::Literal(Value::Object(members)) => {
                members.into_iter().map(|(name, value)| (name, Node::Literal(value))).collect()
            }
            _ => return Err(TemplateError::NotFlat),
        };
        for (name, node) in &members {
            let value = match node {
                Node::Literal(Value::String(text)) => text.as_str(),
                Node::Literal(Value::Number(_) | Value::Bool(_)) | Node::Value(_) | Node::Typed(_) | Node::Text(_) => {
                    ""
                }
                Node::Literal(_) | Node::Array(_) | Node::Object(_) => return Err(TemplateError::NotFlat),
            };
            if !is_header_name(name) || !is_header_value(value) {
                return Err(TemplateError::Header(name.clone()));
            }
        }
        Ok(Self(members))
    }

    /// The headers that come of it. What is missing makes no header.
    ///
    /// # Errors
    /// If a variable has put something into a header that cannot stand there, or more than `max` bytes.
    pub fn fill(&self, context: &Value, max: usize) -> Result<Vec<(String, String)>, TemplateError> {
        let mut headers = Vec::with_capacity(self.0.len());
        let mut size = 0;
        for (name, node) in &self.0 {
            let mut bounded = Bounded { written: Vec::new(), max: max - size };
            let too_large = || TemplateError::Header(name.clone());
            node.write(context, &mut bounded).map_err(|_| too_large())?;
            let value = match serde_json::from_slice(&bounded.written) {
                Ok(Value::Null) | Err(_) => continue,
                Ok(Value::String(text)) => text,
                Ok(other) => other.to_string(),
            };
            if !is_header_value(&value) {
                return Err(TemplateError::Header(name.clone()));
            }
            size = (size + name.len() + value.len()).min(max);
            headers.push((name.clone(), value));
        }
        Ok(headers)
    }
}

/// Replaces every variable outside of strings by a string that no other string in the template can be, so that what is
/// left is JSON. Returns it with what those strings begin with; the number of the variable follows.
fn with_marks(text: &str) -> Result<(String, String, Vec<Path>), TemplateError> {
    // NUL stands in JSON only as an escape, so a string with more of them than there are escapes is ours.
    let mark_length = text.matches("\\u0000").count() + 1;
    let escaped_mark = "\\u0000".repeat(mark_length);
    let mut json = String::with_capacity(text.len() + 64);
    let mut variables: Vec<Path> = Vec::new();
    let (mut rest, mut in_string) = (text, false);
    while let Some(at) = rest.find(['"', '\\', '{']) {
        let (before, from) = rest.split_at(at);
        json.push_str(before);
        let taken = match (from.as_bytes()[0], in_string) {
            (b'"', _) => {
                in_string = !in_string;
                1
            }
            // The character behind it, whatever it is.
            (b'\\', true) => 1 + from[1..].chars().next().map_or(0, char::len_utf8),
            (b'{', false) if from.starts_with("{{") => {
                let Some((name, after)) = from[2..].split_once("}}") else {
                    return Err(TemplateError::Json("a variable does not end".to_owned()));
                };
                // Of a long template full of variables each is short; the marks must not make it longer without bound.
                json.push_str(&format!("\"{escaped_mark}{}\"", variables.len()));
                variables.push(Path::parse(name)?);
                rest = after;
                continue;
            }
            _ => 1,
        };
        json.push_str(&from[..taken]);
        rest = &from[taken..];
    }
    json.push_str(rest);
    Ok((json, "\0".repeat(mark_length), variables))
}

/// Makes nodes of the JSON that [`with_marks`] has left.
struct Reader<'a> {
    mark: &'a str,
    variables: &'a [Path],
    interpolate: bool,
}

impl Reader<'_> {
    fn node(&self, value: Value) -> Result<Node, TemplateError> {
        Ok(match value {
            Value::String(text) => match text.strip_prefix(self.mark).and_then(|number| number.parse::<usize>().ok()) {
                Some(number) => self.variables.get(number).cloned().map_or(Node::Literal(Value::Null), Node::Value),
                None if self.interpolate => interpolated(text)?,
                None => Node::Literal(Value::String(text)),
            },
            Value::Array(items) => {
                let nodes = items.into_iter().map(|item| self.node(item)).collect::<Result<Vec<_>, _>>()?;
                match nodes.iter().all(Node::is_literal) {
                    true => Node::Literal(nodes.into_iter().map(Node::into_literal).collect()),
                    false => Node::Array(nodes),
                }
            }
            Value::Object(members) => {
                let mut nodes = Vec::with_capacity(members.len());
                for (name, value) in members {
                    if name.starts_with(self.mark) {
                        return Err(TemplateError::Json("a variable cannot be the name of a member".to_owned()));
                    }
                    nodes.push((name, self.node(value)?));
                }
                match nodes.iter().all(|(_, node)| node.is_literal()) {
                    true => {
                        let members: Map<_, _> =
                            nodes.into_iter().map(|(name, node)| (name, node.into_literal())).collect();
                        Node::Literal(Value::Object(members))
                    }
                    false => Node::Object(nodes),
                }
            }
            plain => Node::Literal(plain),
        })
    }
}

/// A string in which variables count (`WH-7`).
fn interpolated(text: String) -> Result<Node, TemplateError> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, from)) = rest.split_once("{{") {
        plain.push_str(before);
        let length = from.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'.').count();
        let (name, after) = from.split_at(length);
        match after.strip_prefix("}}") {
            Some(after) if !name.is_empty() => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Variable(Path::parse(name)?));
                rest = after;
            }
            // Of three braces the last two may be the ones that count.
            _ => {
                plain.push('{');
                rest = &rest[before.len() + 1..];
            }
        }
    }
    if pieces.is_empty() {
        return Ok(Node::Literal(Value::String(text)));
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    match pieces.as_slice() {
        [Piece::Variable(path)] => Ok(Node::Typed(path.clone())),
        _ => Ok(Node::Text(pieces)),
    }
}

impl Path {
    fn parse(name: &str) -> Result<Self, TemplateError> {
        let names: Vec<String> = name.split('.').map(str::to_owned).collect();
        match names.first() {
            Some(root) if ROOTS.contains(&root.as_str()) => Ok(Self(names)),
            root => Err(TemplateError::Variable(root.cloned().unwrap_or_default())),
        }
    }

    /// The value that it leads to.
    fn find<'a>(&self, context: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(context, |value, name| match value {
            Value::Object(members) => members.get(name),
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

impl Node {
    fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    fn into_literal(self) -> Value {
        match self {
            Self::Literal(value) => value,
            _ => Value::Null,
        }
    }

    fn write(&self, context: &Value, out: &mut Bounded) -> io::Result<()> {
        match self {
            Self::Value(path) => match path.find(context) {
                Some(value) if is_truthy(value) => write_json(value, out),
                _ => write_json(&Value::Null, out),
            },
            Self::Typed(path) => write_json(path.find(context).unwrap_or(&Value::Null), out),
            Self::Text(pieces) => {
                let mut text = Bounded { written: Vec::new(), max: out.max };
                for piece in pieces {
                    piece.write(context, &mut text)?;
                }
                write_json(&Value::String(String::from_utf8_lossy(&text.written).into_owned()), out)
            }
            Self::Literal(value) => write_json(value, out),
            Self::Array(nodes) => {
                let mut separator = "[";
                for node in nodes {
                    out.push(separator)?;
                    node.write(context, out)?;
                    separator = ",";
                }
                out.push("]")
            }
            Self::Object(members) => {
                let mut separator = "{";
                for (name, node) in members {
                    out.push(separator)?;
                    name.serialize(&mut serde_json::Serializer::new(&mut *out))?;
                    out.push(":")?;
                    node.write(context, out)?;
                    separator = ",";
                }
                out.push("}")
            }
        }
    }
}

impl Piece {
    fn write(&self, context: &Value, text: &mut Bounded) -> io::Result<()> {
        match self {
            Self::Text(plain) => text.push(plain),
            Self::Variable(path) => match path.find(context) {
                None => text.push("undefined"),
                Some(Value::String(value)) => text.push(value),
                Some(value) => write_json(value, text),
            },
        }
    }
}

/// What JavaScript takes for true.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn write_json(value: &Value, out: &mut Bounded) -> io::Result<()> {
    Ok(serde_json::to_writer(out, value)?)
}

/// Takes bytes up to a bound.
struct Bounded {
    written: Vec<u8>,
    max: usize,
}

impl Bounded {
    fn push(&mut self, text: &str) -> io::Result<()> {
        io::Write::write_all(self, text.as_bytes())
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written.len() + bytes.len() > self.max {
            return Err(io::Error::other("too large"));
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A token (RFC 9110).
fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_header_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

#[cfg(test)]
mod tests;
