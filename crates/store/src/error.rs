//! What can go wrong in a store.

use std::fmt;

/// What was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words speak for themselves")]
pub enum Noun {
    Actor,
    Version,
    Build,
    Run,
    Task,
    Schedule,
    User,
    Token,
    Storage,
    Request,
    Log,
    Webhook,
    Dispatch,
}

impl fmt::Display for Noun {
    /// The words with which the contract says that one was not found.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Actor => "Actor",
            Self::Version => "Actor version",
            Self::Build => "Actor build",
            Self::Run => "Actor run",
            Self::Task => "Actor task",
            Self::Schedule => "Schedule",
            Self::User => "User",
            Self::Token => "Token",
            Self::Storage => "Store",
            Self::Request => "Request",
            Self::Log => "Log",
            Self::Webhook => "Webhook",
            Self::Dispatch => "Webhook dispatch",
        })
    }
}

/// Why a store did not do what it was asked. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not exist (any more).
    #[error("{0} was not found")]
    NotFound(Noun),
    /// The name is taken by another of the same kind and owner.
    #[error("the name is already used")]
    NameTaken,
    /// Another client holds the lock, or the request is handled (`Q49`).
    #[error("the request is handled or locked by another client")]
    HandledOrLocked,
    /// The body that was to be stored broke off or was refused by its reader; the reason is the reader's.
    #[error("the body ended early: {0}")]
    Body(#[source] std::io::Error),
    /// There is no room left on the disk; reading and deleting go on.
    #[error("no space is left in the store")]
    Full,
    /// The backend failed.
    #[error("the store failed")]
    Backend(#[from] anyhow::Error),
}
