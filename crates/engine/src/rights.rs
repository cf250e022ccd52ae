//! What the token of a caller may do of what its user may (`AUTH-15`, `AUTH-19`).
//!
//! A token of a user's own may do everything that the user may, and so may that of a run with full permissions. The token of
//! a run with limited permissions may:
//!
//! | of what | it may |
//! | --- | --- |
//! | its run | read it, say how it goes, charge, abort, reboot and metamorph it |
//! | storages that its run or earlier runs of its Actor have made, default ones included | everything |
//! | storages that its input names in resource fields | read, and write if the field asks for that |
//! | runs that it or earlier runs of its Actor have started | read and abort them, read their default storages |
//! | new storages | make them |
//! | Actors with limited permissions | start them, and become one of them |
//!
//! A token with a scope may do what its grants say, and everything with the storages, tasks, schedules and webhooks that were
//! made with it. Who may run an Actor or a task may see and change its runs; who may read one may see them, and the default
//! storages of the runs that it may see. A run that was started with such a token and is to do no more than it has both limits, besides the rights to itself
//! and to its default storages that every run has.
//!
//! Whatever is open to everybody is open to all of them, too.

use std::sync::Arc;

use model::input_schema::{InputSchema, NamedResource};
use model::schedule::Schedule;
use model::{
    Actor, ActorId, GrantedStorage, MAX_GRANTED_STORAGES, Owner, PermissionLevel, Reference, Right, Run, ScopeKind,
    Storage, Task, TaskId, TokenId, TokenScope, UserId, Webhook,
};
use serde_json::{Map, Value};

use crate::{Caller, Engine, EngineError};

/// What a right is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A storage and what is in it.
    Storage(&'a Storage),
    /// A run.
    Run(&'a Run),
    /// The Actor of that id, its versions and builds. That user is its owner.
    Actor(&'a UserId, &'a ActorId),
    /// A task, schedule or webhook.
    Kept(Kept<'a>),
}

/// A task, schedule or webhook, as far as rights are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Which of them.
    pub kind: ScopeKind,
    /// Its owner.
    pub owner: &'a UserId,
    /// Its id.
    pub id: &'a str,
    /// The token of limited scope that made it.
    pub made_by: Option<TokenId>,
}

impl<'a> From<&'a Task> for Subject<'a> {
    fn from(task: &'a Task) -> Self {
        let (owner, id) = (&task.user_id, task.id.as_str());
        Self::Kept(Kept { kind: ScopeKind::Task, owner, id, made_by: task.token_id })
    }
}

impl<'a> From<&'a Schedule> for Subject<'a> {
    fn from(schedule: &'a Schedule) -> Self {
        let (owner, id) = (&schedule.user_id, schedule.id.as_str());
        Self::Kept(Kept { kind: ScopeKind::Schedule, owner, id, made_by: schedule.token_id })
    }
}

impl<'a> From<&'a Webhook> for Subject<'a> {
    fn from(webhook: &'a Webhook) -> Self {
        let (owner, id) = (&webhook.user_id, webhook.id.as_str());
        Self::Kept(Kept { kind: ScopeKind::Webhook, owner, id, made_by: webhook.token_id })
    }
}

impl Subject<'_> {
    fn owner(&self) -> &UserId {
        match self {
            Self::Storage(storage) => &storage.user_id,
            Self::Run(run) => &run.user_id,
            Self::Actor(owner, _) => owner,
            Self::Kept(kept) => kept.owner,
        }
    }
}

impl Caller {
    /// The run whose token is used, if its permissions are limited.
    pub fn limited_run(&self) -> Option<&Arc<Run>> {
        self.run.as_ref().filter(|run| run.permission_level == PermissionLevel::LimitedPermissions)
    }

    /// Whether the token may do less than its user.
    pub fn is_limited(&self) -> bool {
        self.limited_run().is_some() || self.scope.is_some()
    }

    /// Whether the token may see and list everything of that kind.
    pub fn may_list(&self, kind: ScopeKind) -> bool {
        self.limited_run().is_none() && self.scope.as_ref().is_none_or(|own| own.scope.gives_all(kind, Right::Read))
    }

    /// Whether the token may make things of that kind; a run with limited permissions may make storages only.
    pub fn may_create(&self, kind: ScopeKind) -> bool {
        let is_storage = matches!(kind, ScopeKind::Dataset | ScopeKind::KeyValueStore | ScopeKind::RequestQueue);
        let has_limits = self.limited_run().is_some() && !is_storage;
        !has_limits && self.scope.as_ref().is_none_or(|own| own.scope.gives_all(kind, Right::Create))
    }

    /// Whether the scope of the token, if it has one, includes reading what that Actor is and does, whosever it is.
    pub fn may_read(&self, actor: &ActorId) -> bool {
        self.scope.as_ref().is_none_or(|own| own.scope.gives(ScopeKind::Actor, actor.as_str(), Right::Read))
    }

    /// Whether the scope of the token, if it has one, includes runs of that Actor, whosever it is.
    pub fn may_start(&self, actor: &Actor) -> bool {
        self.scope.as_ref().is_none_or(|own| own.scope.gives(ScopeKind::Actor, actor.id.as_str(), Right::Run))
    }
}

impl Engine {
    /// Whether the caller's token gives that right to something that is the caller's user's own. What is open to others as
    /// well is for the asker to know.
    ///
    /// # Errors
    /// Of the store.
    pub async fn allows(&self, caller: &Caller, right: Right, subject: Subject<'_>) -> Result<bool, EngineError> {
        if *subject.owner() != caller.user.id {
            return Ok(false);
        }
        if caller.run.as_ref().is_some_and(|run| is_its_own(run, right, subject)) {
            return Ok(true);
        }
        if let Some(run) = caller.limited_run()
            && !self.limits_allow(run, right, subject).await?
        {
            return Ok(false);
        }
        match &caller.scope {
            Some(scope) => self.scope_allows(scope, right, subject).await,
            None => Ok(true),
        }
    }

    async fn limits_allow(&self, run: &Run, right: Right, subject: Subject<'_>) -> Result<bool, EngineError> {
        Ok(match subject {
            Subject::Storage(storage) => self.opens_storage(run, right, storage).await?,
            Subject::Run(other) => may_touch(run, other) && matches!(right, Right::Read | Right::Write),
            Subject::Actor(..) | Subject::Kept(_) => false,
        })
    }

    async fn scope_allows(&self, own: &TokenScope, right: Right, subject: Subject<'_>) -> Result<bool, EngineError> {
        let of_actor = |id: &ActorId, right| own.scope.gives(ScopeKind::Actor, id.as_str(), right);
        // Who may run or read an Actor or a task may do so with its runs.
        let of_run = |run: &Run, right: Right| {
            let right = if right == Right::Read { right } else { Right::Run };
            let of_task = |task: TaskId| own.scope.gives(ScopeKind::Task, task.as_str(), right);
            of_actor(&run.actor_id, right) || run.task_id.is_some_and(of_task)
        };
        Ok(match subject {
            Subject::Storage(storage) => {
                if storage.token_id == Some(own.token)
                    || own.scope.gives(storage.kind.into(), storage.id.as_str(), right)
                {
                    return Ok(true);
                }
                let Some(run) = storage.lives_with.filter(|_| right == Right::Read) else { return Ok(false) };
                let run = self.inner.store.runs.get(&run).await?;
                run.is_some_and(|run| of_run(&run, Right::Read))
            }
            Subject::Run(run) => of_run(run, right),
            Subject::Kept(kept) => kept.made_by == Some(own.token) || own.scope.gives(kept.kind, kept.id, right),
            Subject::Actor(_, id) => of_actor(id, right),
        })
    }

    async fn opens_storage(&self, run: &Run, right: Right, storage: &Storage) -> Result<bool, EngineError> {
        if storage.run_id == Some(run.id) || storage.actor_id == Some(run.actor_id) {
            return Ok(true);
        }
        if let Some(granted) = run.granted_storages.iter().find(|granted| granted.id == storage.id) {
            return Ok(right == Right::Read || (right == Right::Write && granted.write));
        }
        let Some(other) = storage.lives_with.filter(|_| right == Right::Read) else { return Ok(false) };
        let other = self.inner.store.runs.get(&other).await?;
        Ok(other.is_some_and(|other| may_touch(run, &other)))
    }

    /// The storages that an input opens to a run with limited permissions: those of its user's that the input names, as far
    /// as who gives the input may use them. Otherwise a run could start another to get at what is closed to itself.
    pub(crate) async fn granted_storages(
        &self,
        caller: &Caller,
        schema: &InputSchema,
        input: &[u8],
    ) -> Result<Vec<GrantedStorage>, EngineError> {
        let Ok(input) = serde_json::from_slice::<Map<String, Value>>(input) else { return Ok(Vec::new()) };
        let mut granted = Vec::<GrantedStorage>::new();
        for named in schema.named_resources(&input).into_iter().take(MAX_GRANTED_STORAGES) {
            let Some(storage) = self.find_resource(&caller.user.id, &named).await? else { continue };
            if !self.allows(caller, Right::Read, Subject::Storage(&storage)).await? {
                continue;
            }
            let write = named.write && self.allows(caller, Right::Write, Subject::Storage(&storage)).await?;
            match granted.iter_mut().find(|granted| granted.id == storage.id) {
                Some(known) => known.write |= write,
                None => granted.push(GrantedStorage { id: storage.id, write }),
            }
        }
        Ok(granted)
    }

    /// The storage that an input names by id, by `user/name` or `~name`, or by a bare name of the user's own.
    async fn find_resource(&self, user: &UserId, named: &NamedResource) -> Result<Option<Arc<Storage>>, EngineError> {
        let storages = &self.inner.store.storages;
        let found = match Reference::parse(&named.reference) {
            Ok(Reference::Id(id)) => match storages.get(&id).await? {
                Some(storage) => Some(storage),
                // A name may have the form of an id.
                None => storages.find(user, named.kind, &named.reference).await?,
            },
            Ok(Reference::Word(name)) => storages.find(user, named.kind, &name).await?,
            Ok(Reference::Name { owner, name }) => match self.owner_id(user, owner).await? {
                Some(owner) => storages.find(&owner, named.kind, &name).await?,
                None => None,
            },
            Err(_) => None,
        };
        Ok(found.filter(|storage| storage.kind == named.kind))
    }

    async fn owner_id(&self, user: &UserId, owner: Owner) -> Result<Option<UserId>, EngineError> {
        Ok(match owner {
            Owner::Caller => Some(*user),
            Owner::Id(id) => Some(id),
            Owner::Username(name) => self.inner.store.users.find(&name).await?.map(|user| user.id),
        })
    }
}

/// What every run may do with itself and with its default storages.
fn is_its_own(run: &Run, right: Right, subject: Subject<'_>) -> bool {
    match subject {
        Subject::Storage(storage) => storage.lives_with == Some(run.id),
        Subject::Run(other) => other.id == run.id && matches!(right, Right::Read | Right::Write),
        Subject::Actor(..) | Subject::Kept(_) => false,
    }
}

/// Whether `other` is the run itself, or was started by it or by an earlier run of its Actor.
fn may_touch(run: &Run, other: &Run) -> bool {
    let started_it = |by: &model::StartedBy| by.run_id == run.id || by.actor_id == run.actor_id;
    other.id == run.id || other.started_by.as_ref().is_some_and(started_it)
}
