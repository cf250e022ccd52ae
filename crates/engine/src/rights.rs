//! What the token of a caller may do of what its user may (`AUTH-15`).
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
//! Whatever is open to everybody is open to it, too.

use std::sync::Arc;

use model::input_schema::{InputSchema, NamedResource};
use model::{GrantedStorage, MAX_GRANTED_STORAGES, Owner, PermissionLevel, Reference, Right, Run, Storage, UserId};
use serde_json::{Map, Value};

use crate::{Caller, Engine, EngineError};

/// What a right is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A storage and what is in it.
    Storage(&'a Storage),
    /// A run.
    Run(&'a Run),
    /// Anything else of that user's.
    Other(&'a UserId),
}

impl Subject<'_> {
    fn owner(&self) -> &UserId {
        match self {
            Self::Storage(storage) => &storage.user_id,
            Self::Run(run) => &run.user_id,
            Self::Other(owner) => owner,
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
        self.limited_run().is_some()
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
        let Some(run) = caller.limited_run() else { return Ok(true) };
        Ok(match subject {
            Subject::Storage(storage) => self.opens_storage(run, right, storage).await?,
            Subject::Run(other) => may_touch(run, other) && matches!(right, Right::Read | Right::Write),
            Subject::Other(_) => false,
        })
    }

    async fn opens_storage(&self, run: &Run, right: Right, storage: &Storage) -> Result<bool, EngineError> {
        let made_by_it = storage.lives_with == Some(run.id)
            || storage.run_id == Some(run.id)
            || storage.actor_id == Some(run.actor_id);
        if made_by_it {
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

/// Whether `other` is the run itself, or was started by it or by an earlier run of its Actor.
fn may_touch(run: &Run, other: &Run) -> bool {
    let started_it = |by: &model::StartedBy| by.run_id == run.id || by.actor_id == run.actor_id;
    other.id == run.id || other.started_by.as_ref().is_some_and(started_it)
}
