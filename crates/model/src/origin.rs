//! By which way a run or build was asked for.

use serde::{Deserialize, Serialize};

/// By which way a run or build was asked for (`RUN-20`, `VAL-6`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the words of the contract speak for themselves")]
pub enum Origin {
    Development,
    Web,
    Api,
    Scheduler,
    Test,
    Webhook,
    Actor,
    Cli,
    Ci,
    Standby,
    Mcp,
}

impl Origin {
    /// All of them, in the order of the number that the store keeps.
    pub const ALL: [Self; 11] = [
        Self::Development,
        Self::Web,
        Self::Api,
        Self::Scheduler,
        Self::Test,
        Self::Webhook,
        Self::Actor,
        Self::Cli,
        Self::Ci,
        Self::Standby,
        Self::Mcp,
    ];

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "DEVELOPMENT",
            Self::Web => "WEB",
            Self::Api => "API",
            Self::Scheduler => "SCHEDULER",
            Self::Test => "TEST",
            Self::Webhook => "WEBHOOK",
            Self::Actor => "ACTOR",
            Self::Cli => "CLI",
            Self::Ci => "CI",
            Self::Standby => "STANDBY",
            Self::Mcp => "MCP",
        }
    }

    /// Reads the word of the contract.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == text)
    }
}
