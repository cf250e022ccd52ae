//! `playhouse token`.

use clap::Subcommand;

use super::{Target, order, text};
use crate::control::Order;

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Create a token for a user; its value is shown once
    #[command(after_help = "Example:\n  playhouse token create --user jane --name laptop --expires-days 90")]
    Create {
        /// Whose token it is
        #[arg(long)]
        user: String,
        /// What it is for
        #[arg(long, default_value = "token")]
        name: String,
        /// Days after which it ends; never if not given
        #[arg(long, value_name = "DAYS")]
        expires_days: Option<u32>,
        #[command(flatten)]
        target: Target,
    },
    /// List tokens, without their values, which nobody keeps
    List {
        /// Only this user's
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Take a token back; it stops working at once
    Revoke {
        /// Its id, as `playhouse token list` shows it
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

impl Token {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create { user, name, expires_days, target } => {
                order(&target, Order::TokenCreate { user, name, expires_days }, |token| {
                    println!(
                        "Token {} of {} was created. Its value, shown only now:",
                        text(token, "id"),
                        text(token, "username")
                    );
                    println!("  {}", text(token, "token"));
                })
            }
            Self::List { user, target } => order(&target, Order::TokenList { user }, |tokens| {
                for token in tokens.as_array().into_iter().flatten() {
                    println!(
                        "{}  {}  {}  {}  since {}",
                        text(token, "id"),
                        text(token, "username"),
                        text(token, "state"),
                        text(token, "name"),
                        text(token, "createdAt")
                    );
                }
            }),
            Self::Revoke { id, target } => order(&target, Order::TokenRevoke { id }, |token| {
                println!("Token {} does not work any more.", text(token, "id"));
            }),
        }
    }
}
