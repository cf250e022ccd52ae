//! `playhouse user`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Target, order, text};
use crate::control::Order;

#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a user with a token of their own
    #[command(after_help = "Example:\n  playhouse user add jane --json")]
    Add {
        /// 3 to 30 letters, digits, dots, hyphens and underscores
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Change the profile and the limits of a user; an empty text takes one away
    #[command(
        after_help = "Examples:\n  playhouse user set jane --full-name 'Jane Doe' --email jane@example.com\n  playhouse user set jane --max-concurrent-runs 10 --data-retention-days ''"
    )]
    Set {
        /// The user's name
        name: String,
        #[command(flatten)]
        fields: Box<Fields>,
        #[command(flatten)]
        target: Target,
    },
    /// List all users
    List {
        #[command(flatten)]
        target: Target,
    },
}

/// What of a user can be changed.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[group(required = true, multiple = true)]
pub struct Fields {
    /// Full name, shown in the public profile
    #[arg(long, value_name = "TEXT")]
    full_name: Option<String>,
    /// E-mail address, which only the user sees
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// A few words for the public profile
    #[arg(long, value_name = "TEXT")]
    bio: Option<String>,
    /// Address of a picture for the public profile
    #[arg(long, value_name = "URL")]
    picture_url: Option<String>,
    /// Address of a web site for the public profile
    #[arg(long, value_name = "URL")]
    website_url: Option<String>,
    /// Name on GitHub, for the public profile
    #[arg(long, value_name = "NAME")]
    github: Option<String>,
    /// Name on Twitter, for the public profile
    #[arg(long, value_name = "NAME")]
    twitter: Option<String>,
    /// US dollars of usage in a month from which on no runs start
    #[arg(long, value_name = "USD")]
    max_monthly_usage_usd: Option<String>,
    /// Days that runs and unnamed storages are kept
    #[arg(long, value_name = "DAYS")]
    data_retention_days: Option<String>,
    /// Megabytes that runs and builds may hold at once
    #[arg(long, value_name = "MB")]
    max_memory_mbytes: Option<String>,
    /// Runs at once
    #[arg(long, value_name = "RUNS")]
    max_concurrent_runs: Option<String>,
}

impl Fields {
    /// What is given, by name.
    fn given(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let fields: BTreeMap<String, Option<String>> = serde_json::from_value(serde_json::to_value(self)?)?;
        Ok(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

impl User {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { name, target } => order(&target, Order::UserAdd { name }, |user| {
                println!("User {} ({}) was added.", text(user, "username"), text(user, "id"));
                println!("Their token, shown only now:\n  {}", text(user, "token"));
            }),
            Self::Set { name, fields, target } => {
                let fields = fields.given()?;
                order(&target, Order::UserSet { name, fields }, |user| {
                    println!("User {} was changed.", text(user, "username"));
                })
            }
            Self::List { target } => order(&target, Order::UserList, |users| {
                for user in users.as_array().into_iter().flatten() {
                    println!("{}  {}  since {}", text(user, "id"), text(user, "username"), text(user, "createdAt"));
                }
            }),
        }
    }
}
