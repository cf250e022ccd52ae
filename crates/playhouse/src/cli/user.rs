//! `playhouse user`.

use clap::Subcommand;

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
    /// List all users
    List {
        #[command(flatten)]
        target: Target,
    },
}

impl User {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { name, target } => order(&target, Order::UserAdd { name }, |user| {
                println!("User {} ({}) was added.", text(user, "username"), text(user, "id"));
                println!("Their token, shown only now:\n  {}", text(user, "token"));
            }),
            Self::List { target } => order(&target, Order::UserList, |users| {
                for user in users.as_array().into_iter().flatten() {
                    println!("{}  {}  since {}", text(user, "id"), text(user, "username"), text(user, "createdAt"));
                }
            }),
        }
    }
}
