//! The verbs: start, abort, resurrect, build, meter, recover.
//!
//! The engine decides what concerns two things at once: store and driver, store and clock. Statuses change only by
//! [`model::step`], inside a transaction of the store; the effect follows, and is repeated after a crash, because each live
//! job has a supervisor that looks at what is stored and at what is really there. A plain read or write goes from the API
//! to the [`Store`](store::Store) without passing here.

mod config;
mod engine;
mod error;

// Who
mod accounts;
mod input_secrets;
mod limits;
mod rights;
mod sealing;

// Runs and builds while they live
mod admission;
mod live;
mod supervision;

mod builds;
mod outbound;
mod runs;
mod schedules;
mod standby;
mod tasks;
mod webhooks;

// What is seen of them
mod events;
mod logs;
mod metering;

mod recover;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use accounts::Caller;
pub use builds::StartBuild;
pub use config::{EngineConfig, GIT_PROTOCOLS, Parts, ProxyEnv, host_parent};
pub use engine::Engine;
pub use error::EngineError;
pub use events::EventStream;
pub use limits::{Held, LimitsChange};
pub use rights::{Kept, Subject};
pub use runs::{AdHocWebhook, Asked, RunInput, RunOptionsGiven, RunUpdate, StartRun, figures_at, usage_at};
pub use schedules::Scheduled;
pub use standby::{StandbyError, StandbyOf, StandbyPlace};
pub use webhooks::{Courier, HttpCourier, Parcel, Receipt, Resources};
