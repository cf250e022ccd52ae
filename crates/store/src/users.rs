//! Users and tokens.

use std::sync::Arc;

use async_trait::async_trait;
use model::{Token, TokenId, User, UserId};

use crate::StoreError;

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
}
