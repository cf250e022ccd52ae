//! Builds: from a version's source to an image that runs can start from.

mod abort;
mod archive;
mod definition;
mod delete;
mod git;
mod links;
mod live;
mod paths;
mod resolve;
mod source;
mod start;
mod supervise;
mod view;

#[cfg(test)]
mod fetch_tests;
#[cfg(test)]
mod tests;

pub(crate) use self::live::LiveBuild;
pub(crate) use self::source::blocking;
pub use self::start::StartBuild;
pub(crate) use self::view::{BuildView, Views};
