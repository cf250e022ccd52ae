//! What a run finds in its environment (section 24 of the contract).

use std::collections::BTreeMap;

use model::{PermissionLevel, Run, StorageId, Timestamp};
use serde_json::{Value, json};

use crate::EngineConfig;
use crate::input_secrets::KeyForRun;

/// Port of the web server where every run has a network of its own (`WEB-1`).
pub(crate) const DEFAULT_WEB_PORT: u16 = 4321;

/// What the environment is made of besides the run itself.
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a EngineConfig,
    /// Owner and name of the Actor, unless it was deleted.
    pub(crate) actor: Option<(&'a str, &'a str)>,
    pub(crate) token: &'a str,
    pub(crate) events_secret: &'a str,
    pub(crate) proxy_password: Option<&'a str>,
    /// What opens the secrets of its input, if its Actor has any.
    pub(crate) input_key: Option<&'a KeyForRun>,
    pub(crate) port: u16,
    pub(crate) timeout_at: Option<Timestamp>,
    /// The version's own variables, opened.
    pub(crate) custom: &'a [(String, String)],
}

/// The port that the version's own variables ask for (`WEB-2`).
pub(crate) fn custom_port(custom: &[(String, String)]) -> Option<u16> {
    ["ACTOR_WEB_SERVER_PORT", "ACTOR_STANDBY_PORT"].into_iter().find_map(|wanted| {
        let (_, value) = custom.iter().find(|(name, _)| name == wanted)?;
        value.parse().ok().filter(|port| *port > 0)
    })
}

/// The whole environment: the platform's variables above the version's own (`ENV-3`), each in all of its spellings
/// (`ENV-1`), and none where there is no value (`ENV-2`).
pub(crate) fn environment(run: &Run, around: &Surroundings<'_>) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = around.custom.iter().cloned().collect();
    let mut set = |names: &[&str], value: &str| {
        for name in names {
            env.insert((*name).to_owned(), value.to_owned());
        }
    };

    set(&["ACTOR_ID", "APIFY_ACTOR_ID", "APIFY_ACT_ID"], run.actor_id.as_str());
    set(&["ACTOR_RUN_ID", "APIFY_ACTOR_RUN_ID", "APIFY_ACT_RUN_ID"], run.id.as_str());
    set(&["ACTOR_BUILD_ID", "APIFY_ACTOR_BUILD_ID"], run.build_id.as_str());
    set(&["ACTOR_BUILD_NUMBER", "APIFY_ACTOR_BUILD_NUMBER"], &run.build_number);
    if let Some((owner, name)) = around.actor {
        set(&["ACTOR_FULL_NAME"], &format!("{owner}/{name}"));
        set(&["ACTOR_STANDBY_URL"], &around.config.standby_url(owner, name));
    }
    if let Some(task) = &run.task_id {
        set(&["ACTOR_TASK_ID", "APIFY_ACTOR_TASK_ID"], task.as_str());
    }
    if !run.build_tags.is_empty() {
        set(&["ACTOR_BUILD_TAGS"], &run.build_tags.join(","));
    }

    set_storages(run, &mut set);

    let memory = run.options.memory_mbytes;
    set(&["ACTOR_MEMORY_MBYTES", "APIFY_MEMORY_MBYTES", "CRAWLEE_MEMORY_MBYTES"], &memory.to_string());
    set(&["APIFY_DEDICATED_CPUS"], &(f64::from(memory) / 4096.0).to_string());
    set(&["ACTOR_STARTED_AT", "APIFY_STARTED_AT"], &run.started_at.to_string());
    if let Some(end) = around.timeout_at {
        set(&["ACTOR_TIMEOUT_AT", "APIFY_TIMEOUT_AT"], &end.to_string());
    }

    let events = around.config.api_url.replacen("http", "ws", 1);
    let events = format!("{events}/x-events/{}/{}", run.id, around.events_secret);
    set(&["ACTOR_EVENTS_WEBSOCKET_URL", "APIFY_ACTOR_EVENTS_WS_URL"], &events);
    let port = around.port.to_string();
    set(&["ACTOR_WEB_SERVER_PORT", "APIFY_CONTAINER_PORT", "ACTOR_STANDBY_PORT"], &port);
    let container_url = around.config.container_url(&run.container_secret);
    set(&["ACTOR_WEB_SERVER_URL", "APIFY_CONTAINER_URL"], &container_url);

    if let Some(items) = run.options.max_items {
        set(&["ACTOR_MAX_PAID_DATASET_ITEMS"], &items.to_string());
    }
    if let Some(budget) = run.options.max_total_charge_usd {
        set(&["ACTOR_MAX_TOTAL_CHARGE_USD"], &budget.to_string());
    }
    if run.options.restart_on_error == Some(true) {
        set(&["ACTOR_RESTART_ON_ERROR"], "1");
    }
    let level = match run.permission_level {
        PermissionLevel::LimitedPermissions => "LIMITED_PERMISSIONS",
        PermissionLevel::FullPermissions => "FULL_PERMISSIONS",
    };
    set(&["ACTOR_PERMISSION_LEVEL"], level);

    set(&["APIFY_IS_AT_HOME", "APIFY_HEADLESS", "APIFY_USER_IS_PAYING"], "1");
    set(&["APIFY_TOKEN"], around.token);
    set(&["APIFY_USER_ID"], run.user_id.as_str());
    // Actors in the wild write `${apiBaseUrl}v2/...`, while the clients strip the slash (HTTP-2).
    set(&["APIFY_API_BASE_URL"], &format!("{}/", around.config.api_url));
    set(&["APIFY_API_PUBLIC_BASE_URL"], &around.config.public_url);
    set(&["APIFY_META_ORIGIN"], run.meta.origin.as_str());
    if let Some(key) = &run.workflow_key {
        set(&["APIFY_WORKFLOW_KEY"], key);
    }
    if let (Some(proxy), Some(password)) = (&around.config.proxy, around.proxy_password) {
        set(&["APIFY_PROXY_PASSWORD"], password);
        set(&["APIFY_PROXY_HOSTNAME"], &proxy.host);
        set(&["APIFY_PROXY_PORT"], &proxy.port.to_string());
        set(&["APIFY_PROXY_STATUS_URL"], "http://proxy.playhouse.internal");
    }

    if let Some(key) = around.input_key {
        // What is called a file is the key itself (INP-25).
        set(&["APIFY_INPUT_SECRETS_PRIVATE_KEY_FILE"], &key.file);
        set(&["APIFY_INPUT_SECRETS_PRIVATE_KEY_PASSPHRASE"], &key.passphrase);
    }

    // Both are new with every life, so the SDKs need not ask (CHG-11).
    let pricing = run.pricing_info.as_ref().and_then(|pricing| serde_json::to_string(pricing).ok());
    set(&["APIFY_ACTOR_PRICING_INFO"], pricing.as_deref().unwrap_or("{}"));
    set(&["APIFY_CHARGED_ACTOR_EVENT_COUNTS"], &json!(run.charged_event_counts).to_string());
    env
}

fn set_storages(run: &Run, set: &mut impl FnMut(&[&str], &str)) {
    let storages = &run.storages;
    set(&["ACTOR_DEFAULT_KEY_VALUE_STORE_ID", "APIFY_DEFAULT_KEY_VALUE_STORE_ID"], storages.key_value_store.as_str());
    set(&["ACTOR_DEFAULT_DATASET_ID", "APIFY_DEFAULT_DATASET_ID"], storages.dataset.as_str());
    set(&["ACTOR_DEFAULT_REQUEST_QUEUE_ID", "APIFY_DEFAULT_REQUEST_QUEUE_ID"], storages.request_queue.as_str());
    let only = |id: &StorageId| json!({ "default": id });
    let mut datasets = only(&storages.dataset);
    for (alias, id) in &storages.aliased_datasets {
        datasets[alias] = Value::String(id.to_string());
    }
    let all = json!({
        "keyValueStores": only(&storages.key_value_store),
        "datasets": datasets,
        "requestQueues": only(&storages.request_queue),
    });
    set(&["ACTOR_STORAGES_JSON"], &all.to_string());
    set(&["ACTOR_INPUT_KEY", "APIFY_INPUT_KEY", "CRAWLEE_INPUT_KEY"], &run.input_key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::a_run;

    fn around<'a>(config: &'a EngineConfig, custom: &'a [(String, String)]) -> Surroundings<'a> {
        Surroundings {
            config,
            actor: Some(("ada", "my-actor")),
            token: "token",
            events_secret: "secret",
            proxy_password: None,
            input_key: None,
            port: 40_000,
            timeout_at: None,
            custom,
        }
    }

    #[test]
    fn the_platforms_variables_win_over_the_versions_own() {
        let config = EngineConfig::default();
        let custom = [("ACTOR_ID".to_owned(), "mine".to_owned()), ("GREETING".to_owned(), "hello".to_owned())];
        let run = a_run();

        let env = environment(&run, &around(&config, &custom));

        assert_eq!(env["ACTOR_ID"], run.actor_id.as_str());
        assert_eq!(env["GREETING"], "hello");
    }

    #[test]
    fn both_spellings_have_the_same_value_and_nothing_is_empty() {
        let config = EngineConfig { proxy: Some(crate::ProxyEnv { host: "h".into(), port: 1 }), ..Default::default() };
        let mut run = a_run();
        run.options.max_total_charge_usd = Some(0.5);
        run.build_tags = vec!["latest".into(), "beta".into()];
        let end = Timestamp::from_millis(1_788_167_605_123);

        let env = environment(
            &run,
            &Surroundings { timeout_at: Some(end), proxy_password: Some("p"), ..around(&config, &[]) },
        );

        for (actor, apify) in [
            ("ACTOR_ID", "APIFY_ACT_ID"),
            ("ACTOR_RUN_ID", "APIFY_ACT_RUN_ID"),
            ("ACTOR_BUILD_ID", "APIFY_ACTOR_BUILD_ID"),
            ("ACTOR_DEFAULT_DATASET_ID", "APIFY_DEFAULT_DATASET_ID"),
            ("ACTOR_INPUT_KEY", "APIFY_INPUT_KEY"),
            ("ACTOR_MEMORY_MBYTES", "APIFY_MEMORY_MBYTES"),
            ("ACTOR_STARTED_AT", "APIFY_STARTED_AT"),
            ("ACTOR_TIMEOUT_AT", "APIFY_TIMEOUT_AT"),
            ("ACTOR_EVENTS_WEBSOCKET_URL", "APIFY_ACTOR_EVENTS_WS_URL"),
            ("ACTOR_WEB_SERVER_PORT", "APIFY_CONTAINER_PORT"),
            ("ACTOR_WEB_SERVER_URL", "APIFY_CONTAINER_URL"),
        ] {
            assert_eq!(env[actor], env[apify], "{actor}");
        }
        assert!(env.values().all(|value| !value.is_empty()));
        assert!(!env.contains_key("ACTOR_TASK_ID"));
        assert_eq!(env["ACTOR_TIMEOUT_AT"], "2026-08-31T09:13:25.123Z");
        assert_eq!(env["ACTOR_BUILD_TAGS"], "latest,beta");
        assert_eq!(env["APIFY_DEDICATED_CPUS"], "0.25");
        assert_eq!(env["ACTOR_MAX_TOTAL_CHARGE_USD"], "0.5");
        assert_eq!(env["APIFY_API_BASE_URL"], "http://127.0.0.1:3333/");
        assert!(env["ACTOR_EVENTS_WEBSOCKET_URL"].starts_with("ws://127.0.0.1:3333/x-events/"));
        assert_eq!(env["APIFY_ACTOR_PRICING_INFO"], "{}");
        assert_eq!(env["APIFY_PROXY_PORT"], "1");
    }

    #[test]
    fn only_the_port_may_be_set_by_the_version() {
        let port = |name: &str, value: &str| custom_port(&[(name.to_owned(), value.to_owned())]);

        assert_eq!(port("ACTOR_WEB_SERVER_PORT", "8080"), Some(8080));
        assert_eq!(port("ACTOR_STANDBY_PORT", "8081"), Some(8081));
        for bad in ["0", "65536", "-1", "http", ""] {
            assert_eq!(port("ACTOR_WEB_SERVER_PORT", bad), None, "{bad}");
        }
    }
}
