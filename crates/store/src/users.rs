//! Users and tokens.

use std::sync::Arc;

use async_trait::async_trait;
use model::{ActorId, Token, TokenId, User, UserId};

use crate::StoreError;

/// Changes a user.
pub type UserChange = Box<dyn FnOnce(&mut User) + Send>;

/// Keeps users and their tokens.
#[async_trait]
pub trait UserStore: Send + Sync + std::fmt::Debug {
    /// Makes a user.
    ///
    /// # Errors
    /// `NameTaken`.
    async fn create(&self, user: User) -> Result<Arc<User>, StoreError>;

    /// The user with that id.
    async fn get(&self, id: &UserId) -> Result<Option<Arc<User>>, StoreError>;

    /// The user of that name; case does not count.
    async fn find(&self, username: &str) -> Result<Option<Arc<User>>, StoreError>;

    /// All users, oldest first.
    async fn list(&self) -> Result<Vec<Arc<User>>, StoreError>;

    /// Changes a user in one transaction: `change` sees the newest state. Its name and id stay what they are.
    ///
    /// # Errors
    /// `NotFound`.
    async fn modify(&self, id: &UserId, change: UserChange) -> Result<Arc<User>, StoreError>;

    /// Adds a token.
    async fn create_token(&self, token: Token) -> Result<(), StoreError>;

    /// The token with that hash, and whose it is. Expiry is the caller's to check.
    async fn token(&self, hash: &[u8; 32]) -> Result<Option<(Arc<Token>, Arc<User>)>, StoreError>;

    /// The user's tokens, oldest first.
    async fn tokens(&self, user: &UserId) -> Result<Vec<Arc<Token>>, StoreError>;

    /// Takes a token back.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_token(&self, id: &TokenId) -> Result<(), StoreError>;

    /// The sealed key for the secrets in a user's inputs to an Actor, if one was made (`INP-24`).
    async fn input_key(&self, user: &UserId, actor: &ActorId) -> Result<Option<String>, StoreError>;

    /// Keeps such a key. There is one for each pair, and what was encrypted with it needs it for ever.
    ///
    /// # Errors
    /// `NameTaken` if there is one already.
    async fn keep_input_key(&self, user: &UserId, actor: &ActorId, sealed: String) -> Result<(), StoreError>;
}
