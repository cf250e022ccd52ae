//! Fields that tell "not given" from "set to null".

use serde::{Deserialize, Deserializer};

/// `None` if the field was not given, `Some(None)` if it was `null` (`HTTP-24`). Used with [`given`] and a default.
pub(crate) type Given<T> = Option<Option<T>>;

/// Reads a field that is there.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Given<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
