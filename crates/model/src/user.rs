//! Users and their tokens.

use serde::{Deserialize, Serialize};

use crate::{GeneralAccess, Scope, Timestamp, TokenId, UserId};

/// An account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its name in the case given; unique without regard to case.
    pub username: String,
    /// E-mail address, if one was given (`USR-4`: never an empty string).
    #[serde(default)]
    pub email: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Password of the forward proxy, which is all that `users/me` shows of secrets (`USR-5`).
    pub proxy_password: String,
    /// Level of runs, builds and logs that follow the account (`AUTH-9`).
    pub run_access: GeneralAccess,
    /// Level of storages that follow the account (`AUTH-9`).
    pub storage_access: GeneralAccess,
    /// What everybody may know.
    #[serde(default)]
    pub profile: Profile,
    /// Usage of a month in US dollars from which on nothing more is started (`USR-7`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_monthly_usage_usd: Option<f64>,
    /// Days that runs and unnamed storages are kept (`RET-1`); `None` for the server's own rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_retention_days: Option<u32>,
    /// Memory of the jobs that may run at once, in megabytes (`START-7`); `None` for the server's own rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_mbytes: Option<u32>,
    /// Runs that may run at once (`START-7`); `None` for the server's own rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_runs: Option<u32>,
}

/// What everybody may know of a user (`USR-6`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// Full name; the user name if there is none.
    pub name: Option<String>,
    /// A few words.
    pub bio: Option<String>,
    /// Address of a picture.
    pub picture_url: Option<String>,
    /// Name on GitHub.
    pub github_username: Option<String>,
    /// Address of a web site.
    pub website_url: Option<String>,
    /// Name on Twitter.
    pub twitter_username: Option<String>,
}

/// What is kept of an API token: never its value (`AUTH-2`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Handle by which it is listed and revoked.
    pub id: TokenId,
    /// Whose it is.
    pub user_id: UserId,
    /// What it is for, in its owner's words.
    pub name: String,
    /// SHA-256 of the value.
    #[serde(with = "crate::hex")]
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to be valid.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// What it may do; `None` for everything that its user may (`AUTH-19`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}
