//! Starting a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::pricing::PricingInfo;
use model::{
    Actor, Build, GeneralAccess, INPUT_KEY, JobMeta, JobStatus, Origin, PermissionLevel, Run, RunId, RunStats,
    RunStorages, RunUsage, RunsMay, StartedBy, Storage, StorageId, StorageKind, TaskId, Timestamp, Webhook,
    WebhookCondition, WebhookId, WebhookSettings,
};
use serde_json::value::RawValue;
use store::NewRecord;

use crate::builds::BuildView;
use crate::runs::input::StoredInput;
use crate::runs::{RunOptionsGiven, charge};
use crate::{Caller, Engine, EngineError, Scheduled};

/// What a caller says when starting a run.
#[derive(Clone, Debug)]
pub struct StartRun {
    /// Options; those of a task are already put under them.
    pub given: RunOptionsGiven,
    /// Permission level for this run (`START-15`).
    pub force_permission_level: Option<PermissionLevel>,
    /// The input; `None` or an empty one if no body came.
    pub input: Option<RunInput>,
    /// Whether to run the build alone, whatever folder the Actor is developed in.
    pub without_dev_folder: bool,
    /// Who asked, and from where.
    pub asked: Asked,
    /// The task it is started from, by [`Engine::start_task`] only.
    pub task: Option<TaskId>,
    /// The invocation of a schedule that starts it.
    pub scheduled: Option<Scheduled>,
    /// Webhooks for this run alone (`START-14`).
    pub webhooks: Vec<AdHocWebhook>,
    /// Whether it gets no input at all, whatever the schema says (`STB-5`).
    pub without_input: bool,
}

/// A webhook for one run (`WH-12`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdHocWebhook {
    /// Key that keeps a repeated call from making another (`WH-3`).
    pub idempotency_key: Option<String>,
    /// What it waits for, and what it sends where; checked.
    pub settings: WebhookSettings,
}

/// The body of a request that carries an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunInput {
    /// The bytes, decoded from any `Content-Encoding`.
    pub body: Bytes,
    /// `Content-Type`; an absent one counts as JSON (`START-20`).
    pub content_type: Option<String>,
}

/// Who asked for a run or build, and from where (`RUN-11`, `RUN-20`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// By which way.
    pub origin: Origin,
    /// Address of the caller.
    pub client_ip: Option<String>,
    /// Its `User-Agent`.
    pub user_agent: Option<String>,
    /// What the caller groups its calls by; a run without gets one of its own (`HTTP-25`).
    pub workflow_key: Option<String>,
}

impl Asked {
    pub(crate) fn meta(self) -> JobMeta {
        JobMeta {
            origin: self.origin,
            client_ip: self.client_ip,
            user_agent: self.user_agent,
            schedule_id: None,
            scheduled_at: None,
        }
    }
}

impl Engine {
    /// Starts a run of `actor` and returns it at once: its storages and its input are there, while it waits in `READY`
    /// until the machine has room for it (`START-1`).
    ///
    /// # Errors
    /// Everything of `START-6` to `START-18`, and what the account or the token may not; `Store(NameTaken)` if its schedule has
    /// started it before. No run is made then.
    pub async fn start_run(&self, caller: &Caller, actor: &Actor, start: StartRun) -> Result<Arc<Run>, EngineError> {
        let now = self.now();
        let permission_level = match start.task {
            // Whether the caller may run the task, its start has found out.
            Some(_) => permission_level(caller, actor, start.force_permission_level)?,
            None => may_start(caller, actor, start.force_permission_level)?,
        };
        let is_limited = permission_level == PermissionLevel::LimitedPermissions;
        let pricing = PricingInfo::in_force(&actor.pricing_infos, now).map(charge::snapshot);
        let mut options = start.given.resolve(actor, pricing.as_ref())?;
        let build = self.resolve_build(actor, Some(&options.build)).await?;
        let input = match start.without_input {
            true => None,
            false => self.prepare_input(&caller.user.id, &actor.id, &build, start.input).await?,
        };
        let view = self.view(&build)?;
        if start.given.memory_mbytes.is_none() {
            options.memory_mbytes = view.memory(&options, input.as_ref().map(|input| &*input.plain));
            options.disk_mbytes = options.memory_mbytes * 2;
        }

        let id = start.scheduled.map_or_else(|| RunId::random(self.random()), |scheduled| scheduled.run);
        let maker = Maker { engine: self, caller, actor, run: id, now };
        let (storages, rows) = maker.storages(&view);
        let charged_event_counts = charge::first_counts(pricing.as_ref(), options.memory_mbytes);
        let granted_storages = match (&view.input_schema, &input) {
            (Some(schema), Some(input)) if is_limited => self.granted_storages(caller, schema, &input.plain).await?,
            _ => Vec::new(),
        };
        let workflow_key = start.asked.workflow_key.clone().unwrap_or_else(|| self.random().secret::<20>());
        let run = Run {
            id,
            actor_id: actor.id,
            user_id: caller.user.id,
            task_id: start.task,
            build_id: build.id,
            build_number: build.build_number.clone(),
            build_tags: tags_of(actor, &build),
            status: JobStatus::Ready,
            status_message: None,
            is_status_message_terminal: None,
            started_at: now,
            finished_at: None,
            exit_code: None,
            end_cause: None,
            meta: JobMeta {
                schedule_id: start.scheduled.map(|scheduled| scheduled.schedule.to_string()),
                scheduled_at: start.scheduled.map(|scheduled| scheduled.at),
                ..start.asked.meta()
            },
            options,
            stats: RunStats { input_body_len: input_len(input.as_ref()), ..RunStats::default() },
            usage: RunUsage::default(),
            general_access: GeneralAccess::default(),
            storages,
            input_key: INPUT_KEY.to_owned(),
            permission_level,
            granted_storages,
            token_scope: caller.scope.clone().filter(|own| own.scope.runs_may == RunsMay::Same),
            started_by: caller.run.as_ref().map(|run| StartedBy { run_id: run.id, actor_id: run.actor_id }),
            aborted_by: None,
            workflow_key: Some(workflow_key),
            container_secret: self.random().secret::<24>(),
            web_port: None,
            metamorphs: Vec::new(),
            pricing_info: pricing,
            charged_event_counts,
            life: 1,
            started_life: 0,
            migrate_at: None,
            without_dev_folder: start.without_dev_folder,
            recent_restarts: Vec::new(),
            deadline: None,
            running_since: None,
        };
        let input = input.map(|input| (record(INPUT_KEY, &input), input.body));
        let turn = self.admit_to_account(&run.user_id, run.options.memory_mbytes, true).await?;
        let webhooks: Vec<Webhook> = start.webhooks.into_iter().map(|webhook| maker.webhook(webhook)).collect();
        if self.inner.stop.is_cancelled() {
            return Err(EngineError::ShuttingDown);
        }
        let engine = self.clone();
        self.carry_through(async move {
            let run = engine.inner.store.runs.create_with_webhooks(run, rows, input, webhooks).await?;
            engine.crash_point("run created").await;
            engine.supervise_run(engine.enliven(run.clone()), None);
            drop(turn);
            Ok(run)
        })
        .await
    }
}

/// The permission level of a run of `actor`, if the caller's token may start one with it.
pub(crate) fn may_start(
    caller: &Caller,
    actor: &Actor,
    forced: Option<PermissionLevel>,
) -> Result<PermissionLevel, EngineError> {
    let level = permission_level(caller, actor, forced)?;
    if !caller.may_start(actor) {
        return Err(EngineError::TokenMayNotStart);
    }
    Ok(level)
}

/// The permission level of a run of `actor`, if a run that starts it may give that.
pub(crate) fn permission_level(
    caller: &Caller,
    actor: &Actor,
    forced: Option<PermissionLevel>,
) -> Result<PermissionLevel, EngineError> {
    let level = forced.or(actor.default_run_options.force_permission_level).unwrap_or(actor.actor_permission_level);
    if caller.limited_run().is_some() && level != PermissionLevel::LimitedPermissions {
        return Err(EngineError::StartNeedsPermissions);
    }
    Ok(level)
}

/// The record that holds an input.
pub(crate) fn record(key: &str, input: &StoredInput) -> NewRecord {
    NewRecord { key: key.to_owned(), content_type: input.content_type.clone(), content_encoding: None }
}

pub(crate) fn input_len(input: Option<&StoredInput>) -> u64 {
    input.map_or(0, |input| u64::try_from(input.body.len()).unwrap_or(u64::MAX))
}

/// Every tag that points to the build now (`START-10`).
pub(crate) fn tags_of(actor: &Actor, build: &Build) -> Vec<String> {
    let tags = actor.tagged_builds.iter().filter(|(_, tagged)| tagged.build_id == build.id);
    tags.map(|(tag, _)| tag.clone()).collect()
}

/// Makes the storages of a new run (`START-23`, `RUN-14`).
struct Maker<'a> {
    engine: &'a Engine,
    caller: &'a Caller,
    actor: &'a Actor,
    run: RunId,
    now: Timestamp,
}

impl Maker<'_> {
    fn storages(&self, view: &BuildView) -> (RunStorages, Vec<Storage>) {
        let key_value_store = self.storage(StorageKind::KeyValueStore, view.key_value_store_schema.clone());
        let dataset = self.storage(StorageKind::Dataset, view.dataset_schema.clone());
        let request_queue = self.storage(StorageKind::RequestQueue, None);
        let mut storages = RunStorages {
            key_value_store: key_value_store.id,
            dataset: dataset.id,
            request_queue: request_queue.id,
            aliased_datasets: BTreeMap::new(),
        };
        let mut rows = vec![key_value_store, dataset, request_queue];
        for (alias, schema) in view.aliased_datasets.clone() {
            let dataset = self.storage(StorageKind::Dataset, schema);
            storages.aliased_datasets.insert(alias, dataset.id);
            rows.push(dataset);
        }
        (storages, rows)
    }

    fn webhook(&self, AdHocWebhook { idempotency_key, settings }: AdHocWebhook) -> Webhook {
        Webhook {
            id: WebhookId::random(self.engine.random()),
            user_id: self.caller.user.id,
            created_at: self.now,
            modified_at: self.now,
            is_ad_hoc: true,
            condition: WebhookCondition { actor_run_id: Some(self.run), ..WebhookCondition::default() },
            idempotency_key,
            settings,
            token_id: None,
        }
    }

    fn storage(&self, kind: StorageKind, schema: Option<Box<RawValue>>) -> Storage {
        let random = self.engine.random();
        Storage {
            id: StorageId::random(random),
            kind,
            user_id: self.caller.user.id,
            name: None,
            title: None,
            created_at: self.now,
            actor_id: Some(self.actor.id),
            run_id: Some(self.run),
            general_access: GeneralAccess::default(),
            url_signing_secret: random.secret::<24>(),
            schema,
            lives_with: Some(self.run),
            token_id: self.caller.scope.as_ref().filter(|own| own.scope.default_storages).map(|own| own.token),
        }
    }
}
