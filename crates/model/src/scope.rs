//! What a token may do that may not do everything (`AUTH-19`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Right, StorageKind, TokenId};

/// The kinds of things that a scope speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScopeKind {
    /// Datasets.
    Dataset,
    /// Key-value stores.
    KeyValueStore,
    /// Request queues.
    RequestQueue,
    /// Actors with their builds and runs.
    Actor,
    /// Tasks with their runs.
    Task,
    /// Schedules with their logs.
    Schedule,
    /// Webhooks with their dispatches.
    Webhook,
    /// The account: its limits, its usage and its private profile.
    Account,
}

impl ScopeKind {
    const ALL: [Self; 8] = [
        Self::Dataset,
        Self::KeyValueStore,
        Self::RequestQueue,
        Self::Actor,
        Self::Task,
        Self::Schedule,
        Self::Webhook,
        Self::Account,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::KeyValueStore => "key-value-store",
            Self::RequestQueue => "request-queue",
            Self::Actor => "actor",
            Self::Task => "task",
            Self::Schedule => "schedule",
            Self::Webhook => "webhook",
            Self::Account => "account",
        }
    }

    /// The rights that can be given to things of this kind. Nobody but the user may make or change Actors.
    fn rights(self) -> &'static [Right] {
        match self {
            Self::Dataset | Self::KeyValueStore | Self::RequestQueue | Self::Schedule | Self::Webhook => {
                &[Right::Read, Right::Write, Right::Create]
            }
            Self::Task => &[Right::Read, Right::Write, Right::Run, Right::Create],
            Self::Actor => &[Right::Read, Right::Run],
            Self::Account => &[Right::Read],
        }
    }
}

impl From<StorageKind> for ScopeKind {
    fn from(kind: StorageKind) -> Self {
        match kind {
            StorageKind::Dataset => Self::Dataset,
            StorageKind::KeyValueStore => Self::KeyValueStore,
            StorageKind::RequestQueue => Self::RequestQueue,
        }
    }
}

/// Rights to all things of a kind, or to one of them. Written `dataset=read,create` or `dataset/<id>=read,write`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Of which kind.
    pub kind: ScopeKind,
    /// Which one; `None` for all, those to come included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The rights.
    pub rights: Vec<Right>,
}

impl Grant {
    fn gives(&self, kind: ScopeKind, id: Option<&str>, wanted: Right) -> bool {
        let is_meant = self.kind == kind && self.id.as_deref().is_none_or(|own| Some(own) == id);
        is_meant && self.rights.iter().any(|right| implies(*right, wanted))
    }
}

/// Who may write may read, and rename and delete as well; who may run may read.
fn implies(right: Right, wanted: Right) -> bool {
    right == wanted
        || match right {
            Right::Write => matches!(wanted, Right::Read | Right::Manage),
            Right::Run => wanted == Right::Read,
            Right::Read | Right::Manage | Right::Create => false,
        }
}

/// Why a grant cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidGrant(String);

impl FromStr for Grant {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        let form = || InvalidGrant(format!("\"{text}\" must look like dataset=read,create or dataset/ID=read,write"));
        let (what, rights) = text.split_once('=').ok_or_else(form)?;
        let (word, id) = match what.split_once('/') {
            Some((word, id)) if !id.is_empty() => (word, Some(id.to_owned())),
            Some(_) => return Err(form()),
            None => (what, None),
        };
        let kind = ScopeKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
            let known = ScopeKind::ALL.map(ScopeKind::word).join(", ");
            InvalidGrant(format!("\"{word}\" is nothing that a token can have rights to; there are {known}"))
        })?;
        if kind == ScopeKind::Account && id.is_some() {
            return Err(InvalidGrant("a token has one account, so it has no id: write account=read".to_owned()));
        }
        let rights = rights.split(',').map(|word| {
            let known = kind.rights().iter().copied();
            known.clone().find(|right| right_word(*right) == word.trim()).ok_or_else(|| {
                let known = known.map(right_word).collect::<Vec<_>>().join(", ");
                InvalidGrant(format!(
                    "\"{}\" is no right to a thing of kind {}; there are {known}",
                    word.trim(),
                    kind.word()
                ))
            })
        });
        let rights = rights.collect::<Result<Vec<_>, _>>()?;
        if id.is_some() && rights.contains(&Right::Create) {
            return Err(InvalidGrant(format!("\"{text}\": what is there already cannot be created")));
        }
        Ok(Self { kind, id, rights })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.word())?;
        if let Some(id) = &self.id {
            write!(f, "/{id}")?;
        }
        let rights: Vec<_> = self.rights.iter().map(|right| right_word(*right)).collect();
        write!(f, "={}", rights.join(","))
    }
}

fn right_word(right: Right) -> &'static str {
    match right {
        Right::Read => "read",
        Right::Write => "write",
        Right::Manage => "manage",
        Right::Create => "create",
        Right::Run => "run",
    }
}

/// What the runs may do that are started with a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunsMay {
    /// What their Actors' permissions say, as if the user had started them.
    #[default]
    Everything,
    /// No more than the token, and so do the runs that these start.
    Same,
}

/// What a token may do that may not do everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scope {
    /// The rights it was given.
    pub grants: Vec<Grant>,
    /// What its runs may do.
    pub runs_may: RunsMay,
    /// Whether it may write the default storages of the runs that it starts.
    pub default_storages: bool,
}

impl Scope {
    /// Whether that right is given to all things of a kind.
    pub fn gives_all(&self, kind: ScopeKind, right: Right) -> bool {
        self.grants.iter().any(|grant| grant.gives(kind, None, right))
    }

    /// Whether that right is given to the thing with this id.
    pub fn gives(&self, kind: ScopeKind, id: &str, right: Right) -> bool {
        self.grants.iter().any(|grant| grant.gives(kind, Some(id), right))
    }
}

/// The scope of a token, and whose it is: what is made with a token stays open to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenScope {
    /// The token.
    pub token: TokenId,
    /// What it may do.
    pub scope: Scope,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(grants: &[&str]) -> Scope {
        Scope { grants: grants.iter().map(|text| text.parse().unwrap()).collect(), ..Scope::default() }
    }

    #[test]
    fn grants_are_read_and_written_in_one_form() {
        for text in [
            "dataset=read",
            "dataset=read,create",
            "key-value-store/abc=write",
            "request-queue=create",
            "actor=run",
            "actor/abc=read,run",
            "task/abc=write,run",
            "schedule=read,create",
            "webhook/abc=write",
            "account=read",
        ] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("dataset", "must look like"),
            ("dataset/=read", "must look like"),
            ("datasets=read", "is nothing that a token can have rights to"),
            ("dataset=", "is no right to a thing of kind dataset; there are read, write, create"),
            ("dataset=read,run", "\"run\" is no right"),
            ("actor=write", "there are read, run"),
            ("actor=create", "there are read, run"),
            ("schedule=run", "there are read, write, create"),
            ("task/abc=create", "cannot be created"),
            ("dataset/abc=create", "cannot be created"),
            ("account/abc=read", "has no id"),
        ] {
            let error = text.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_scope_gives_what_its_grants_give_and_imply() {
        let scope = scope(&["dataset=read", "dataset/a=write", "key-value-store=create", "actor/x=run"]);
        let rights = [Right::Read, Right::Write, Right::Manage, Right::Create, Right::Run];
        let given = |kind, id: &str| rights.map(|right| scope.gives(kind, id, right));

        assert_eq!(given(ScopeKind::Dataset, "a"), [true, true, true, false, false]);
        assert_eq!(given(ScopeKind::Dataset, "b"), [true, false, false, false, false]);
        assert_eq!(given(ScopeKind::KeyValueStore, "a"), [false, false, false, true, false]);
        assert_eq!(given(ScopeKind::Actor, "x"), [true, false, false, false, true]);
        assert_eq!(given(ScopeKind::Actor, "y"), [false; 5]);
        assert!(scope.gives_all(ScopeKind::Dataset, Right::Read));
        assert!(!scope.gives_all(ScopeKind::Dataset, Right::Write), "one is not all");
        assert!(!scope.gives_all(ScopeKind::Actor, Right::Read));
    }
}
