//! Exit codes, for scripts. They follow those of the `apify` CLI where the meaning is the same.

use std::process::ExitCode;

/// Done.
pub const OK: u8 = 0;
/// Something failed; the message says what.
pub const FAILED: u8 = 1;
/// The command line or a setting is wrong.
pub const USAGE: u8 = 2;
/// Another server holds the data directory.
pub const DATA_DIR_IN_USE: u8 = 3;
/// The address to listen on is taken.
pub const ADDRESS_IN_USE: u8 = 4;

/// An error that ends the program with a code of its own.
#[derive(Debug)]
pub struct Failure {
    /// One of the codes above.
    pub code: u8,
    /// What to tell the user, and what to do about it.
    pub message: String,
}

impl Failure {
    /// A failure with that code and message.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Says what went wrong on standard error and gives the code to exit with.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("playhouse: {error:#}");
    ExitCode::from(error.downcast_ref::<Failure>().map_or(FAILED, |failure| failure.code))
}
