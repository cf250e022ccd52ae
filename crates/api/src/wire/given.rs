//! Fields that tell "not given" from "set to null", and how what is given is put in place.

use model::is_resource_name;
use serde::{Deserialize, Deserializer};
use store::Noun;

use crate::error::{ApiError, Problem};

/// `None` if the field was not given, `Some(None)` if it was `null` (`HTTP-24`). Used with [`given`] and a default.
pub(crate) type Given<T> = Option<Option<T>>;

/// Reads a field that is there.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Given<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Puts a text in its place if it is given; an empty one is none.
pub(crate) fn set_text(field: &mut Option<String>, given: &Given<String>) {
    if let Some(text) = given {
        *field = text.clone().filter(|text| !text.is_empty());
    }
}

/// Refuses what cannot name an Actor, a task or a schedule (`ID-9`).
pub(crate) fn check_name(what: Noun, name: &str) -> Result<(), ApiError> {
    if is_resource_name(name) {
        return Ok(());
    }
    let message =
        format!("{what} name \"{name}\" must have 3 to 63 letters, digits and hyphens, and no hyphen at its ends");
    Err(ApiError::new(Problem::InvalidValue, message))
}
