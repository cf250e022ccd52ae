//! The user, tasks, schedules and webhooks.

use apify_client::models::Actor;
use apify_client::{LastRunOptions, ListOptions, RunListOptions, TaskStartOptions};
use serde_json::{Value, json};

use crate::{Error, Walk, until};

impl Walk {
    pub async fn user(&self) -> Result<(), Error> {
        let me = self.client.me();
        let seen = me.get().await?.ok_or("a user")?;
        assert_eq!((&seen.id, seen.username.as_deref()), (&self.user_id, Some("playhouse")));
        assert_eq!(
            self.client.user(&self.user_id).get().await?.and_then(|user| user.username).as_deref(),
            Some("playhouse")
        );
        assert!(me.monthly_usage().await?["usageCycle"]["startAt"].is_string());
        let past = me.monthly_usage_for_date(Some("2025-03-15")).await?;
        assert_eq!(past["usageCycle"]["startAt"].as_str().map(|at| &at[..7]), Some("2025-03"), "{past}");
        me.update_limits(&json!({ "maxMonthlyUsageUsd": 321, "dataRetentionDays": 22 })).await?;
        let limits = me.limits().await?["limits"].clone();
        assert_eq!(
            (limits["maxMonthlyUsageUsd"].as_f64(), limits["dataRetentionDays"].as_i64()),
            (Some(321.0), Some(22))
        );
        assert_eq!(self.client.api_base_url(), format!("{}/v2", self.url));
        assert!(self.client.user_agent().starts_with("ApifyClient/"));
        Ok(())
    }

    pub async fn tasks(&self, plain: &Actor) -> Result<(), Error> {
        let all = self.client.tasks();
        let options = json!({ "build": "latest", "memoryMbytes": 2048, "timeoutSecs": 300 });
        let made = json!({ "actId": plain.id, "name": "rust-task", "title": "A task", "input": { "say": "from the task" }, "options": options });
        let made = all.create(&made).await?;
        assert_eq!((made.act_id.as_deref(), made.name.as_deref()), (Some(plain.id.as_str()), Some("rust-task")));
        let task = self.client.task(&made.id);
        let both = json!({ "say": "from the task", "items": [{ "n": 9 }] });
        assert_eq!(task.update_input(&json!({ "items": [{ "n": 9 }] })).await?, both);
        assert_eq!(task.get_input().await?, both);
        assert_eq!(task.update(&json!({ "title": "The task" })).await?.title.as_deref(), Some("The task"));
        assert_eq!(all.list(ListOptions::default()).await?.items[0].id, made.id);
        assert_eq!(all.iterate(ListOptions::default()).collect_all().await?[0].id, made.id);

        let started = task.start(Some(&json!({ "say": "over it" })), TaskStartOptions::default()).await?;
        assert_eq!(started.actor_task_id.as_ref(), Some(&made.id));
        self.client.run(&started.id).wait_for_finish(None).await?;
        let options = TaskStartOptions { memory_mbytes: Some(1024), ..Default::default() };
        let run = task.call(None::<&Value>, options, None).await?;
        assert_eq!((run.status.as_deref(), &run.extra["options"]["memoryMbytes"]), (Some("SUCCEEDED"), &json!(1024)));
        let output =
            task.last_run(Some("SUCCEEDED")).key_value_store().get_record("OUTPUT").await?.ok_or("a record")?;
        assert_eq!(output.json::<Value>()?, json!({ "said": "from the task", "task": made.id }));
        let by_api = LastRunOptions { origin: Some("API".to_owned()), ..Default::default() };
        assert_eq!(task.last_run_with_options(by_api).get().await?.map(|seen| seen.id).as_ref(), Some(&run.id));
        let newest = ListOptions { desc: Some(true), ..Default::default() };
        let ids: Vec<_> =
            task.runs().list(newest, RunListOptions::default()).await?.items.into_iter().map(|seen| seen.id).collect();
        assert_eq!(ids, [run.id, started.id]);
        assert_eq!(task.get().await?.ok_or("a task")?.extra["stats"]["totalRuns"], 2);

        self.client
            .actor(&plain.id)
            .update(&json!({ "isPublic": true, "title": "Plain", "categories": ["AI"] }))
            .await?;
        let shown = json!({ "seoTitle": "Find me", "seoDescription": "Words", "categorization": "AI", "inputSchemaFields": ["say"], "datasetName": "default", "datasetView": "numbers" });
        task.update(&json!({ "publicConfig": shown })).await?;
        let published = task.publish().await?;
        let seo = published.public_config.and_then(|config| config.seo_title);
        assert_eq!((published.is_public, seo.as_deref()), (Some(true), Some("Find me")));
        assert_eq!(task.unpublish().await?.is_public, Some(false));
        self.client.actor(&plain.id).update(&json!({ "isPublic": false })).await?;
        assert!(task.webhooks().list(ListOptions::default()).await?.items.is_empty());
        task.delete().await?;
        assert!(task.get().await?.is_none());
        Ok(())
    }

    pub async fn schedules(&self, plain: &Actor) -> Result<(), Error> {
        let all = self.client.schedules();
        let action = json!({ "type": "RUN_ACTOR", "actorId": plain.id });
        let made = json!({ "name": "rust-schedule", "cronExpression": "0 3 * * *", "timezone": "Europe/Prague", "isEnabled": true, "isExclusive": true, "actions": [action] });
        let made = all.create(&made).await?;
        assert_eq!(
            (made.cron_expression.as_deref(), made.is_enabled, &made.extra["timezone"]),
            (Some("0 3 * * *"), Some(true), &json!("Europe/Prague"))
        );
        assert!(made.extra["nextRunAt"].is_string());
        let schedule = self.client.schedule(&made.id);
        let often = schedule.update(&json!({ "cronExpression": "*/10 * * * * *" })).await?;
        assert_eq!(
            (often.cron_expression.as_deref(), &often.extra["actions"][0]["actorId"]),
            (Some("*/10 * * * * *"), &json!(plain.id))
        );
        assert_eq!(all.list(ListOptions::default()).await?.items[0].id, made.id);
        assert_eq!(all.iterate(ListOptions::default()).collect_all().await?[0].id, made.id);
        until(async || Ok(schedule.get_log().await?.contains("INFO").then_some(()))).await?;
        assert!(schedule.get().await?.ok_or("a schedule")?.extra["lastRunAt"].is_string());
        schedule.delete().await?;
        assert!(schedule.get().await?.is_none());
        Ok(())
    }

    pub async fn webhooks(&self, plain: &Actor) -> Result<(), Error> {
        let all = self.client.webhooks();
        // The server under test is a good enough target: this answers whatever the method.
        let url = format!("{}/v2/browser-info", self.url);
        let made =
            json!({ "eventTypes": ["ACTOR.RUN.ABORTED"], "condition": { "actorId": plain.id }, "requestUrl": url });
        let made = all.create(&made).await?;
        assert_eq!(
            (made.request_url.as_deref(), &made.event_types[..]),
            (Some(url.as_str()), &["ACTOR.RUN.ABORTED".to_owned()][..])
        );
        let webhook = self.client.webhook(&made.id);
        assert_eq!(webhook.get().await?.ok_or("a webhook")?.extra["condition"]["actorId"], plain.id.as_str());
        assert_eq!(webhook.update(&json!({ "description": "Words" })).await?.extra["description"], "Words");
        assert_eq!(all.list(ListOptions::default()).await?.items[0].id, made.id);
        assert_eq!(all.iterate(ListOptions::default()).collect_all().await?[0].id, made.id);
        assert_eq!(self.client.actor(&plain.id).webhooks().list(ListOptions::default()).await?.items[0].id, made.id);

        let tested = webhook.test().await?;
        assert_eq!((tested.webhook_id.as_ref(), &tested.extra["eventType"]), (Some(&made.id), &json!("TEST")));
        let dispatch = until(async || {
            let seen = self.client.webhook_dispatch(&tested.id).get().await?.ok_or("a dispatch")?;
            Ok((seen.extra["status"] != "ACTIVE").then_some(seen))
        });
        let dispatch = dispatch.await?;
        assert_eq!(
            (&dispatch.extra["status"], &dispatch.extra["calls"][0]["responseStatus"]),
            (&json!("SUCCEEDED"), &json!(200))
        );
        assert_eq!(webhook.dispatches().list(ListOptions::default()).await?.items[0].id, tested.id);
        assert_eq!(
            self.client.webhook_dispatches().iterate(ListOptions::default()).collect_all().await?[0].id,
            tested.id
        );
        webhook.delete().await?;
        assert!(webhook.get().await?.is_none());
        Ok(())
    }

    pub async fn what_does_not_exist(&self) -> Result<(), Error> {
        let (client, id) = (&self.client, "aB3aB3aB3aB3aB3aB");
        assert!(client.actor(id).get().await?.is_none());
        assert!(client.run(id).get().await?.is_none());
        assert!(client.build(id).get().await?.is_none());
        assert!(client.task(id).get().await?.is_none());
        assert!(client.schedule(id).get().await?.is_none());
        assert!(client.webhook(id).get().await?.is_none());
        assert!(client.webhook_dispatch(id).get().await?.is_none());
        assert!(client.dataset(id).get().await?.is_none());
        assert!(client.key_value_store(id).get().await?.is_none());
        assert!(client.request_queue(id).get().await?.is_none());
        assert!(client.log(id).get().await?.is_none());
        assert!(client.user(id).get().await?.is_none());
        Ok(())
    }
}
