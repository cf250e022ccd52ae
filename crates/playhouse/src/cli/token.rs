//! `playhouse token`.

use clap::Subcommand;

use super::{Target, order, text};
use crate::control::Order;

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Create a token for a user; its value is shown once
    #[command(
        after_help = "Examples:\n  playhouse token create --user jane --name laptop --expires-days 90\n  playhouse token create --user jane --name shop --scope actor/my-crawler=run --scope dataset=read"
    )]
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
        /// Date on which it ends, in ISO 8601
        #[arg(long, value_name = "DATE", conflicts_with = "expires_days")]
        expires: Option<String>,
        /// What it may do, if not everything; repeat it for more: KIND=RIGHTS, or KIND/ID=RIGHTS for one thing. Kinds are
        /// dataset, key-value-store and request-queue (read, write, create), actor (read, run), task (read, write, run, create),
        /// schedule and webhook (read, write, create) and account (read). A thing that is named must be there
        #[arg(long, value_name = "GRANT")]
        scope: Vec<String>,
        /// Hold the runs that it starts to its own scope; otherwise they may do what their Actors' permissions say
        #[arg(long, requires = "scope")]
        limits_runs: bool,
        /// Let it write the default storages of the runs that it starts
        #[arg(long, requires = "scope")]
        default_storages: bool,
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
            Self::Create { user, name, expires_days, expires, scope, limits_runs, default_storages, target } => {
                let create =
                    Order::TokenCreate { user, name, expires_days, expires, scope, limits_runs, default_storages };
                order(&target, create, |token| {
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
                    let grants: Vec<_> =
                        token["scope"].as_array().into_iter().flatten().filter_map(|grant| grant.as_str()).collect();
                    println!(
                        "{}  {}  {}  {}  since {}  {}",
                        text(token, "id"),
                        text(token, "username"),
                        text(token, "state"),
                        text(token, "name"),
                        text(token, "createdAt"),
                        if token["scope"].is_null() { "everything".to_owned() } else { grants.join(" ") }
                    );
                }
            }),
            Self::Revoke { id, target } => order(&target, Order::TokenRevoke { id }, |token| {
                println!("Token {} does not work any more.", text(token, "id"));
            }),
        }
    }
}
