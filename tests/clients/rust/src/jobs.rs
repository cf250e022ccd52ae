//! Actors, their versions and builds, and runs.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apify_client::clients::run::RunClient;
use apify_client::models::{Actor, ActorEnvVar, ActorRun, ActorVersion};
use apify_client::{
    ActorBuildOptions, ActorCallOptions, ActorListOptions, ActorStartOptions, ApifyClient, ApifyClientError,
    LastRunOptions, ListOptions, LogOptions, LogRedirect, RunChargeOptions, RunListOptions, RunMetamorphOptions,
    RunResurrectOptions, StoreListOptions, StreamedLogOptions,
};
use serde_json::{Value, json};

use crate::storages::joined;
use crate::{Error, Walk, until};

impl Walk {
    pub async fn actors(&self) -> Result<(), Error> {
        let all = self.client.actors();
        let version = json!({ "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "sourceFiles": [] });
        let made = all.create(&json!({ "name": "rust-made", "title": "Made", "versions": [version] })).await?;
        assert_eq!(
            (made.name.as_deref(), made.title.as_deref(), made.is_public),
            (Some("rust-made"), Some("Made"), Some(false))
        );
        let actor = self.client.actor("playhouse/rust-made");
        let seen = actor.get().await?.ok_or("an Actor")?;
        assert_eq!((&seen.id, &seen.extra["versions"][0]["versionNumber"]), (&made.id, &json!("0.0")));
        assert_eq!(self.client.actor(&made.id).id(), made.id);

        let changes = json!({ "title": "A crawler of okapis", "isPublic": true, "categories": ["AI"] });
        let changed = actor.update(&changes).await?;
        assert_eq!((changed.title.as_deref(), changed.is_public), (Some("A crawler of okapis"), Some(true)));
        let mine = ActorListOptions { my: Some(true), desc: Some(true), limit: Some(1), ..Default::default() };
        let page = all.list(mine).await?;
        assert_eq!((page.items[0].id.as_str(), page.limit, page.count), (made.id.as_str(), 1, 1));
        let iterated = all.iterate(ActorListOptions::default()).with_chunk_size(1).collect_all().await?;
        assert!(iterated.iter().any(|seen| seen.id == made.id));

        let search = || StoreListOptions { search: Some("crawler of okapis".to_owned()), ..Default::default() };
        let found = self.client.store().list(search()).await?;
        assert_eq!(
            (found.items[0].id.as_str(), found.items[0].username.as_deref()),
            (made.id.as_str(), Some("playhouse"))
        );
        let first = self.client.store().iterate(search()).next().await?;
        assert_eq!(first.map(|seen| seen.id).as_deref(), Some(made.id.as_str()));
        actor.delete().await?;
        assert!(actor.get().await?.is_none());
        Ok(())
    }

    pub async fn versions(&self, plain: &Actor) -> Result<(), Error> {
        let versions = self.client.actor(&plain.id).versions();
        let files = json!([{ "name": "main.js", "format": "TEXT", "content": "// nothing" }]);
        let made =
            json!({ "versionNumber": "0.1", "sourceType": "SOURCE_FILES", "buildTag": "beta", "sourceFiles": files });
        let made = versions.create(&made).await?;
        assert_eq!((made.version_number.as_str(), &made.extra["buildTag"]), ("0.1", &json!("beta")));
        let numbers = |seen: Vec<ActorVersion>| seen.into_iter().map(|one| one.version_number).collect::<Vec<_>>();
        assert_eq!(numbers(versions.list().await?.items), ["0.0", "0.1"]);
        assert_eq!(numbers(versions.iterate().collect_all().await?), ["0.0", "0.1"]);
        let version = self.client.actor(&plain.id).version("0.1");
        assert_eq!(version.update(&json!({ "buildTag": "gamma" })).await?.extra["buildTag"], "gamma");
        assert_eq!(version.get().await?.ok_or("a version")?.extra["buildTag"], "gamma");

        let secret = version.env_vars().create(&variable("SECRET", "hush", true)).await?;
        assert_eq!((secret.name.as_str(), secret.value, secret.is_secret), ("SECRET", None, Some(true)));
        version.env_vars().create(&variable("A", "1", false)).await?;
        assert_eq!(version.env_var("A").update(&variable("A", "2", false)).await?.value.as_deref(), Some("2"));
        assert_eq!(version.env_var("A").get().await?.and_then(|seen| seen.value).as_deref(), Some("2"));
        let names = |seen: Vec<ActorEnvVar>| {
            let mut names: Vec<_> = seen.into_iter().map(|one| one.name).collect();
            names.sort();
            names
        };
        assert_eq!(names(version.env_vars().list().await?.items), ["A", "SECRET"]);
        assert_eq!(names(version.env_vars().iterate().collect_all().await?), ["A", "SECRET"]);
        version.env_var("SECRET").delete().await?;
        assert!(version.env_var("SECRET").get().await?.is_none());
        version.delete().await?;
        assert!(version.get().await?.is_none());
        Ok(())
    }

    pub async fn builds(&self, plain: &Actor) -> Result<(), Error> {
        let actor = self.client.actor(&plain.id);
        let options = ActorBuildOptions { tag: Some("second".to_owned()), use_cache: Some(true), ..Default::default() };
        let started = actor.build("0.0", options).await?;
        assert_eq!(
            (started.act_id.as_deref(), &started.extra["meta"]["origin"]),
            (Some(plain.id.as_str()), &json!("API"))
        );
        let build = self.client.build(&started.id);
        let ended = build.wait_for_finish(None).await?;
        assert_eq!((ended.status.as_deref(), ended.build_number), (Some("SUCCEEDED"), started.build_number));
        assert_eq!(build.get().await?.ok_or("a build")?.extra["actorDefinition"]["name"], "plain");
        assert!(build.log().get().await?.ok_or("a log")?.contains("Z ACTOR: Build finished."));
        assert_eq!(build.get_openapi_definition().await?["info"]["x-build-id"], started.id.as_str());
        let fallback = actor.default_build(None).await?.get().await?.ok_or("a build")?;
        assert_eq!(fallback.build_number.as_deref(), Some("0.0.1"));

        let newest = || ListOptions { desc: Some(true), limit: Some(1), ..Default::default() };
        assert_eq!(actor.builds().list(newest()).await?.items[0].id, started.id);
        let iterated =
            self.client.builds().iterate(ListOptions { desc: Some(true), ..Default::default() }).collect_all().await?;
        assert!(iterated.iter().any(|seen| seen.id == started.id));
        assert_eq!(build.abort().await?.status.as_deref(), Some("SUCCEEDED"), "what has ended stays as it is");
        build.delete().await?;
        assert!(build.get().await?.is_none());
        Ok(())
    }

    pub async fn runs(&self, plain: &Actor) -> Result<(), Error> {
        let actor = self.client.actor(&plain.id);
        assert_eq!(actor.validate_input(&json!({ "say": "well" })).await?, json!({ "valid": true }));
        let refused = actor.validate_input_for_build(&json!({ "say": 5 }), Some("latest")).await;
        let Err(ApifyClientError::Api(error)) = refused else { panic!("{refused:?}") };
        assert_eq!((error.status_code, error.error_type.as_deref()), (400, Some("invalid-input")));

        let options =
            || ActorStartOptions { memory_mbytes: Some(2048), run_timeout_secs: Some(200), ..Default::default() };
        let started = actor.start(Some(&json!({ "say": "started" })), options()).await?;
        assert_eq!(
            (&started.extra["options"]["memoryMbytes"], &started.extra["options"]["timeoutSecs"]),
            (&json!(2048), &json!(200))
        );
        let ended = self.client.run(&started.id).wait_for_finish(None).await?;
        assert_eq!(
            (ended.status.as_deref(), &ended.extra["exitCode"], ended.is_terminal()),
            (Some("SUCCEEDED"), &json!(0), true)
        );
        let raw = ActorStartOptions { content_type: Some("application/json".to_owned()), ..options() };
        let second = actor.start_raw(br#"{"say":"raw"}"#, raw.clone()).await?;
        assert_eq!(self.client.run(&second.id).wait_for_finish(None).await?.status.as_deref(), Some("SUCCEEDED"));
        let call = |start| ActorCallOptions { start, log: LogRedirect::Disabled, ..Default::default() };
        let third =
            actor.call(Some(&json!({ "say": "called", "items": [{ "n": 1 }, { "n": 2 }] })), call(options())).await?;
        assert_eq!((third.status.as_deref(), &third.extra["meta"]["origin"]), (Some("SUCCEEDED"), &json!("API")));
        let last = actor.call_raw(br#"{"say":"words for the log"}"#, call(raw)).await?;
        assert_eq!(last.status.as_deref(), Some("SUCCEEDED"));

        let of_last = |seen: Option<ActorRun>| seen.map(|run| run.id);
        assert_eq!(of_last(actor.last_run(Some("SUCCEEDED")).get().await?).as_ref(), Some(&last.id));
        let by_api = LastRunOptions { origin: Some("API".to_owned()), ..Default::default() };
        assert_eq!(of_last(actor.last_run_with_options(by_api).get().await?).as_ref(), Some(&last.id));
        let newest = || ListOptions { desc: Some(true), limit: Some(2), ..Default::default() };
        let ids = |seen: Vec<ActorRun>| seen.into_iter().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(
            ids(actor.runs().list(newest(), RunListOptions::default()).await?.items),
            [last.id.clone(), third.id.clone()]
        );
        let succeeded = RunListOptions { status: vec!["SUCCEEDED".to_owned()], ..Default::default() };
        assert_eq!(
            ids(self.client.runs().iterate(newest(), succeeded).collect_all().await?),
            [last.id.clone(), third.id.clone()]
        );
        let before =
            RunListOptions { started_before: Some("2020-01-01T00:00:00.000Z".to_owned()), ..Default::default() };
        assert!(self.client.runs().list(newest(), before).await?.items.is_empty());

        let run = self.client.run(&last.id);
        assert_eq!(run.dataset().list_items::<Value>(Default::default()).await?.items, [json!({ "n": 1 })]);
        let items = self.client.run(&third.id).iterate_dataset_items::<Value>(Default::default());
        let items = items.with_chunk_size(1).with_poll_interval(Duration::from_millis(100)).collect_all().await?;
        assert_eq!(items, [json!({ "n": 1 }), json!({ "n": 2 })]);
        let output = run.key_value_store().get_record("OUTPUT").await?.ok_or("a record")?;
        assert_eq!(output.json::<Value>()?["said"], "words for the log");
        assert_eq!(run.request_queue().get().await?.and_then(|queue| queue.total_request_count), Some(0));
        let log = self.client.log(&last.id);
        let words = "Z words for the log\n";
        assert!(log.get().await?.ok_or("a log")?.contains(words));
        let raw = LogOptions { raw: Some(true), ..Default::default() };
        assert!(log.get_with_options(raw.clone()).await?.ok_or("a log")?.contains(words));
        assert!(String::from_utf8(log.get_bytes().await?.ok_or("a log")?)?.contains(words));
        assert!(String::from_utf8(log.get_bytes_with_options(raw.clone()).await?.ok_or("a log")?)?.contains(words));
        assert!(String::from_utf8(joined(log.stream().await?.ok_or("a log")?).await?)?.contains(words));
        assert!(
            String::from_utf8(joined(run.log().stream_with_options(raw).await?.ok_or("a log")?).await?)?
                .contains(words)
        );
        Ok(())
    }

    pub async fn a_run_under_way(&self, plain: &Actor) -> Result<(), Error> {
        let priced = self.given_actor("rust-priced").await?;
        let event = json!({ "eventTitle": "Page", "eventDescription": "One page", "eventPriceUsd": 0.5 });
        let pricing = json!({
            "pricingModel": "PAY_PER_EVENT",
            "apifyMarginPercentage": 0,
            "createdAt": "2020-01-01T00:00:00.000Z",
            "startedAt": "2020-01-01T00:00:00.000Z",
            "pricingPerEvent": { "actorChargeEvents": { "page": event } },
        });
        self.client.actor(&priced.id).update(&json!({ "pricingInfos": [pricing] })).await?;
        let input = json!({ "say": "first", "wait": true });
        let started = self.client.actor(&priced.id).start(Some(&input), Default::default()).await?;
        let run = self.client.run(&started.id);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        let sink = LogRedirect::to_sink(move |line: &str| heard.lock().expect("whole").push(line.to_owned()));
        let options = StreamedLogOptions { to_log: sink, ..Default::default() };
        let mut followed = run.get_streamed_log(options).await?.ok_or("a log")?;
        followed.start()?;

        let token = until(async || Ok(run.key_value_store().get_record("TOKEN").await?)).await?;
        let token = token.json::<Value>()?["token"].as_str().unwrap_or_default().to_owned();
        let itself = ApifyClient::builder().base_url(&self.url).token(&token).build();
        let charge = RunChargeOptions { event_name: "page".to_owned(), count: Some(2), ..Default::default() };
        itself.run(&started.id).charge(charge).await?;
        assert_eq!(run.get().await?.ok_or("a run")?.extra["chargedEventCounts"], json!({ "page": 2 }));
        let told = run.update(&json!({ "statusMessage": "Half way" })).await?;
        assert_eq!(told.status_message.as_deref(), Some("Half way"));
        let mut inside = Command::new(std::env::current_exe()?);
        inside.args([&self.url, &token, "From inside"]).env("ACTOR_RUN_ID", &started.id);
        assert_eq!(String::from_utf8(inside.output()?.stdout)?, "From inside\n");

        assert_eq!(run.reboot().await?.status.as_deref(), Some("RUNNING"));
        until(async || Ok((run.get().await?.ok_or("a run")?.extra["stats"]["rebootCount"] == 1).then_some(()))).await?;
        let input = json!({ "say": "second", "wait": true });
        assert_eq!(run.metamorph(&plain.id, Some(&input), Default::default()).await?.id, started.id);
        until(async || says(&run, "second").await).await?;
        let options = RunMetamorphOptions { content_type: Some("application/json".to_owned()), ..Default::default() };
        run.metamorph_raw(&plain.id, br#"{"say":"third","wait":true}"#, options).await?;
        until(async || says(&run, "third").await).await?;
        assert!(run.abort(None).await?.status.is_some_and(|status| status.starts_with("ABORT")));
        let ended = run.wait_for_finish(None).await?;
        assert_eq!(
            (ended.status.as_deref(), ended.extra["metamorphs"].as_array().map(Vec::len)),
            (Some("ABORTED"), Some(2))
        );
        followed.stop().await?;
        let lines = lines.lock().expect("whole").join("\n");
        assert!(lines.contains("Z first") && lines.contains("Z third"), "{lines}");

        let options =
            RunResurrectOptions { memory_mbytes: Some(2048), run_timeout_secs: Some(100), ..Default::default() };
        let again = run.resurrect(options).await?;
        assert_eq!(
            (&again.extra["options"]["memoryMbytes"], &again.extra["stats"]["resurrectCount"]),
            (&json!(2048), &json!(1))
        );
        run.abort(Some(false)).await?;
        run.wait_for_finish(None).await?;
        run.delete().await?;
        assert!(run.get().await?.is_none());
        Ok(())
    }
}

fn variable(name: &str, value: &str, is_secret: bool) -> ActorEnvVar {
    serde_json::from_value(json!({ "name": name, "value": value, "isSecret": is_secret })).expect("a variable")
}

/// Whether a run has said these words in its output.
async fn says(run: &RunClient, words: &str) -> Result<Option<()>, Error> {
    let output = run.key_value_store().get_record("OUTPUT").await?;
    let output = output.map(|record| record.json::<Value>()).transpose()?;
    Ok(output.is_some_and(|output| output["said"] == words).then_some(()))
}
