//! Resurrecting a finished run.

use std::sync::Arc;

use model::{JobEvent, Run, RunId, step};
use store::Noun;

use crate::runs::RunOptionsGiven;
use crate::runs::start::tags_of;
use crate::{Engine, EngineError};

impl Engine {
    /// Lets a finished run go on with the same storages and input; what is given replaces its former options (`RESUR-1`).
    ///
    /// # Errors
    /// `NotFound(Run)`; `NotFinished`; those of a start for the options and the build.
    pub async fn resurrect_run(&self, id: &RunId, given: RunOptionsGiven) -> Result<Arc<Run>, EngineError> {
        let store = &self.inner.store;
        let run = store.runs.get(id).await?.ok_or(EngineError::NotFound(Noun::Run))?;
        if !run.status.is_terminal() {
            return Err(EngineError::NotFinished(run.status));
        }
        let options = given.over(run.options.clone(), run.pricing_info.as_ref())?;
        // Without a wish the very build that ran before, wherever its tag points now.
        let build = match &given.build {
            Some(wanted) => {
                let actor = store.actors.get(&run.actor_id).await?.ok_or(EngineError::NotFound(Noun::Actor))?;
                let build = self.resolve_build(&actor, Some(wanted)).await?;
                let tags = tags_of(&actor, &build);
                (build, tags)
            }
            None => {
                let build = store.builds.get(&run.build_id).await?.ok_or(EngineError::NotFound(Noun::Build))?;
                (build, run.build_tags.clone())
            }
        };
        if let Some(live) = self.inner.runs.get(id) {
            // Its former life must be gone to the last byte of its log before the next begins.
            live.gone.cancelled().await;
        }

        let turn = self.admit_to_account(&run.user_id, options.memory_mbytes, true).await?;
        let engine = self.clone();
        let id = *id;
        self.carry_through(async move {
            let (run, ()) = engine
                .change_run(&id, move |run| {
                    let (status, _) =
                        step(run.status, JobEvent::ResurrectAsked).map_err(|_| EngineError::NotFinished(run.status))?;
                    run.status = status;
                    run.options = options.clone();
                    run.build_id = build.0.id;
                    run.build_number.clone_from(&build.0.build_number);
                    run.build_tags.clone_from(&build.1);
                    run.life += 1;
                    run.stats.resurrect_count += 1;
                    run.recent_restarts.clear();
                    (run.finished_at, run.exit_code, run.end_cause) = (None, None, None);
                    (run.status_message, run.is_status_message_terminal, run.aborted_by) = (None, None, None);
                    (run.deadline, run.running_since) = (None, None);
                    Ok(())
                })
                .await?;
            engine.supervise_run(engine.enliven(run.clone()), None);
            drop(turn);
            Ok(run)
        })
        .await
    }
}
