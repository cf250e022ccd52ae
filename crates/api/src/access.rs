//! Who may read what: one table for runs, builds and storages (`AUTH-9` to `AUTH-14`, `P1` to `P5`).

use std::sync::Arc;

use engine::{Caller, Subject};
use model::{
    Actor, GeneralAccess, JobStatus, Origin, Owner, Reference, Right, Run, RunId, Storage, StorageKind, Task, User,
    UserId,
};
use store::{Noun, RunFilter};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Params, PathParams};

/// Whether the caller is the owner, and its token has that right (`P4`, `AUTH-15`). Everything that only owners may do comes
/// by here; what is open to others is for the asker to know.
pub(crate) async fn allows(
    app: &App,
    caller: Option<&Caller>,
    right: Right,
    subject: Subject<'_>,
) -> Result<bool, ApiError> {
    match caller {
        Some(caller) => Ok(app.engine().allows(caller, right, subject).await?),
        None => Ok(false),
    }
}

/// How to send away a caller who lacks a right: one whose token is to blame is told so, others get `otherwise`.
pub(crate) fn refusal(caller: Option<&Caller>, owner: &UserId, otherwise: impl FnOnce() -> ApiError) -> ApiError {
    match caller {
        Some(caller) if caller.user.id == *owner => ApiError::token_is_limited(),
        _ => otherwise(),
    }
}

/// The run with that id, if the caller may read it.
///
/// # Errors
/// `404` otherwise, with the type that tells a missing token from a missing run as far as it may be told (`AUTH-10`).
pub(crate) async fn readable_run(app: &App, caller: Option<&Caller>, id: &str) -> Result<Arc<Run>, ApiError> {
    let run = find_run(app, caller, id).await?;
    check_readable(app, caller, run).await
}

/// Lets a run through if the caller may read it.
pub(crate) async fn check_readable(app: &App, caller: Option<&Caller>, run: Arc<Run>) -> Result<Arc<Run>, ApiError> {
    let may_read =
        allows(app, caller, Right::Read, Subject::Run(&run)).await? || run_level(app, &run).await?.is_open(false);
    if may_read { Ok(run) } else { Err(refusal(caller, &run.user_id, || hidden_run(caller))) }
}

/// The run with that id. Its access is not checked.
///
/// # Errors
/// As [`readable_run`].
pub(crate) async fn find_run(app: &App, caller: Option<&Caller>, id: &str) -> Result<Arc<Run>, ApiError> {
    let id = RunId::parse(id).ok_or_else(|| hidden_run(caller))?;
    app.store().runs.get(&id).await?.ok_or_else(|| hidden_run(caller))
}

/// The answer for a run that does not exist, or must look like it (`AUTH-10`).
pub(crate) fn hidden_run(caller: Option<&Caller>) -> ApiError {
    match caller {
        Some(_) => ApiError::not_found(Noun::Run),
        None => ApiError::not_found_without_token(Noun::Run),
    }
}

/// The run with that id, if it is the caller's own and its token has that right to it (`AUTH-5`).
///
/// # Errors
/// `404` for those of others; `403` if it is the token that is to blame.
pub(crate) async fn own_run(app: &App, caller: &Caller, right: Right, id: &str) -> Result<Arc<Run>, ApiError> {
    let run = match RunId::parse(id) {
        Some(id) => app.store().runs.get(&id).await?,
        None => None,
    };
    let run = run.ok_or_else(|| ApiError::not_found(Noun::Run))?;
    check_own(app, caller, right, run).await
}

/// Lets a run through if the caller has that right to it.
pub(crate) async fn check_own(app: &App, caller: &Caller, right: Right, run: Arc<Run>) -> Result<Arc<Run>, ApiError> {
    match allows(app, Some(caller), right, Subject::Run(&run)).await? {
        true => Ok(run),
        false => Err(refusal(Some(caller), &run.user_id, || ApiError::not_found(Noun::Run))),
    }
}

/// The level in force of a run (`RUN-15`).
pub(crate) async fn run_level(app: &App, run: &Run) -> Result<GeneralAccess, ApiError> {
    if run.general_access != GeneralAccess::FollowUserSetting {
        return Ok(run.general_access);
    }
    let owner = app.store().users.get(&run.user_id).await?;
    Ok(owner.map_or(GeneralAccess::Restricted, |owner| owner.run_access))
}

/// The level in force of a storage: its own; or, if it lives with a run, the run's (`AUTH-12`); or its owner's setting.
pub(crate) async fn storage_level(app: &App, storage: &Storage) -> Result<GeneralAccess, ApiError> {
    if storage.general_access != GeneralAccess::FollowUserSetting {
        return Ok(storage.general_access);
    }
    if let Some(run) = &storage.lives_with {
        return match app.store().runs.get(run).await? {
            Some(run) => run_level(app, &run).await,
            None => Ok(GeneralAccess::Restricted),
        };
    }
    let owner = app.store().users.get(&storage.user_id).await?;
    Ok(owner.map_or(GeneralAccess::Restricted, |owner| owner.storage_access))
}

/// The storage that a path segment means (`S2`), and whether it was referred to by name. Its access is not checked.
pub(crate) async fn find_storage(
    app: &App,
    caller: Option<&Caller>,
    kind: StorageKind,
    segment: &str,
) -> Result<(Arc<Storage>, bool), ApiError> {
    let (found, by_name) = match Reference::parse(segment)? {
        Reference::Id(id) => (app.store().storages.get(&id).await?, false),
        Reference::Word(_) => (None, false),
        Reference::Name { owner, name } => match owner_id(app, caller, owner).await? {
            Some(owner) => (app.store().storages.find(&owner, kind, &name).await?, true),
            None => (None, true),
        },
    };
    let storage = found.filter(|storage| storage.kind == kind).ok_or_else(|| ApiError::not_found(Noun::Storage))?;
    Ok((storage, by_name))
}

/// The Actor that a path segment means (`ID-3`, `ID-4`), whoever may see it. Names need a token, ids do not (`AUTH-13`).
pub(crate) async fn find_actor(
    app: &App,
    caller: Option<&Caller>,
    segment: &str,
) -> Result<Option<Arc<Actor>>, ApiError> {
    let actors = &app.store().actors;
    let own_named = async |name: &str| match caller {
        Some(caller) => actors.find(&caller.user.id, name).await,
        None => Ok(None),
    };
    Ok(match Reference::parse(segment)? {
        Reference::Id(id) => match actors.get(&id).await? {
            Some(actor) => Some(actor),
            // A name may have the form of an id.
            None => own_named(segment).await?,
        },
        Reference::Word(name) => own_named(&name).await?,
        Reference::Name { .. } if caller.is_none() => return Err(ApiError::token_not_provided()),
        Reference::Name { owner, name } => match owner_id(app, caller, owner).await? {
            Some(owner) => actors.find(&owner, &name).await?,
            None => None,
        },
    })
}

/// The Actor that a path segment means, if it is the caller's own or public (`ACT-14`).
///
/// # Errors
/// `404` for private ones of others (`AUTH-5`).
pub(crate) async fn visible_actor(app: &App, caller: &Caller, segment: &str) -> Result<Arc<Actor>, ApiError> {
    let found = find_actor(app, Some(caller), segment).await?;
    let found = found.filter(|actor| actor.is_public || actor.user_id == caller.user.id);
    found.ok_or_else(|| ApiError::not_found(Noun::Actor))
}

/// As [`visible_actor`], and the caller's token may read what is not for everybody to see.
///
/// # Errors
/// `404` as there, and for a run with limited permissions: the clients ask for the name of each Actor that they call, and can
/// do without, but not if they are refused (`AUTH-15`). `403` if it is the scope of the token that is to blame.
pub(crate) async fn readable_actor(app: &App, caller: &Caller, segment: &str) -> Result<Arc<Actor>, ApiError> {
    let actor = visible_actor(app, caller, segment).await?;
    if actor.is_public || allows(app, Some(caller), Right::Read, Subject::Actor(&actor.user_id, &actor.id)).await? {
        return Ok(actor);
    }
    Err(if caller.limited_run().is_some() { ApiError::not_found(Noun::Actor) } else { ApiError::token_is_limited() })
}

/// The Actor that a path segment means, if the caller may change it.
///
/// # Errors
/// `404` for private ones of others, `403` for public ones (`AUTH-5`).
pub(crate) async fn own_actor(app: &App, caller: &Caller, segment: &str) -> Result<Arc<Actor>, ApiError> {
    let actor = visible_actor(app, caller, segment).await?;
    if allows(app, Some(caller), Right::Write, Subject::Actor(&actor.user_id, &actor.id)).await? {
        return Ok(actor);
    }
    if actor.user_id == caller.user.id {
        return Err(ApiError::token_is_limited());
    }
    let message = "Insufficient permissions for the Actor: only its owner may do this";
    Err(ApiError::new(crate::error::Problem::InsufficientPermissions, message))
}

/// The caller's task that a path segment means (`ID-3`): its id, its name with its owner's, or the bare name; if the caller's
/// token has that right to it.
///
/// # Errors
/// `404` for those of others (`AUTH-5`), published ones too; `403` if it is the token that is to blame.
pub(crate) async fn own_task(app: &App, caller: &Caller, right: Right, segment: &str) -> Result<Arc<Task>, ApiError> {
    let tasks = &app.store().tasks;
    let found = match Reference::parse(segment)? {
        Reference::Id(id) => match tasks.get(&id).await? {
            Some(task) => Some(task),
            // A name may have the form of an id.
            None => tasks.find(&caller.user.id, segment).await?,
        },
        Reference::Word(name) => tasks.find(&caller.user.id, &name).await?,
        Reference::Name { owner, name } => match owner_id(app, Some(caller), owner).await? {
            Some(owner) => tasks.find(&owner, &name).await?,
            None => None,
        },
    };
    let found = found.filter(|task| task.user_id == caller.user.id);
    let task = found.ok_or_else(|| ApiError::not_found(Noun::Task))?;
    check_kept(app, caller, right, Subject::from(&*task)).await?;
    Ok(task)
}

/// Whether the caller's token has that right to a task, schedule or webhook of the caller's.
///
/// # Errors
/// `403` if it has not.
pub(crate) async fn check_kept(app: &App, caller: &Caller, right: Right, subject: Subject<'_>) -> Result<(), ApiError> {
    match allows(app, Some(caller), right, subject).await? {
        true => Ok(()),
        false => Err(ApiError::token_is_limited()),
    }
}

/// The caller's newest run of the Actor or task in the path, as `status` and `origin` in the query narrow it (`LAST-1`). What
/// the caller's token may do with it is not checked.
///
/// # Errors
/// `400` for values that neither parameter has, checked before the Actor or task is looked up; `404`.
pub(crate) async fn last_run(
    app: &App,
    caller: &Caller,
    path: &PathParams,
    params: &Params,
) -> Result<Arc<Run>, ApiError> {
    let filter = last_run_filter(caller, params)?;
    let filter = match path.find("actorTaskId") {
        Some(task) => RunFilter { task: Some(own_task(app, caller, Right::Read, task).await?.id), ..filter },
        None => RunFilter { actor: Some(visible_actor(app, caller, path.get("actorId")).await?.id), ..filter },
    };
    let last = app.store().runs.last(filter).await?;
    last.ok_or_else(|| ApiError::not_found(Noun::Run))
}

/// What `status` and `origin` of a `runs/last` address ask for (`LAST-1`).
fn last_run_filter(caller: &Caller, params: &Params) -> Result<RunFilter, ApiError> {
    let status = match params.non_empty("status") {
        Some(text) => {
            let status = JobStatus::parse(&text);
            vec![status.ok_or_else(|| ApiError::invalid_request("Status parameter has an invalid value"))?]
        }
        None => Vec::new(),
    };
    let origin = match params.non_empty("origin") {
        Some(text) => {
            let origin = Origin::parse(&text);
            Some(origin.ok_or_else(|| ApiError::invalid_request("Origin parameter has an invalid value"))?)
        }
        None => None,
    };
    Ok(RunFilter { user: Some(caller.user.id), statuses: status, origin, ..RunFilter::default() })
}

/// The user that a reference by name names.
pub(crate) async fn owner_id(app: &App, caller: Option<&Caller>, owner: Owner) -> Result<Option<UserId>, ApiError> {
    Ok(match owner {
        Owner::Caller => Some(caller.ok_or_else(ApiError::token_not_provided)?.user.id),
        Owner::Id(id) => Some(id),
        Owner::Username(name) => app.store().users.find(&name).await?.map(|user: Arc<User>| user.id),
    })
}
