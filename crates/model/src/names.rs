//! Names that people give, and how a path segment refers to a thing.

use crate::ids::Id;

/// Longest name of an Actor, task, schedule or storage (`ID-9`, `S5`).
pub const MAX_NAME: usize = 63;

/// Whether `name` is DNS-safe: letters, digits and inner hyphens, 1 to 63 characters (`S5`).
pub fn is_dns_safe(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    bytes.len() <= MAX_NAME
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Whether `name` may name an Actor, task or schedule: DNS-safe, 3 to 63 characters (`ID-9`).
pub fn is_resource_name(name: &str) -> bool {
    name.len() >= 3 && is_dns_safe(name)
}

/// Whether `name` may name a user: `[a-z0-9_.-]{3,30}` without regard to case, and not of the form of an id (`ID-9`, `S2`).
pub fn is_username(name: &str) -> bool {
    (3..=30).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && Id::<()>::parse(name).is_none()
}

/// The form under which names are compared: case does not count (`ID-2`, `S3`).
pub fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Who owns a thing that is referred to by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The caller (`~name`).
    Caller,
    /// The user with this id (`<17 alphanumerics>~name`).
    Id(crate::UserId),
    /// The user with this name (`username~name`).
    Username(String),
}

/// How a path segment refers to an Actor, a task or a storage (`ID-3`, `S2`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference<K> {
    /// By id.
    Id(Id<K>),
    /// By owner and name.
    Name {
        /// Whose.
        owner: Owner,
        /// Its name as written.
        name: String,
    },
    /// Neither: a bare word that is no id. Storages take it for an unknown id (`S2`), Actors for the caller's own name (`ID-4`).
    Word(String),
}

/// The name part of a reference is empty (`~`, `user~`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Resource name parameter cannot be empty")]
pub struct EmptyName;

impl<K> Reference<K> {
    /// Reads a decoded path segment.
    ///
    /// # Errors
    /// [`EmptyName`] if there is a `~` or `/` with nothing behind it.
    pub fn parse(segment: &str) -> Result<Self, EmptyName> {
        // `/` is looked for first: a client that did not replace it sends it percent-encoded.
        let Some((owner, name)) = segment.split_once('/').or_else(|| segment.split_once('~')) else {
            return Ok(match Id::parse(segment) {
                Some(id) => Self::Id(id),
                None => Self::Word(segment.to_owned()),
            });
        };
        if name.is_empty() {
            return Err(EmptyName);
        }
        let owner = match Id::parse(owner) {
            _ if owner.is_empty() => Owner::Caller,
            Some(id) => Owner::Id(id),
            None => Owner::Username(owner.to_owned()),
        };
        Ok(Self::Name { owner, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_in_every_form() {
        let id = "aB3aB3aB3aB3aB3aB";
        let named = |owner, name: &str| Ok(Reference::<()>::Name { owner, name: name.to_owned() });

        assert_eq!(Reference::<()>::parse(id), Ok(Reference::Id(Id::parse(id).unwrap())));
        assert_eq!(Reference::<()>::parse("my-name"), Ok(Reference::Word("my-name".to_owned())));
        assert_eq!(Reference::parse("~my-name"), named(Owner::Caller, "my-name"));
        assert_eq!(Reference::parse("jane~my-name"), named(Owner::Username("jane".to_owned()), "my-name"));
        assert_eq!(Reference::parse("jane/my-name"), named(Owner::Username("jane".to_owned()), "my-name"));
        assert_eq!(Reference::parse(&format!("{id}~x")), named(Owner::Id(Id::parse(id).unwrap()), "x"));
        assert_eq!(Reference::<()>::parse("~"), Err(EmptyName));
        assert_eq!(Reference::<()>::parse("jane~"), Err(EmptyName));
    }

    #[test]
    fn names_are_dns_safe() {
        for good in ["a", "A-b-9", &"x".repeat(63)] {
            assert!(is_dns_safe(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a_b", "a b", "é", &"x".repeat(64)] {
            assert!(!is_dns_safe(bad), "{bad}");
        }
        assert!(!is_resource_name("ab"));
        assert!(is_username("jane.doe_1"));
        assert!(!is_username("aB3aB3aB3aB3aB3aB"), "has the form of an id");
    }
}
