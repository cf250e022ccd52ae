//! Users and tokens in SQLite. Both are looked up with every request, so both are kept in memory.

use std::sync::Arc;

use async_trait::async_trait;
use model::{ActorId, Token, TokenId, User, UserId, fold};
use rusqlite::params;

use super::core::Core;
use super::db::{Cache, Sql as _};
use super::doc;
use crate::{Noun, StoreError, UserChange, UserStore};

const CACHED_USERS: usize = 1024;
const CACHED_TOKENS: usize = 16 * 1024;

/// The users of an embedded store.
#[derive(Debug)]
pub(super) struct Users {
    core: Arc<Core>,
    kept: Arc<Kept>,
}

#[derive(Debug)]
struct Kept {
    users: Cache<UserId, Arc<User>>,
    tokens: Cache<[u8; 32], Arc<Token>>,
}

impl Users {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let kept = Kept { users: Cache::new(CACHED_USERS), tokens: Cache::new(CACHED_TOKENS) };
        Self { core, kept: Arc::new(kept) }
    }

    fn user(&self, id: &UserId) -> Result<Option<Arc<User>>, StoreError> {
        self.kept.users.get_or_read(id, || {
            let read = "SELECT doc FROM user WHERE id = ?1";
            let row = self.core.db.read(|connection| connection.one(read, [id.as_str()], |row| row.get(0)))?;
            row.map(|text: String| doc::read(&text).map(Arc::new)).transpose()
        })
    }
}

#[async_trait]
impl UserStore for Users {
    async fn create(&self, user: User) -> Result<Arc<User>, StoreError> {
        let user = Arc::new(user);
        let (text, username, kept) = (doc::write(&*user)?, fold(&user.username), self.kept.clone());
        self.core
            .db
            .write_checked(text.len(), move |tx| {
                if tx.one("SELECT 1 FROM user WHERE username = ?1", [&username], |_| Ok(()))?.is_some() {
                    return Err(StoreError::NameTaken);
                }
                tx.run(
                    "INSERT INTO user (id, username, created_at, doc) VALUES (?1, ?2, ?3, ?4)",
                    params![user.id.as_str(), username, user.created_at.as_millis(), text],
                )?;
                let created = user.clone();
                tx.after_commit(move || kept.users.set(created.id, created));
                Ok(user)
            })
            .await
    }

    async fn get(&self, id: &UserId) -> Result<Option<Arc<User>>, StoreError> {
        self.user(id)
    }

    async fn find(&self, username: &str) -> Result<Option<Arc<User>>, StoreError> {
        let find = "SELECT id FROM user WHERE username = ?1";
        let id: Option<String> =
            self.core.db.read(|connection| connection.one(find, [fold(username)], |row| row.get(0)))?;
        match id.and_then(|id| UserId::parse(&id)) {
            Some(id) => self.user(&id),
            None => Ok(None),
        }
    }

    async fn list(&self) -> Result<Vec<Arc<User>>, StoreError> {
        self.core
            .db
            .snapshot_blocking(|connection| {
                let docs: Vec<String> =
                    connection.all("SELECT doc FROM user ORDER BY created_at, id", [], |row| row.get(0))?;
                docs.iter().map(|text| doc::read(text).map(Arc::new)).collect()
            })
            .await
    }

    async fn modify(&self, id: &UserId, change: UserChange) -> Result<Arc<User>, StoreError> {
        let (id, kept) = (*id, self.kept.clone());
        self.core
            .db
            .write_checked(0, move |tx| {
                let read = "SELECT doc FROM user WHERE id = ?1";
                let text: Option<String> = tx.one(read, [id.as_str()], |row| row.get(0))?;
                let mut user: User = doc::read(&text.ok_or(StoreError::NotFound(Noun::User))?)?;
                let fixed = (user.id, user.username.clone());
                change(&mut user);
                (user.id, user.username) = fixed;
                tx.run("UPDATE user SET doc = ?2 WHERE id = ?1", params![id.as_str(), doc::write(&user)?])?;
                let user = Arc::new(user);
                let changed = user.clone();
                tx.after_commit(move || kept.users.set(id, changed));
                Ok(user)
            })
            .await
    }

    async fn create_token(&self, token: Token) -> Result<(), StoreError> {
        let text = doc::write(&token)?;
        self.core
            .db
            .write_checked(text.len(), move |tx| {
                let user = token.user_id.as_str();
                if tx.one("SELECT 1 FROM user WHERE id = ?1", [user], |_| Ok(()))?.is_none() {
                    return Err(StoreError::NotFound(Noun::User));
                }
                tx.run(
                    "INSERT INTO token (id, hash, user_id, created_at, doc) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![token.id.as_str(), token.hash, user, token.created_at.as_millis(), text],
                )?;
                Ok(())
            })
            .await
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<(Arc<Token>, Arc<User>)>, StoreError> {
        let token = self.kept.tokens.get_or_read(hash, || {
            let read = "SELECT doc FROM token WHERE hash = ?1";
            let row = self.core.db.read(|connection| connection.one(read, [&hash[..]], |row| row.get(0)))?;
            row.map(|text: String| doc::read(&text).map(Arc::new)).transpose()
        })?;
        let Some(token) = token else { return Ok(None) };
        Ok(self.user(&token.user_id)?.map(|user| (token, user)))
    }

    async fn tokens(&self, user: &UserId) -> Result<Vec<Arc<Token>>, StoreError> {
        let list = "SELECT doc FROM token WHERE user_id = ?1 ORDER BY created_at, id";
        let docs: Vec<String> =
            self.core.db.read(|connection| connection.all(list, [user.as_str()], |row| row.get(0)))?;
        docs.iter().map(|text| doc::read(text).map(Arc::new)).collect()
    }

    async fn delete_token(&self, id: &TokenId) -> Result<(), StoreError> {
        let (id, kept) = (*id, self.kept.clone());
        self.core
            .db
            .write_checked(0, move |tx| {
                let hash: [u8; 32] = tx
                    .one("SELECT hash FROM token WHERE id = ?1", [id.as_str()], |row| row.get(0))?
                    .ok_or(StoreError::NotFound(Noun::Token))?;
                tx.run("DELETE FROM token WHERE id = ?1", [id.as_str()])?;
                tx.after_commit(move || kept.tokens.remove(&hash));
                Ok(())
            })
            .await
    }

    async fn input_key(&self, user: &UserId, actor: &ActorId) -> Result<Option<String>, StoreError> {
        let read = "SELECT sealed FROM input_key WHERE user_id = ?1 AND actor_id = ?2";
        self.core.db.read(|connection| connection.one(read, [user.as_str(), actor.as_str()], |row| row.get(0)))
    }

    async fn keep_input_key(&self, user: &UserId, actor: &ActorId, sealed: String) -> Result<(), StoreError> {
        let (user, actor) = (*user, *actor);
        self.core
            .db
            .write_checked(sealed.len(), move |tx| {
                let pair = [user.as_str(), actor.as_str()];
                let find = "SELECT 1 FROM input_key WHERE user_id = ?1 AND actor_id = ?2";
                if tx.one(find, pair, |_| Ok(()))?.is_some() {
                    return Err(StoreError::NameTaken);
                }
                let insert = "INSERT INTO input_key (user_id, actor_id, sealed) VALUES (?1, ?2, ?3)";
                tx.run(insert, params![pair[0], pair[1], sealed])?;
                Ok(())
            })
            .await
    }
}
