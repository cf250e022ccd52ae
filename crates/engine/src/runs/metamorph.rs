//! Turning a run into one of another Actor.

use std::sync::Arc;

use model::{Actor, INPUT_KEY, MAX_METAMORPHS, Metamorph, PermissionLevel, Run, RunId};
use store::{Noun, RecordBody};

use crate::runs::RunInput;
use crate::runs::reboot::must_run;
use crate::runs::start::{record, tags_of};
use crate::{Caller, Engine, EngineError};

impl Engine {
    /// Stops what the run executes and starts `target` in its place, with the same id, storages and time budget (`META-1`
    /// to `META-7`). Answers before that is done.
    ///
    /// # Errors
    /// `NotFound(Run)`; `JobFinished`; `NotRunning`; `MaxMetamorphsExceeded`; `MetamorphNeedsPermissions`; those of a start
    /// for the build and the input.
    pub async fn metamorph_run(
        &self,
        by: &Caller,
        id: &RunId,
        target: &Actor,
        build: Option<String>,
        input: Option<RunInput>,
    ) -> Result<Arc<Run>, EngineError> {
        let run = self.inner.store.runs.get(id).await?.ok_or(EngineError::NotFound(Noun::Run))?;
        may_become(&run, target)?;
        if !by.may_start(target) {
            return Err(EngineError::TokenMayNotStart);
        }
        let build = self.resolve_build(target, build.as_deref()).await?;
        let input = self.prepare_input(&run.user_id, &target.id, &build, input).await?;
        let granted_storages = match (&self.view(&build)?.input_schema, &input) {
            (Some(schema), Some(input)) if run.permission_level == PermissionLevel::LimitedPermissions => {
                self.granted_storages(by, schema, &input.plain).await?
            }
            _ => Vec::new(),
        };

        let input_key = format!("{INPUT_KEY}-METAMORPH-{}", run.metamorphs.len() + 1);
        if let Some(input) = &input {
            let body = RecordBody::Whole(input.body.clone());
            self.inner.store.records.put(&run.storages.key_value_store, record(&input_key, input), body).await?;
        }
        let (target, now, before) = (target.clone(), self.now(), run.metamorphs.len());
        let (run, ()) = self
            .change_run(id, move |run| {
                may_become(run, &target)?;
                if run.metamorphs.len() != before {
                    return Err(EngineError::NotRunning(run.status));
                }
                run.actor_id = target.id;
                run.build_id = build.id;
                run.build_number.clone_from(&build.build_number);
                run.build_tags = tags_of(&target, &build);
                run.input_key.clone_from(&input_key);
                run.granted_storages.clone_from(&granted_storages);
                run.life += 1;
                run.migrate_at = None;
                run.stats.metamorph += 1;
                run.metamorphs.push(Metamorph {
                    created_at: now,
                    actor_id: target.id,
                    build_id: build.id,
                    input_key: Some(input_key.clone()),
                });
                Ok(())
            })
            .await?;
        Ok(run)
    }
}

fn may_become(run: &Run, target: &Actor) -> Result<(), EngineError> {
    must_run(run)?;
    if run.metamorphs.len() >= MAX_METAMORPHS {
        return Err(EngineError::MaxMetamorphsExceeded);
    }
    if run.permission_level == PermissionLevel::LimitedPermissions
        && target.actor_permission_level == PermissionLevel::FullPermissions
    {
        return Err(EngineError::MetamorphNeedsPermissions);
    }
    Ok(())
}
