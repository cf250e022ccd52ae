//! Windows of lists.

use serde::Serialize;

/// Default and largest page of most lists (`LIST-2`, `S14`).
pub const MAX_LIMIT: u64 = 1000;

/// Which part of a list was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many to leave out at the start.
    pub offset: u64,
    /// How many to give at most.
    pub limit: u64,
    /// Newest first.
    pub desc: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self { offset: 0, limit: MAX_LIMIT, desc: false }
    }
}

impl Page {
    /// A page as asked for; a limit of 0 means none was given, a larger one than [`MAX_LIMIT`] is cut to it (`LIST-2`).
    pub fn clamped(offset: u64, limit: u64, desc: bool) -> Self {
        let limit = if limit == 0 { MAX_LIMIT } else { limit.min(MAX_LIMIT) };
        Self { offset, limit, desc }
    }
}

/// One page of a list with the number of all matches (`LIST-1`, `LIST-3`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed<T> {
    /// Matches before offset and limit.
    pub total: u64,
    /// Those of the page.
    pub items: Vec<T>,
}

impl<T> Listed<T> {
    /// The same page of other items.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Listed<U> {
        Listed { total: self.total, items: self.items.into_iter().map(f).collect() }
    }
}
