//! Users, their tokens, and who is calling.

use std::sync::Arc;
use std::time::Duration;

use model::signature::same;
use model::{
    Profile, Run, RunId, Scope, TOKEN_GRACE_SECS, Timestamp, Token, TokenId, TokenScope, User, UserId, is_username,
};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::sealing::{RUN_TOKEN, WEBHOOK_TOKEN};
use crate::{Engine, EngineError};

/// Begins every user token.
const USER_TOKEN: &str = "playhouse_api_";
/// No token is longer; what is, is not looked up.
const MAX_TOKEN: usize = 256;
/// How long a token may be believed without asking the store. [`Engine::revoke_token`] does not wait for it.
const BELIEVED: Duration = Duration::from_secs(10);

/// Who is calling.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user.
    pub user: Arc<User>,
    /// The run whose token was used; `None` for a token of the user's own.
    pub run: Option<Arc<Run>>,
    /// What the token may do at most, if not everything that the user may (`AUTH-19`).
    pub scope: Option<Arc<TokenScope>>,
}

impl Caller {
    /// The user, calling with a token of their own.
    pub fn of(user: Arc<User>) -> Self {
        Self { user, run: None, scope: None }
    }
}

/// A token, its user, and what it may do.
#[derive(Clone)]
struct Known {
    token: Arc<Token>,
    user: Arc<User>,
    scope: Option<Arc<TokenScope>>,
}

/// What is remembered of users and tokens, so that a call need not ask the store.
pub(crate) struct Accounts {
    tokens: Cache<[u8; 32], Known>,
    users: Cache<UserId, Arc<User>>,
    /// Taken by those who start something for an account with limits.
    pub(crate) starting: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            tokens: Cache::builder().max_capacity(10_000).time_to_live(BELIEVED).build(),
            users: Cache::builder().max_capacity(10_000).time_to_live(BELIEVED).build(),
            starting: Arc::default(),
        }
    }
}

impl Engine {
    /// Tells whose token this is; `None` if nobody's (any more). A run's token is valid while the run lives and a minute longer.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Caller>, EngineError> {
        if token.len() > MAX_TOKEN {
            return Ok(None);
        }
        if let Some(rest) = token.strip_prefix(RUN_TOKEN) {
            return self.authenticate_run(token, rest).await;
        }
        match token.strip_prefix(WEBHOOK_TOKEN) {
            Some(rest) => self.authenticate_webhook(token, rest).await,
            None => self.authenticate_user(token).await,
        }
    }

    async fn authenticate_webhook(&self, token: &str, rest: &str) -> Result<Option<Caller>, EngineError> {
        let mut parts = rest.split('_');
        let user = parts.next().and_then(UserId::parse);
        let expires_at = parts.next().and_then(|millis| millis.parse().ok()).map(Timestamp::from_millis);
        let Some((user, expires_at)) = user.zip(expires_at) else { return Ok(None) };
        if !same(&self.inner.keys.webhook_token(&user, expires_at), token) || self.now() >= expires_at {
            return Ok(None);
        }
        Ok(self.user(&user).await?.map(Caller::of))
    }

    async fn authenticate_user(&self, token: &str) -> Result<Option<Caller>, EngineError> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = match self.inner.accounts.tokens.get(&hash) {
            Some(known) => known,
            None => {
                let Some((token, user)) = self.inner.store.users.token(&hash).await? else { return Ok(None) };
                let scope = token.scope.clone().map(|scope| Arc::new(TokenScope { token: token.id, scope }));
                let found = Known { token, user, scope };
                self.inner.accounts.tokens.insert(hash, found.clone());
                found
            }
        };
        let Known { token, user, scope } = known;
        let valid = bool::from(token.hash.ct_eq(&hash)) && token.expires_at.is_none_or(|end| self.now() < end);
        Ok(valid.then_some(Caller { user, run: None, scope }))
    }

    async fn authenticate_run(&self, token: &str, rest: &str) -> Result<Option<Caller>, EngineError> {
        let Some(id) = rest.split_once('_').and_then(|(id, _)| RunId::parse(id)) else { return Ok(None) };
        let run = match self.inner.runs.get(&id) {
            Some(live) if same(&live.token, token) => live.state(),
            Some(_) => return Ok(None),
            None if same(&self.inner.keys.run_token(&id), token) => match self.inner.store.runs.get(&id).await? {
                Some(run) => run,
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        if run.status.is_terminal() && run.finished_at.is_none_or(|end| self.now() > end.plus_secs(TOKEN_GRACE_SECS)) {
            return Ok(None);
        }
        let user = self.user(&run.user_id).await?;
        let scope = run.token_scope.clone();
        Ok(user.map(|user| Caller { user, run: Some(run), scope }))
    }

    /// The user with that id, remembered for a few seconds.
    pub(crate) async fn user(&self, id: &UserId) -> Result<Option<Arc<User>>, EngineError> {
        if let Some(user) = self.inner.accounts.users.get(id) {
            return Ok(Some(user));
        }
        let user = self.inner.store.users.get(id).await?;
        if let Some(user) = &user {
            self.inner.accounts.users.insert(*id, user.clone());
        }
        Ok(user)
    }

    /// Makes a user with the server's default access levels.
    ///
    /// # Errors
    /// `InvalidUsername`; `Store(NameTaken)`.
    pub async fn create_user(&self, username: &str) -> Result<Arc<User>, EngineError> {
        if !is_username(username) {
            return Err(EngineError::InvalidUsername(username.to_owned()));
        }
        let user = User {
            id: UserId::random(self.random()),
            username: username.to_owned(),
            email: None,
            created_at: self.now(),
            proxy_password: self.random().secret::<24>(),
            run_access: self.inner.config.run_access,
            storage_access: self.inner.config.storage_access,
            profile: Profile::default(),
            max_monthly_usage_usd: None,
            data_retention_days: None,
            max_memory_mbytes: None,
            max_concurrent_runs: None,
        };
        Ok(self.inner.store.users.create(user).await?)
    }

    /// Changes a user, whose id and name stay what they are.
    ///
    /// # Errors
    /// `NotFound(User)`.
    pub async fn modify_user(
        &self,
        id: &UserId,
        change: impl FnOnce(&mut User) + Send + 'static,
    ) -> Result<Arc<User>, EngineError> {
        let user = self.inner.store.users.modify(id, Box::new(change)).await?;
        self.inner.accounts.users.invalidate(id);
        self.inner.accounts.tokens.invalidate_all();
        Ok(user)
    }

    /// Makes a token and returns it with its value, which is not kept and cannot be shown again.
    pub async fn create_token(
        &self,
        user: &UserId,
        name: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<(Token, String), EngineError> {
        self.create_scoped_token(user, name, expires_at, None).await
    }

    /// As [`create_token`](Self::create_token), of a token that may do no more than `scope` says.
    pub async fn create_scoped_token(
        &self,
        user: &UserId,
        name: &str,
        expires_at: Option<Timestamp>,
        scope: Option<Scope>,
    ) -> Result<(Token, String), EngineError> {
        let value = format!("{USER_TOKEN}{}", self.random().secret::<40>());
        let token = Token {
            id: TokenId::random(self.random()),
            user_id: *user,
            name: name.to_owned(),
            hash: Sha256::digest(value.as_bytes()).into(),
            created_at: self.now(),
            expires_at,
            scope,
        };
        self.inner.store.users.create_token(token.clone()).await?;
        Ok((token, value))
    }

    /// Takes a token back; it is refused from now on.
    ///
    /// # Errors
    /// `NotFound(Token)`.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<(), EngineError> {
        self.inner.store.users.delete_token(id).await?;
        self.inner.accounts.tokens.invalidate_all();
        Ok(())
    }
}
