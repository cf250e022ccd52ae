//! What is sent when, and what becomes of it; time stands still.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{
    Build, Call, Dispatch, DispatchId, DispatchStatus, Page, Run, Timestamp, Webhook, WebhookCondition, WebhookEvent,
    WebhookId, WebhookSettings, webhook_signature,
};
use serde_json::{Value, json};
use store::{DispatchFilter, Store};

use crate::testing::{START, TestEngine, start};
use crate::webhooks::{Parcel, Receipt, Resources};
use crate::{AdHocWebhook, EngineConfig, RunOptionsGiven};

const URL: &str = "http://target/";

/// Shows hardly anything.
struct Plain;

#[async_trait]
impl Resources for Plain {
    async fn run(&self, run: &Run, at: Timestamp) -> anyhow::Result<Value> {
        Ok(json!({ "id": run.id, "status": run.status, "at": at }))
    }

    async fn build(&self, build: &Build) -> anyhow::Result<Value> {
        Ok(json!({ "id": build.id, "status": build.status, "readme": "x".repeat(2000) }))
    }
}

fn settings(url: &str, events: &[WebhookEvent]) -> WebhookSettings {
    WebhookSettings {
        event_types: events.to_vec(),
        request_url: url.to_owned(),
        payload_template: None,
        headers_template: None,
        should_interpolate_strings: false,
        ignore_ssl_errors: false,
        do_not_retry: false,
        description: None,
        is_apify_integration: false,
        secret: None,
        is_limited: false,
    }
}

impl TestEngine {
    async fn delivering() -> Self {
        let test = Self::start().await;
        test.engine.deliver_webhooks(Arc::new(Plain));
        test
    }

    /// Makes a webhook for the Actor.
    async fn hooked(&self, settings: WebhookSettings) -> WebhookId {
        let webhook = Webhook {
            id: WebhookId::random(self.engine.random()),
            user_id: self.ada.user.id,
            created_at: START,
            modified_at: START,
            is_ad_hoc: false,
            condition: WebhookCondition { actor_id: Some(self.actor.id), ..WebhookCondition::default() },
            idempotency_key: None,
            token_id: None,
            settings,
        };
        self.store().webhooks.create(webhook).await.unwrap().id
    }

    fn store(&self) -> &Store {
        self.engine.store()
    }

    async fn dispatches(&self) -> Vec<Dispatch> {
        let filter = DispatchFilter::OfUser(self.ada.user.id);
        self.store().webhooks.dispatches(filter, Page::default()).await.unwrap().items
    }

    /// Waits until all dispatches are as the test wants them.
    async fn until_dispatches(&self, are_so: impl Fn(&[Dispatch]) -> bool) -> Vec<Dispatch> {
        // Longer from time to time, since days may pass.
        let mut pause = Duration::from_millis(1);
        loop {
            let dispatches = self.dispatches().await;
            if are_so(&dispatches) {
                return dispatches;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(60));
        }
    }

    async fn until_ended(&self, count: usize) -> Vec<Dispatch> {
        self.until_dispatches(|all| {
            all.len() == count && all.iter().all(|dispatch| dispatch.status != DispatchStatus::Active)
        })
        .await
    }
}

fn answer(status: u16) -> Option<Receipt> {
    Some(Receipt { status: Some(status), body: Some("said".to_owned()), error: None })
}

fn header<'a>(parcel: &'a Parcel, name: &str) -> &'a str {
    parcel.marks.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value)
}

fn payload(parcel: &Parcel) -> Value {
    serde_json::from_slice(&parcel.body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_sent_with_what_it_happened_to() {
    let test = TestEngine::delivering().await;
    test.hooked(settings(URL, &[WebhookEvent::RunCreated, WebhookEvent::RunSucceeded])).await;

    let run = test.running(RunOptionsGiven::default()).await;
    test.exit(&run.id, 0);
    let ended = test.ended(&run.id).await;
    let sent = test.courier.until_sent(2).await;
    let dispatches = test.until_ended(2).await;

    let payloads: Vec<Value> = sent.iter().map(payload).collect();
    let events: Vec<_> = payloads.iter().map(|payload| payload["eventType"].as_str().unwrap()).collect();
    assert_eq!(events, ["ACTOR.RUN.CREATED", "ACTOR.RUN.SUCCEEDED"]);
    assert_eq!(payloads[0]["resource"]["status"], "READY", "as it was then");
    let data = json!({ "actorId": test.actor.id, "actorRunId": run.id });
    let expected = json!({
        "userId": test.ada.user.id, "createdAt": ended.finished_at, "eventType": "ACTOR.RUN.SUCCEEDED", "eventData": data,
        "resource": { "id": run.id, "status": "SUCCEEDED", "at": ended.finished_at },
    });
    assert_eq!(payloads[1], expected);
    assert_eq!(header(&sent[1], "content-type"), "application/json");
    // Of two that were made at the same moment either may be listed first.
    let told = header(&sent[1], "x-apify-webhook-dispatch-id");
    let dispatch = dispatches.iter().find(|dispatch| dispatch.id.as_str() == told).unwrap();
    assert_eq!((header(&sent[1], "x-apify-webhook"), header(&sent[1], "x-apify-request-origin")), ("1", "WEBHOOK"));
    assert_eq!(header(&sent[1], "webhook-signature"), "", "there is no secret");
    let call = &dispatch.calls[0];
    assert_eq!(
        (call.response_status, call.response_body.as_deref(), &call.error_message),
        (Some(200), Some("ok"), &None)
    );
    assert_eq!(dispatch.status, DispatchStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn webhooks_of_a_run_hear_of_that_run_alone() {
    let test = TestEngine::delivering().await;
    let webhook = AdHocWebhook { idempotency_key: None, settings: settings(URL, &[WebhookEvent::RunAborted]) };
    let with = crate::StartRun { webhooks: vec![webhook], ..start(RunOptionsGiven::default()) };
    let run = test.engine.start_run(&test.ada, &test.actor, with).await.unwrap();
    let other = test.run().await;

    for id in [&run.id, &other.id] {
        test.engine.abort_run(&test.ada, id, false).await.unwrap();
    }

    let sent = test.courier.until_sent(1).await;
    test.until_ended(1).await;
    assert_eq!(payload(&sent[0])["eventData"]["actorRunId"], json!(run.id));
    assert_eq!(test.courier.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_fails_is_tried_again_for_a_day_and_a_half() {
    let mut test = TestEngine::delivering().await;
    test.hooked(settings(URL, &[WebhookEvent::RunCreated])).await;
    test.courier.answer(URL, [answer(500), Some(Receipt::failed("refused")), answer(302), answer(404)]);

    test.run().await;
    let made = test.engine.now();
    test.courier.until_sent(3).await;
    test.until_dispatches(|all| all[0].calls.len() == 3).await;
    // Half of the way is another server's.
    test.crash().await;
    test.engine.deliver_webhooks(Arc::new(Plain));
    let [dispatch] = &test.until_ended(1).await[..] else { panic!("one dispatch") };

    assert_eq!((dispatch.status, dispatch.calls.len()), (DispatchStatus::Failed, 12));
    let minutes = |call: &Call| call.started_at.millis_since(made) / 60_000;
    let minutes: Vec<_> = dispatch.calls.iter().map(minutes).collect();
    assert_eq!(minutes, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 2047]);
    assert_eq!(dispatch.calls[0].error_message.as_deref(), Some("The target answered with status 500."));
    assert_eq!(dispatch.calls[0].response_body.as_deref(), Some("said"));
    assert_eq!(
        (dispatch.calls[1].response_status, dispatch.calls[1].error_message.as_deref()),
        (None, Some("refused"))
    );
    let sent = test.courier.sent();
    assert!(sent.iter().all(|parcel| header(parcel, "x-apify-webhook-dispatch-id") == dispatch.id.as_str()));
    assert!(sent.iter().all(|parcel| parcel.body == sent[0].body), "the payload stays the same");
    tokio::time::sleep(Duration::from_secs(200_000)).await;
    assert_eq!(test.courier.sent().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_arrives_ends_it() {
    let test = TestEngine::delivering().await;
    test.hooked(settings(URL, &[WebhookEvent::RunCreated])).await;
    test.courier.answer(URL, [answer(503), answer(204)]);

    test.run().await;
    let dispatches = test.until_ended(1).await;

    assert_eq!((dispatches[0].status, dispatches[0].calls.len()), (DispatchStatus::Succeeded, 2));
    assert_eq!(dispatches[0].finished_at, Some(dispatches[0].calls[1].finished_at));
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_enough_for_tests_and_for_those_who_ask_for_it() {
    let test = TestEngine::delivering().await;
    let once = WebhookSettings { do_not_retry: true, ..settings(URL, &[WebhookEvent::RunCreated]) };
    test.hooked(once).await;
    let id = test.hooked(settings("http://other/", &[WebhookEvent::RunFailed])).await;
    test.courier.answer(URL, [answer(500)]);
    test.courier.answer("http://other/", [answer(500)]);

    test.run().await;
    let tested = test.store().webhooks.test(&id).await.unwrap();
    let dispatches = test.until_ended(2).await;
    tokio::time::sleep(Duration::from_secs(100)).await;

    assert!(dispatches.iter().all(|dispatch| dispatch.status == DispatchStatus::Failed && dispatch.calls.len() == 1));
    let sent = test.courier.sent();
    assert_eq!(sent.len(), 2);
    let test_sent = sent.iter().find(|parcel| parcel.url == "http://other/").unwrap();
    let expected = json!({
        "userId": test.ada.user.id, "createdAt": tested.created_at, "eventType": "TEST", "eventData": {}, "resource": {},
    });
    assert_eq!(payload(test_sent), expected);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_is_given_up_and_delays_nobody() {
    let test = TestEngine::delivering().await;
    test.hooked(settings("http://hangs/a", &[WebhookEvent::RunCreated])).await;
    test.courier.answer("http://hangs/a", [None]);
    for _ in 0..20 {
        test.run().await;
    }
    test.hooked(settings(URL, &[WebhookEvent::RunCreated])).await;

    test.run().await;
    let arrived = test.until_dispatches(|all| all.iter().any(|dispatch| dispatch.status == DispatchStatus::Succeeded));
    let asked = test.engine.now();
    arrived.await;
    assert!(test.engine.now().millis_since(asked) < 1000);
    let to_hanging = || test.courier.sent().iter().filter(|parcel| parcel.url == "http://hangs/a").count();
    assert_eq!(to_hanging(), 4, "hardly anything is under way to it");

    let given_up = test
        .until_dispatches(|all| {
            all.iter().any(|dispatch| !dispatch.calls.is_empty() && dispatch.status == DispatchStatus::Active)
        })
        .await;
    let call = given_up
        .iter()
        .find(|dispatch| dispatch.status == DispatchStatus::Active && !dispatch.calls.is_empty())
        .unwrap()
        .calls[0]
        .clone();
    assert_eq!(call.finished_at.millis_since(call.started_at), 120_000);
    assert_eq!(call.error_message.as_deref(), Some("The target did not answer within 120 s."));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(to_hanging(), 5, "one at a time until it answers");
}

#[tokio::test(start_paused = true)]
async fn a_dispatch_survives_a_server_that_dies_at_any_point() {
    for (point, sends) in [("run created", 1), ("before delivery", 1), ("after delivery", 2)] {
        let mut test = TestEngine::delivering().await;
        test.hooked(settings(URL, &[WebhookEvent::RunCreated])).await;

        let work = async {
            test.run().await;
            std::future::pending::<()>().await;
        };
        test.advance_to(point, work).await;
        test.crash().await;
        test.engine.deliver_webhooks(Arc::new(Plain));
        let dispatches = test.until_ended(1).await;

        assert_eq!(dispatches[0].status, DispatchStatus::Succeeded, "{point}");
        assert_eq!(test.courier.sent().len(), sends, "{point}");
        let ids: Vec<_> =
            test.courier.sent().iter().map(|parcel| header(parcel, "x-apify-webhook-dispatch-id").to_owned()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "it can be told that it is the same");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_deleted_webhook_nothing_more_is_sent() {
    let test = TestEngine::delivering().await;
    let id = test.hooked(settings(URL, &[WebhookEvent::RunCreated])).await;
    test.courier.answer(URL, [answer(500)]);
    test.run().await;
    test.until_dispatches(|all| all[0].calls.len() == 1).await;

    test.store().webhooks.delete(&id).await.unwrap();
    let dispatches = test.until_ended(1).await;

    assert_eq!(test.courier.sent().len(), 1);
    assert_eq!((dispatches[0].status, dispatches[0].calls.len()), (DispatchStatus::Failed, 2));
    assert_eq!(dispatches[0].calls[1].error_message.as_deref(), Some("The webhook was deleted."));
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_mended_takes_up_what_failed() {
    let test = TestEngine::delivering().await;
    let id = test.hooked(settings(URL, &[WebhookEvent::RunCreated])).await;
    test.courier.answer(URL, [answer(500)]);
    test.run().await;
    test.until_dispatches(|all| all[0].calls.len() == 1).await;

    let mend = |webhook: &mut Webhook| {
        webhook.settings.request_url = "http://mended/".to_owned();
        true
    };
    test.store().webhooks.modify(&id, Box::new(mend)).await.unwrap();
    let dispatches = test.until_ended(1).await;

    assert_eq!(dispatches[0].status, DispatchStatus::Succeeded);
    assert_eq!(test.courier.sent()[1].url, "http://mended/");
}

#[tokio::test(start_paused = true)]
async fn templates_say_what_is_sent_and_headers_of_our_own_stay() {
    let test = TestEngine::delivering().await;
    let with = WebhookSettings {
        payload_template: Some(r#"{"text": "run {{resource.id}} {{resource.status}}", "at": {{globals.dateUnix}}}"#.to_owned()),
        headers_template: Some(
            r#"{"Authorization": "Bearer {{userId}}", "Content-Type": "text/plain", "X-APIFY-webhook": "0", "Host": "evil"}"#.to_owned(),
        ),
        should_interpolate_strings: true,
        ignore_ssl_errors: true,
        ..settings(URL, &[WebhookEvent::RunCreated])
    };
    test.hooked(with).await;

    let run = test.run().await;
    let sent = test.courier.until_sent(1).await;

    let seconds = START.as_millis() / 1000;
    assert_eq!(payload(&sent[0]), json!({ "text": format!("run {} READY", run.id), "at": seconds }));
    assert_eq!(sent[0].headers, [("Authorization".to_owned(), format!("Bearer {}", test.ada.user.id))]);
    assert!(sent[0].ignore_ssl_errors);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_of_a_template_fails_for_good() {
    let test = TestEngine::delivering().await;
    let huge = WebhookSettings {
        payload_template: Some(format!("[{}1]", "{{resource.readme}},".repeat(5000))),
        ..settings(URL, &[WebhookEvent::BuildCreated])
    };
    test.hooked(huge).await;
    let unsealed =
        WebhookSettings { secret: Some("nobody sealed this".to_owned()), ..settings(URL, &[WebhookEvent::RunCreated]) };
    test.hooked(unsealed).await;
    test.add_version("0.1", &[]).await;

    test.run().await;
    test.start_build("0.1").await;
    let dispatches = test.until_ended(2).await;

    for dispatch in &dispatches {
        let expected = match dispatch.event_type {
            WebhookEvent::RunCreated => "The webhook's secret cannot be read; set it anew.",
            _ => "the payload is larger than 9437184 bytes",
        };
        assert_eq!(dispatch.calls[0].error_message.as_deref(), Some(expected));
        assert_eq!((dispatch.status, dispatch.calls.len()), (DispatchStatus::Failed, 1));
    }
    assert!(test.courier.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_signed_if_there_is_a_secret() {
    let test = TestEngine::delivering().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let signed =
        WebhookSettings { secret: Some(test.engine.seal(secret)), ..settings(URL, &[WebhookEvent::RunCreated]) };
    test.hooked(signed).await;
    test.courier.answer(URL, [answer(500), answer(200)]);

    test.run().await;
    let sent = test.courier.until_sent(2).await;

    let key = webhook_signature::key_of(secret).unwrap();
    for parcel in &sent {
        let id = header(parcel, "webhook-id");
        assert_eq!(id, header(parcel, "x-apify-webhook-dispatch-id"));
        let sent_at: i64 = header(parcel, "webhook-timestamp").parse().unwrap();
        let expected = webhook_signature::sign(&key, id, Timestamp::from_millis(sent_at * 1000), &parcel.body);
        assert_eq!(header(parcel, "webhook-signature"), expected);
    }
    assert_eq!(header(&sent[0], "webhook-id"), header(&sent[1], "webhook-id"));
    assert_ne!(header(&sent[0], "webhook-timestamp"), header(&sent[1], "webhook-timestamp"));
}

#[tokio::test(start_paused = true)]
async fn its_token_opens_the_owners_account_for_some_minutes() {
    let test = TestEngine::delivering().await;
    test.hooked(settings(URL, &[WebhookEvent::RunCreated])).await;
    test.run().await;
    let token = test.courier.until_sent(1).await[0].token.clone().unwrap();

    let caller = test.engine.authenticate(&token).await.unwrap().unwrap();
    assert_eq!((caller.user.id, caller.run.is_none()), (test.ada.user.id, true));
    let (head, mac) = token.rsplit_once('_').unwrap();
    let later = head.rsplit_once('_').unwrap().0;
    for forged in [
        format!("{later}_9999999999999_{mac}"),
        format!("{head}_{}", "0".repeat(40)),
        head.to_owned(),
        "playhouse_webhook_".to_owned(),
    ] {
        assert!(test.engine.authenticate(&forged).await.unwrap().is_none(), "{forged}");
    }
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert!(test.engine.authenticate(&token).await.unwrap().is_none());

    let limited = WebhookSettings { is_limited: true, ..settings("http://limited/", &[WebhookEvent::RunCreated]) };
    test.hooked(limited).await;
    test.run().await;
    let sent = test.courier.until_sent(3).await;
    assert_eq!(sent.iter().find(|parcel| parcel.url == "http://limited/").unwrap().token, None);
}

#[tokio::test(start_paused = true)]
async fn many_events_arrive_once_each() {
    let test = TestEngine::delivering().await;
    for number in 0..7 {
        test.hooked(settings(&format!("http://target-{number}/"), &[WebhookEvent::RunCreated])).await;
    }

    for _ in 0..60 {
        test.run().await;
    }
    let dispatches = test.until_ended(420).await;

    let mut ids: Vec<String> =
        test.courier.sent().iter().map(|parcel| header(parcel, "x-apify-webhook-dispatch-id").to_owned()).collect();
    ids.sort();
    let mut expected: Vec<String> = dispatches.iter().map(|dispatch: &Dispatch| dispatch.id.to_string()).collect();
    expected.sort();
    assert_eq!(ids, expected);
    assert!(dispatches.iter().all(|dispatch| dispatch.calls.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn dispatches_are_forgotten_after_their_days() {
    let test = TestEngine::start_with(EngineConfig { dispatch_days: 3, ..EngineConfig::default() }).await;
    test.engine.deliver_webhooks(Arc::new(Plain));
    test.hooked(settings(URL, &[WebhookEvent::RunCreated])).await;
    test.run().await;
    let first: DispatchId = test.until_ended(1).await[0].id;

    tokio::time::sleep(Duration::from_secs(2 * 86_400)).await;
    assert_eq!(test.dispatches().await.len(), 1);
    test.run().await;
    let second = loop {
        // The paused clock does not wait for the store: what is forgotten on
        // the hour may be gone only some hours later.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let left = test.dispatches().await;
        if left.iter().all(|dispatch| dispatch.id != first) {
            break left;
        }
    };
    assert_eq!(second.len(), 1, "the younger one is kept");
}
