//! From a tree to a number.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value as Json;

use super::parse::{Node, Operator};

/// A value while it is computed with.
#[derive(Clone, Debug)]
enum Value<'a> {
    Undefined,
    Number(f64),
    Bool(bool),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    /// `null`, an object or an array of the input.
    Json(&'a Json),
}

/// Runs the statements and returns the value of the last, if it is a number.
pub(super) fn run(program: &[Node], input: &Json, run_options: &Json) -> Option<f64> {
    let mut scope = Scope { input, run_options, variables: HashMap::new() };
    let mut last = Value::Undefined;
    for statement in program {
        last = scope.value(statement)?;
    }
    match last {
        Value::Number(number) => Some(number),
        _ => None,
    }
}

struct Scope<'a> {
    input: &'a Json,
    run_options: &'a Json,
    variables: HashMap<&'a str, Value<'a>>,
}

impl<'a> Scope<'a> {
    /// `None` is an error, which ends the whole evaluation.
    fn value(&mut self, node: &'a Node) -> Option<Value<'a>> {
        Some(match node {
            Node::Number(number) => Value::Number(*number),
            Node::Text(text) => Value::Text(Cow::Borrowed(text)),
            Node::Bool(value) => Value::Bool(*value),
            Node::Null => Value::Json(&Json::Null),
            Node::Undefined => Value::Undefined,
            Node::Variable(name) => self.variable(name)?,
            Node::List(items) => Value::List(items.iter().map(|item| self.list_item(item)).collect::<Option<_>>()?),
            Node::Access(holder, key) => {
                let (holder, key) = (self.value(holder)?, self.value(key)?);
                access(&holder, &key)?
            }
            Node::Call(name, arguments) => {
                let arguments = arguments.iter().map(|argument| self.value(argument)).collect::<Option<Vec<_>>>()?;
                call(name, &arguments)?
            }
            Node::Negate(inner) => Value::Number(-to_number(&self.value(inner)?)?),
            Node::Plus(inner) => Value::Number(to_number(&self.value(inner)?)?),
            Node::Not(inner) => Value::Bool(!is_true(&self.value(inner)?)),
            Node::Binary(Operator::Nullish, left, right) => match self.value(left)? {
                Value::Undefined | Value::Json(Json::Null) => self.value(right)?,
                left => left,
            },
            Node::Binary(Operator::And, left, right) => {
                Value::Bool(is_true(&self.value(left)?) && is_true(&self.value(right)?))
            }
            Node::Binary(Operator::Or, left, right) => {
                Value::Bool(is_true(&self.value(left)?) || is_true(&self.value(right)?))
            }
            Node::Binary(Operator::Xor, left, right) => {
                Value::Bool(is_true(&self.value(left)?) != is_true(&self.value(right)?))
            }
            Node::Binary(operator, left, right) => {
                let (left, right) = (to_number(&self.value(left)?)?, to_number(&self.value(right)?)?);
                Value::Number(match operator {
                    Operator::Add => left + right,
                    Operator::Subtract => left - right,
                    Operator::Multiply => left * right,
                    Operator::Divide => left / right,
                    _ => return None,
                })
            }
            Node::Chain(first, others) => {
                let mut left = self.value(first)?;
                for (operator, right) in others {
                    let right = self.value(right)?;
                    if !compare(*operator, &left, &right)? {
                        return Some(Value::Bool(false));
                    }
                    left = right;
                }
                Value::Bool(true)
            }
            Node::Conditional(test, then, otherwise) => {
                let chosen = if is_true(&self.value(test)?) { then } else { otherwise };
                self.value(chosen)?
            }
            Node::Assign(name, value) => {
                if ["input", "runOptions"].contains(&name.as_str()) {
                    return None;
                }
                let value = self.value(value)?;
                self.variables.insert(name, value.clone());
                value
            }
        })
    }

    /// Lists inside lists are refused: twice as long with every statement, they would soon fill the memory.
    fn list_item(&mut self, node: &'a Node) -> Option<Value<'a>> {
        self.value(node).filter(|value| !matches!(value, Value::List(_)))
    }

    fn variable(&self, name: &str) -> Option<Value<'a>> {
        match name {
            "input" => Some(Value::Json(self.input)),
            "runOptions" => Some(Value::Json(self.run_options)),
            name => self.variables.get(name).cloned(),
        }
    }
}

fn call<'a>(name: &str, arguments: &[Value<'a>]) -> Option<Value<'a>> {
    let number = |at: usize| arguments.get(at).and_then(to_number);
    let one = |function: fn(f64) -> f64| (arguments.len() == 1).then(|| number(0).map(function)).flatten();
    Some(Value::Number(match name {
        "min" => extreme(arguments, f64::min)?,
        "max" => extreme(arguments, f64::max)?,
        "ceil" => one(f64::ceil)?,
        "floor" => one(f64::floor)?,
        "exp" => one(f64::exp)?,
        "log10" => one(f64::log10)?,
        "round" if arguments.len() == 2 => {
            let scale = 10_f64.powf(number(1)?.clamp(0.0, 15.0).trunc());
            (number(0)? * scale).round() / scale
        }
        "round" => one(f64::round)?,
        "log" if arguments.len() == 2 => number(0)?.ln() / number(1)?.ln(),
        "log" => one(f64::ln)?,
        "compareText" => {
            let [left, right] = arguments else { return None };
            f64::from(to_text(left)?.cmp(&to_text(right)?) as i8)
        }
        "get" => return get(arguments),
        _ => return None,
    }))
}

/// `get(holder, 'path.to.0', otherwise)`: walks a path that may end anywhere.
fn get<'a>(arguments: &[Value<'a>]) -> Option<Value<'a>> {
    let (holder, path, otherwise) = match arguments {
        [holder, Value::Text(path)] => (holder, path, Value::Undefined),
        [holder, Value::Text(path), otherwise] => (holder, path, otherwise.clone()),
        _ => return None,
    };
    let mut current = holder.clone();
    for key in path.split('.') {
        current = match &current {
            Value::Json(Json::Object(object)) => object.get(key).map_or(Value::Undefined, of_json),
            Value::Json(Json::Array(items)) if key == "length" => Value::Number(items.len() as f64),
            Value::Json(Json::Array(items)) => {
                key.parse::<usize>().ok().and_then(|index| items.get(index)).map_or(Value::Undefined, of_json)
            }
            Value::Text(text) if key == "length" => Value::Number(text.encode_utf16().count() as f64),
            _ => Value::Undefined,
        };
    }
    Some(match current {
        Value::Undefined | Value::Json(Json::Null) => otherwise,
        found => found,
    })
}

/// `holder.key` and `holder[key]`; elements are counted from 1.
fn access<'a>(holder: &Value<'a>, key: &Value<'a>) -> Option<Value<'a>> {
    match (holder, key) {
        (Value::Json(Json::Object(object)), Value::Text(name)) => {
            Some(object.get(name.as_ref()).map_or(Value::Undefined, of_json))
        }
        (Value::Json(Json::Array(items)), Value::Number(place)) if place.fract() == 0.0 && *place >= 1.0 => {
            items.get(*place as usize - 1).map(of_json)
        }
        _ => None,
    }
}

fn of_json(json: &Json) -> Value<'_> {
    match json {
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::Bool(value) => Value::Bool(*value),
        Json::String(text) => Value::Text(Cow::Borrowed(text)),
        other => Value::Json(other),
    }
}

fn extreme(arguments: &[Value<'_>], pick: fn(f64, f64) -> f64) -> Option<f64> {
    let numbers: Vec<f64> = match arguments {
        [Value::List(items)] => items.iter().map(to_number).collect::<Option<_>>()?,
        [Value::Json(Json::Array(items))] => {
            items.iter().map(|item| to_number(&of_json(item))).collect::<Option<_>>()?
        }
        arguments => arguments.iter().map(to_number).collect::<Option<_>>()?,
    };
    numbers.into_iter().reduce(pick)
}

fn compare(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    // Texts that are no numbers, and what is nothing, can only be equal or not.
    let (Some(a), Some(b)) = (to_number(left), to_number(right)) else {
        let equal = match (left, right) {
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Undefined | Value::Json(Json::Null), Value::Undefined | Value::Json(Json::Null)) => true,
            (Value::Undefined | Value::Json(Json::Null), _) | (_, Value::Undefined | Value::Json(Json::Null)) => false,
            _ => return None,
        };
        return match operator {
            Operator::Equal => Some(equal),
            Operator::Unequal => Some(!equal),
            _ => None,
        };
    };
    Some(match operator {
        Operator::Equal => a == b,
        Operator::Unequal => a != b,
        Operator::Less => a < b,
        Operator::Greater => a > b,
        Operator::LessOrEqual => a <= b,
        Operator::GreaterOrEqual => a >= b,
        _ => return None,
    })
}

fn to_number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn to_text<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        _ => None,
    }
}

fn is_true(value: &Value<'_>) -> bool {
    match value {
        Value::Undefined | Value::Json(Json::Null) => false,
        Value::Number(number) => *number != 0.0 && !number.is_nan(),
        Value::Bool(value) => *value,
        Value::Text(text) => !text.is_empty(),
        Value::List(_) | Value::Json(_) => true,
    }
}
