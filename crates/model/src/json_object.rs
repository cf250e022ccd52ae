//! A JSON object as it was written.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::members::Members;

/// A JSON object that keeps the spelling of its values: an input that is stored and handed on, never looked into.
#[derive(Clone, Debug)]
pub struct JsonObject(Box<RawValue>);

/// What is no JSON object where one is needed (`TASK-4`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoObject {
    /// It is not JSON; the text is the parser's.
    #[error("Cannot parse input JSON body: {0}")]
    NotJson(String),
    /// It is something else.
    #[error("Provided input must be object, got \"{0}\" instead.")]
    Other(&'static str),
}

impl JsonObject {
    /// Reads an object; `None` for `null`.
    ///
    /// # Errors
    /// Tells what it is instead.
    pub fn parse(text: &[u8]) -> Result<Option<Self>, NoObject> {
        let raw: &RawValue = serde_json::from_slice(text).map_err(|error| NoObject::NotJson(error.to_string()))?;
        Self::of(raw.to_owned())
    }

    /// The object that this is; `None` for `null`.
    ///
    /// # Errors
    /// Tells what it is instead.
    pub fn of(raw: Box<RawValue>) -> Result<Option<Self>, NoObject> {
        match raw.get().as_bytes().first() {
            Some(b'{') => Ok(Some(Self(raw))),
            Some(b'n') => Ok(None),
            Some(b'[') => Err(NoObject::Other("array")),
            Some(b'"') => Err(NoObject::Other("string")),
            Some(b't' | b'f') => Err(NoObject::Other("boolean")),
            _ => Err(NoObject::Other("number")),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The members of this object with those of `over` put over them (`TASK-3`, `TASK-4`). Where a name stands twice in one
    /// of them, the last counts.
    #[must_use]
    pub fn merged(&self, over: &Self) -> Self {
        let mut members: Vec<(Cow<'_, str>, &RawValue)> = Vec::new();
        let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
        for (name, value) in self.members().into_iter().chain(over.members()) {
            match places.get(&name) {
                Some(place) => members[*place].1 = value,
                None => {
                    places.insert(name.clone(), members.len());
                    members.push((name, value));
                }
            }
        }

        let mut text = String::with_capacity(self.as_str().len() + over.as_str().len());
        text.push('{');
        for (name, value) in members {
            if text.len() > 1 {
                text.push(',');
            }
            // A text can always be written as JSON.
            text.push_str(&serde_json::to_string(&name).unwrap_or_default());
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        // Made of what was read, so it can be read again.
        Self(RawValue::from_string(text).unwrap_or_default())
    }

    fn members(&self) -> Vec<(Cow<'_, str>, &RawValue)> {
        serde_json::from_str::<Members<'_>>(self.as_str()).map(|members| members.0).unwrap_or_default()
    }
}

impl Default for JsonObject {
    fn default() -> Self {
        Self(RawValue::from_string("{}".to_owned()).unwrap_or_default())
    }
}

impl PartialEq for JsonObject {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::of(raw).ok().flatten().ok_or_else(|| serde::de::Error::custom("not a JSON object"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn object(text: &str) -> JsonObject {
        JsonObject::parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn members_are_put_over_one_by_one_in_their_own_spelling() {
        for (under, over, merged) in [
            ("{}", "{}", "{}"),
            (
                r#"{"a":1.50,"b":{"x":1}}"#,
                r#"{"b":{"y":2},"c":12345678901234567890123}"#,
                r#"{"a":1.50,"b":{"y":2},"c":12345678901234567890123}"#,
            ),
            (r#"{"a":1,"a":2}"#, "{}", r#"{"a":2}"#),
            (r#"{"a\"\u0041":1}"#, r#"{"a\"A":null}"#, r#"{"a\"A":null}"#),
            (" {\"a\" : [1, 2]} ", r#"{"b":1}"#, r#"{"a":[1, 2],"b":1}"#),
        ] {
            assert_eq!(object(under).merged(&object(over)).as_str(), merged);
        }
    }

    #[test]
    fn what_is_no_object_is_named() {
        for (text, other) in [("[1]", "array"), (" \"a\"", "string"), ("true", "boolean"), ("-1", "number")] {
            assert_eq!(JsonObject::parse(text.as_bytes()), Err(NoObject::Other(other)), "{text}");
        }
        assert_eq!(JsonObject::parse(b"null"), Ok(None));
        for text in [&b"{"[..], b"", b"{} {}", b"{\"a\":\"\xff\"}"] {
            assert!(matches!(JsonObject::parse(text), Err(NoObject::NotJson(_))), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn merging_is_that_of_maps(under in maps(), over in maps()) {
            let text = |map: &Map<String, Value>| object(&Value::Object(map.clone()).to_string());
            let mut expected = under.clone();
            expected.extend(over.clone());

            let merged = text(&under).merged(&text(&over));

            prop_assert_eq!(serde_json::from_str::<Value>(merged.as_str()).unwrap(), Value::Object(expected));
        }
    }

    fn maps() -> impl Strategy<Value = Map<String, Value>> {
        proptest::collection::vec(("[a-c\"\\\\é]{0,2}", any::<i32>()), 0..6)
            .prop_map(|members| members.into_iter().map(|(name, value)| (name, value.into())).collect())
    }
}
