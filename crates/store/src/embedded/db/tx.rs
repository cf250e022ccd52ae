//! A write transaction as an operation sees it.

use std::fs::File;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use model::Timestamp;
use rusqlite::Connection;

use super::counters::{Counter, Counters};
use crate::StoreError;

/// What runs once the transaction is on disk and before anybody hears of it.
pub(super) type Hook = Box<dyn FnOnce() + Send>;

/// What belongs to a transaction beside its rows.
#[derive(Default)]
pub(super) struct Aside {
    /// Run in turn once it is on disk.
    pub(super) hooks: Vec<Hook>,
    /// Are to be on disk before it is.
    pub(super) writes: Vec<FileWrite>,
}

/// Bytes for a file, and where in it they begin.
pub(super) struct FileWrite {
    pub(super) file: Arc<File>,
    pub(super) at: u64,
    pub(super) bytes: Bytes,
}

/// A write transaction, shared with the operations that are committed together. Reads like a [`Connection`].
pub(in crate::embedded) struct WriteTx<'a> {
    pub(super) connection: &'a Connection,
    pub(super) counters: &'a mut Counters,
    pub(super) aside: &'a mut Aside,
    pub(super) now: Timestamp,
}

impl WriteTx<'_> {
    /// When the operation runs.
    pub(in crate::embedded) fn now(&self) -> Timestamp {
        self.now
    }

    /// The counters of a storage.
    ///
    /// # Errors
    /// `NotFound(Storage)` if it was deleted, which makes this the check with which every write to a storage begins.
    pub(in crate::embedded) fn counter(&mut self, k: i64) -> Result<&Counter, StoreError> {
        self.counters.get(self.connection, k)
    }

    /// The same to be changed. What is changed is written once when all operations of the group are through.
    ///
    /// # Errors
    /// `NotFound(Storage)` if it was deleted.
    pub(in crate::embedded) fn counter_mut(&mut self, k: i64) -> Result<&mut Counter, StoreError> {
        self.counters.get_mut(self.connection, k)
    }

    /// Makes the counters of a new storage.
    pub(in crate::embedded) fn create_counter(&mut self, k: i64, counter: &Counter) -> Result<(), StoreError> {
        counter.insert(self.connection, k)
    }

    /// Forgets the counters of a storage: from now on it is not found.
    pub(in crate::embedded) fn delete_counter(&mut self, k: i64) -> Result<(), StoreError> {
        self.counters.delete(self.connection, k)
    }

    /// Has bytes be in a file, from `at` on, and on disk before this is; together with their neighbours from all operations
    /// of the group. They are not written if the operation fails.
    pub(in crate::embedded) fn write_file(&mut self, file: Arc<File>, at: u64, bytes: Bytes) {
        self.aside.writes.push(FileWrite { file, at, bytes });
    }

    /// Has `hook` run once this is on disk, before the caller hears of it: the place to bring caches up to date. It does
    /// not run if the operation or the commit fails.
    pub(in crate::embedded) fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.aside.hooks.push(Box::new(hook));
    }
}

impl Deref for WriteTx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}
