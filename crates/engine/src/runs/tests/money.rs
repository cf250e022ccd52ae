//! What runs use and cost.

use std::time::Duration;

use model::pricing::PricingInfo;
use model::{EndCause, JobStatus, Run, Storage, StorageId};
use serde_json::json;

use crate::testing::{TestEngine, start};
use crate::{EngineError, RunOptionsGiven};

/// Starts a run of an Actor that is paid per event.
async fn paid_run(test: &TestEngine, budget: Option<f64>, memory: i64) -> std::sync::Arc<Run> {
    let mut actor = (*test.actor).clone();
    let event = |price: f64| json!({ "eventTitle": "An event", "eventPriceUsd": price });
    let pricing = json!({
        "pricingModel": "PAY_PER_EVENT", "createdAt": "2020-01-01T00:00:00Z", "startedAt": "2020-01-01T00:00:00Z",
        "pricingPerEvent": { "actorChargeEvents": {
            "page": event(0.25),
            "apify-actor-start": event(0.01),
            "apify-default-dataset-item": event(0.001),
            "once": { "eventTitle": "Once", "eventPriceUsd": 0.1, "isOneTimeEvent": true },
            "tiered": { "eventTitle": "Tiered", "eventTieredPricingUsd": { "FREE": { "tieredEventPriceUsd": 0.5 } } },
        } },
    });
    actor.pricing_infos = vec![serde_json::from_value::<PricingInfo>(pricing).unwrap()];
    let given =
        RunOptionsGiven { max_total_charge_usd: budget, memory_mbytes: Some(memory), ..RunOptionsGiven::default() };
    let run = test.engine.start_run(&test.ada, &actor, start(given)).await.unwrap();
    test.started(&run.id, 1).await
}

#[tokio::test(start_paused = true)]
async fn a_paid_run_carries_its_prices_and_is_charged_for_its_start() {
    let test = TestEngine::start().await;

    for (memory, starts) in [(512, 1), (1024, 1), (4096, 4)] {
        let run = paid_run(&test, None, memory).await;

        let counts = &run.charged_event_counts;
        assert_eq!(counts["apify-actor-start"], starts, "CHG-8");
        assert_eq!((counts["page"], counts["apify-default-dataset-item"]), (0, 0));
        let events = run.pricing_info.as_ref().and_then(PricingInfo::events).unwrap();
        assert_eq!(events["tiered"].event_price_usd, Some(0.5), "CHG-9");
        assert!(!events["tiered"].rest.contains_key("eventTieredPricingUsd"));
        let env = test.driver.started(run.id.as_str()).await.env;
        assert!(env["APIFY_CHARGED_ACTOR_EVENT_COUNTS"].contains("\"page\":0"), "CHG-11");
        test.exit(&run.id, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn charges_are_counted_once_for_each_key() {
    let test = TestEngine::start().await;
    let run = paid_run(&test, None, 1024).await;
    let count = async || test.stored(&run.id).await.charged_event_counts["page"];

    test.engine.charge_run(&run.id, "page", 2, "a").await.unwrap();
    test.engine.charge_run(&run.id, "page", 2, "a").await.unwrap();
    assert_eq!(count().await, 2, "CHG-3");
    test.engine.charge_run(&run.id, "page", 1, "b").await.unwrap();
    assert_eq!(count().await, 3);
    tokio::time::sleep(Duration::from_secs(181)).await;
    test.engine.charge_run(&run.id, "page", 2, "a").await.unwrap();
    assert_eq!(count().await, 5);

    test.exit(&run.id, 0);
    test.ended(&run.id).await;
    test.engine.charge_run(&run.id, "page", 1, "late").await.unwrap();
    assert_eq!(count().await, 6, "CHG-7");
    assert!((test.stored(&run.id).await.charged_usd() - (6.0 * 0.25 + 0.01)).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_happens_once_is_charged_once() {
    let test = TestEngine::start().await;
    let run = paid_run(&test, None, 1024).await;

    test.engine.charge_run(&run.id, "once", 3, "a").await.unwrap();
    test.engine.charge_run(&run.id, "once", 1, "b").await.unwrap();

    assert_eq!(test.stored(&run.id).await.charged_event_counts["once"], 1, "CHG-9");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_the_start_uses_up_ends_the_run() {
    let test = TestEngine::start().await;

    let run = paid_run(&test, Some(0.01), 1024).await;
    let run = test.ended(&run.id).await;

    assert_eq!((run.status, run.end_cause), (JobStatus::Aborted, Some(EndCause::ChargeLimit)), "CHG-10");
}

#[test]
fn tiers_are_resolved_whatever_is_paid_for() {
    let pricing: PricingInfo = serde_json::from_value(json!({
        "pricingModel": "PRICE_PER_DATASET_ITEM", "unitName": "item",
        "createdAt": "2020-01-01T00:00:00Z", "startedAt": "2020-01-01T00:00:00Z",
        "tieredPricing": { "BRONZE": { "tieredPricePerUnitUsd": 1 }, "FREE": { "tieredPricePerUnitUsd": 2 } },
    }))
    .unwrap();

    let snapshot = crate::runs::charge::snapshot(&pricing);

    assert_eq!(
        (snapshot.rest["pricePerUnitUsd"].as_f64(), snapshot.rest.get("tieredPricing")),
        (Some(2.0), None),
        "CHG-9"
    );
}

#[tokio::test(start_paused = true)]
async fn charges_that_make_no_sense_are_refused() {
    let test = TestEngine::start().await;
    let paid = paid_run(&test, None, 1024).await;
    let free = test.run().await;

    let refused = async |run: &Run, event: &str, count: u64, key: &str| {
        test.engine.charge_run(&run.id, event, count, key).await.unwrap_err()
    };
    assert!(matches!(refused(&free, "apify-x", 0, "").await, EngineError::SystemEvent(_)), "CHG-6: checked first");
    assert!(matches!(refused(&free, "page", 1, "k").await, EngineError::NotPayPerEvent), "CHG-6");
    assert!(matches!(refused(&paid, "nope", 1, "k").await, EngineError::NoSuchEvent(name) if name == "nope"), "CHG-5");
    for (event, count, key) in [("page", 0, "k"), ("page", 10_000_001, "k"), ("page", 1, " "), ("", 1, "k")] {
        assert!(matches!(refused(&paid, event, count, key).await, EngineError::InvalidCharge(_)), "CHG-4");
    }
    assert_eq!(test.stored(&paid.id).await.charged_event_counts["page"], 0);
}

#[tokio::test(start_paused = true)]
async fn reaching_the_budget_aborts_gracefully_and_later_charges_count() {
    let test = TestEngine::start().await;
    let run = paid_run(&test, Some(1.0), 1024).await;

    test.engine.charge_run(&run.id, "page", 3, "a").await.unwrap();
    assert_eq!(test.stored(&run.id).await.status, JobStatus::Running);
    test.engine.charge_run(&run.id, "page", 1, "b").await.unwrap();
    assert_eq!(test.stored(&run.id).await.status, JobStatus::Aborting, "CHG-10");
    test.engine.charge_run(&run.id, "page", 1, "c").await.unwrap();
    let run = test.ended(&run.id).await;

    assert_eq!((run.status, run.end_cause), (JobStatus::Aborted, Some(EndCause::ChargeLimit)));
    assert_eq!(run.charged_event_counts["page"], 5);
    assert_eq!(run.status_message.as_deref(), Some("Actor run was aborted, since it reached its charge limit."));
}

#[tokio::test(start_paused = true)]
async fn items_of_the_default_dataset_are_charged_by_the_server() {
    let test = TestEngine::start().await;
    let run = paid_run(&test, None, 1024).await;
    let storages = &test.engine.store().storages;
    let dataset = storages.get(&run.storages.dataset).await.unwrap().unwrap();
    let other = Storage { id: StorageId::parse("aaaaaaaaaaaaaaaaa").unwrap(), ..(*dataset).clone() };

    test.engine.charge_items(&dataset, 7).await.unwrap();
    test.engine.charge_items(&other, 5).await.unwrap();

    assert_eq!(test.stored(&run.id).await.charged_event_counts["apify-default-dataset-item"], 7, "CHG-8");
}

#[tokio::test(start_paused = true)]
async fn usage_is_written_down_now_and_then_and_at_the_end() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;

    test.engine.meter(&run.id, |usage| usage.dataset_writes += 3);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(test.stored(&run.id).await.usage.dataset_writes, 3);
    test.engine.meter(&run.id, |usage| usage.dataset_writes += 1);
    test.exit(&run.id, 0);
    let ended = test.ended(&run.id).await;

    assert_eq!(ended.usage.dataset_writes, 4);
    assert!((ended.usage.actor_compute_units - ended.stats.compute_units).abs() < 1e-12);
    assert!(ended.stats.compute_units > 0.0, "RUN-9");
    test.engine.meter(&run.id, |usage| usage.request_queue_reads += 1);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(test.stored(&run.id).await.usage.request_queue_reads, 1, "late metering counts");
}

#[tokio::test(start_paused = true)]
async fn what_was_metered_survives_a_shutdown() {
    let mut test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.engine.meter(&run.id, |usage| usage.key_value_store_reads += 2);

    test.engine.shutdown().await;
    test.crash().await;

    assert_eq!(test.stored(&run.id).await.usage.key_value_store_reads, 2);
    test.exit(&run.id, 0);
    assert_eq!(test.ended(&run.id).await.status, JobStatus::Succeeded, "it went on without the server");
}
