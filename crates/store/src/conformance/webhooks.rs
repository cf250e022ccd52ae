//! Webhooks and dispatches.

use std::collections::HashMap;

use model::{
    ActorId, Call, Dispatch, DispatchId, DispatchStatus, EventData, JobStatus, LastDispatch, Page, RunId, TaskId,
    Timestamp, UserId, Webhook, WebhookCondition, WebhookEvent, WebhookId, WebhookSettings,
};

use super::fixtures::{StoppedClock, fresh, user};
use super::jobs::{at, given_actor, given_build, given_run, run, run_of, set_status};
use super::tasks::given_task;
use crate::{Attempted, DispatchFilter, Due, Load, Next, Noun, Store, StoreError, Subject, Taken, WebhookFilter};

const URL: &str = "http://example.com/hook";

fn of_actor(actor: ActorId) -> WebhookCondition {
    WebhookCondition { actor_id: Some(actor), ..WebhookCondition::default() }
}

fn of_run(run: RunId) -> WebhookCondition {
    WebhookCondition { actor_run_id: Some(run), ..WebhookCondition::default() }
}

/// A webhook of the user of most cases.
pub fn webhook(condition: WebhookCondition, events: &[WebhookEvent]) -> Webhook {
    webhook_to(URL, condition, events)
}

fn webhook_to(url: &str, condition: WebhookCondition, events: &[WebhookEvent]) -> Webhook {
    Webhook {
        id: fresh(),
        user_id: user(),
        created_at: at(0),
        modified_at: at(0),
        is_ad_hoc: false,
        condition,
        idempotency_key: None,
        token_id: None,
        settings: WebhookSettings {
            event_types: events.to_vec(),
            request_url: url.to_owned(),
            payload_template: Some("{\"a\": {{userId}}}".to_owned()),
            headers_template: None,
            should_interpolate_strings: true,
            ignore_ssl_errors: false,
            do_not_retry: false,
            description: Some("d".to_owned()),
            is_apify_integration: false,
            secret: None,
            is_limited: false,
        },
    }
}

async fn given(store: &Store, webhook: Webhook) -> WebhookId {
    store.webhooks.create(webhook).await.unwrap().id
}

async fn due(store: &Store) -> Vec<Due> {
    store.webhooks.due(at(i64::from(u32::MAX)), Taken { room: 1000, ..Taken::default() }, 1000).await.unwrap()
}

/// Webhook and event of everything that is due, in the order of its making.
async fn told(store: &Store) -> Vec<(WebhookId, WebhookEvent)> {
    let due = due(store).await;
    due.iter().filter_map(|due| Some((due.webhook.as_ref()?.id, due.event_type))).collect()
}

fn answered(id: DispatchId, status: u16, ended: Timestamp, next: Next) -> Attempted {
    let call = Call {
        started_at: ended.plus_millis(-5),
        finished_at: ended,
        error_message: (status >= 300).then(|| format!("status {status}")),
        response_status: Some(status),
        response_body: Some("body".to_owned()),
    };
    Attempted { id, call, next }
}

async fn deliver_all(store: &Store, next: Next) {
    let attempts = due(store).await.iter().map(|due| answered(due.id, 200, at(1), next)).collect();
    store.webhooks.note_attempts(attempts).await.unwrap();
}

async fn dispatches(store: &Store, filter: DispatchFilter) -> Vec<Dispatch> {
    store.webhooks.dispatches(filter, Page::default()).await.unwrap().items
}

pub async fn a_webhook_is_changed_whole_or_not_at_all(store: &Store) {
    let made = webhook(of_actor(fresh()), &[WebhookEvent::RunFailed]);
    let id = given(store, made.clone()).await;

    let (found, stats) = store.webhooks.get(&id).await.unwrap().unwrap();
    assert_eq!((&*found, stats.total_dispatches, stats.last_dispatch), (&made, 0, None));
    let refused = store.webhooks.modify(
        &id,
        Box::new(|webhook: &mut Webhook| {
            webhook.is_ad_hoc = true;
            false
        }),
    );
    assert_eq!(*refused.await.unwrap(), made);
    let actor = fresh();
    let changed = store.webhooks.modify(
        &id,
        Box::new(move |webhook: &mut Webhook| {
            webhook.condition = of_actor(actor);
            webhook.settings.description = None;
            true
        }),
    );
    let changed = changed.await.unwrap();
    assert_eq!((changed.condition, &changed.settings.description), (of_actor(actor), &None));
    assert_eq!(store.webhooks.get(&id).await.unwrap().unwrap().0, changed);
    let listed = store.webhooks.list(WebhookFilter::OfActor(user(), actor), Page::default()).await.unwrap();
    assert_eq!((listed.total, listed.items[0].0.id), (1, id), "it is found by its new condition");

    store.webhooks.delete(&id).await.unwrap();
    assert!(store.webhooks.get(&id).await.unwrap().is_none());
    assert!(matches!(store.webhooks.delete(&id).await, Err(StoreError::NotFound(Noun::Webhook))));
    let gone = store.webhooks.modify(&id, Box::new(|_: &mut Webhook| true)).await;
    assert!(matches!(gone, Err(StoreError::NotFound(Noun::Webhook))));
    assert!(matches!(store.webhooks.test(&id).await, Err(StoreError::NotFound(Noun::Webhook))));
}

pub async fn a_repeated_key_gets_the_webhook_that_is_there(store: &Store) {
    let keyed = |url: &str| Webhook {
        idempotency_key: Some("key".to_owned()),
        ..webhook_to(url, of_actor(fresh()), &[WebhookEvent::RunFailed])
    };

    let first = store.webhooks.create(keyed("http://first")).await.unwrap();
    let second = store.webhooks.create(keyed("http://second")).await.unwrap();
    let of_another = store.webhooks.create(Webhook { user_id: fresh(), ..keyed("http://third") }).await.unwrap();
    let without = given(store, webhook(of_actor(fresh()), &[WebhookEvent::RunFailed])).await;

    assert_eq!(first, second);
    assert_ne!(first.id, of_another.id);
    let listed = store.webhooks.list(WebhookFilter::OfUser(user()), Page::default()).await.unwrap();
    let ids: Vec<_> = listed.items.iter().map(|(webhook, _)| webhook.id).collect();
    assert_eq!((listed.total, ids.len(), ids.contains(&without)), (2, 2, true));
    store.webhooks.delete(&first.id).await.unwrap();
    assert_ne!(store.webhooks.create(keyed("http://fourth")).await.unwrap().id, first.id, "the key is free again");
}

pub async fn webhooks_are_listed_by_what_they_wait_for(store: &Store) {
    let (actor, task, stranger): (ActorId, TaskId, UserId) = (fresh(), fresh(), fresh());
    let of_task = WebhookCondition { actor_task_id: Some(task), ..WebhookCondition::default() };
    let both = WebhookCondition { actor_id: Some(actor), ..of_task };
    let mut made = Vec::new();
    for (millis, condition) in
        [(3, of_actor(actor)), (1, of_task), (2, both), (2, of_run(fresh())), (1, of_actor(fresh()))]
    {
        let webhook = Webhook { created_at: at(millis), ..webhook(condition, &[WebhookEvent::RunFailed]) };
        made.push(webhook.clone());
        given(store, webhook).await;
    }
    given(store, Webhook { user_id: stranger, ..webhook(of_actor(actor), &[WebhookEvent::RunFailed]) }).await;
    made.sort_by_key(|webhook| (webhook.created_at, webhook.id));

    let belongs = |webhook: &Webhook, filter: &WebhookFilter| match filter {
        WebhookFilter::OfUser(_) => true,
        WebhookFilter::OfActor(_, actor) => webhook.condition.actor_id == Some(*actor),
        WebhookFilter::OfTask(_, task) => webhook.condition.actor_task_id == Some(*task),
    };
    let cases =
        [WebhookFilter::OfUser(user()), WebhookFilter::OfActor(user(), actor), WebhookFilter::OfTask(user(), task)];
    for filter in cases {
        for desc in [false, true] {
            let mut expected: Vec<_> =
                made.iter().filter(|webhook| belongs(webhook, &filter)).map(|webhook| webhook.id).collect();
            if desc {
                expected.reverse();
            }
            for (offset, limit) in [(0, 1000), (1, 1), (2, 2), (9, 1)] {
                let listed = store.webhooks.list(filter, Page { offset, limit, desc }).await.unwrap();
                let ids: Vec<_> = listed.items.iter().map(|(webhook, _)| webhook.id).collect();
                let page: Vec<_> = expected.iter().copied().skip(offset as usize).take(limit as usize).collect();
                assert_eq!((listed.total, ids), (expected.len() as u64, page), "{filter:?} {offset} {limit} {desc}");
            }
        }
    }
}

pub async fn what_happens_to_a_run_is_told_to_all_who_wait_for_it(store: &Store) {
    use WebhookEvent as E;
    let (actor, other) = (given_actor(store, "a").await, given_actor(store, "b").await);
    let task: TaskId = fresh();
    let (mut run, storages) = run(actor, 1);
    run.task_id = Some(task);
    let of_task = WebhookCondition { actor_task_id: Some(task), ..WebhookCondition::default() };
    let ends = [E::RunSucceeded, E::RunFailed, E::RunAborted, E::RunTimedOut];
    let created = given(store, webhook(of_actor(actor), &[E::RunCreated, E::RunResurrected])).await;
    let ended = given(store, webhook(of_actor(actor), &ends)).await;
    let tasks = given(store, webhook(of_task, &ends)).await;
    let both = given(store, webhook(WebhookCondition { actor_id: Some(actor), ..of_task }, &[E::RunFailed])).await;
    let runs = given(store, webhook(of_run(run.id), &[E::RunFailed])).await;
    for nothing in [of_actor(other), of_run(fresh()), WebhookCondition { actor_id: Some(other), ..of_task }] {
        given(store, webhook(nothing, &E::ALL)).await;
    }
    given(store, Webhook { user_id: fresh(), ..webhook(of_actor(actor), &E::ALL) }).await;

    store.runs.create(run.clone(), storages, None).await.unwrap();
    let mut expected = vec![(created, E::RunCreated)];
    assert_eq!(told(store).await, expected);
    for status in [JobStatus::Running, JobStatus::Aborting] {
        set_status(store, &run.id, status).await;
        assert_eq!(told(store).await, expected, "nobody waits for {status}");
    }
    for (end, event) in [
        (JobStatus::Failed, E::RunFailed),
        (JobStatus::Succeeded, E::RunSucceeded),
        (JobStatus::Aborted, E::RunAborted),
        (JobStatus::TimedOut, E::RunTimedOut),
    ] {
        set_status(store, &run.id, end).await;
        expected.extend([(ended, event), (tasks, event)]);
        if event == E::RunFailed {
            expected.extend([(both, event), (runs, event)]);
        }
        assert_eq!(told(store).await, expected, "{end}");
        store
            .runs
            .modify(
                &run.id,
                Box::new(|run: &mut model::Run| {
                    run.status_message = Some("late".to_owned());
                    true
                }),
            )
            .await
            .unwrap();
        set_status(store, &run.id, JobStatus::Ready).await;
        expected.push((created, E::RunResurrected));
        assert_eq!(told(store).await, expected, "resurrected after {end}");
    }
    let due = due(store).await;
    let data =
        EventData { actor_id: actor, actor_task_id: Some(task), actor_run_id: Some(run.id), actor_build_id: None };
    assert!(due.iter().all(|due| due.event_data == Some(data) && due.user_id == user()));
}

pub async fn what_happens_to_a_build_is_told_to_all_who_wait_for_it(store: &Store) {
    use WebhookEvent as E;
    let actor = given_actor(store, "a").await;
    let webhook_id = given(store, webhook(of_actor(actor), &E::ALL)).await;

    let build = given_build(store, actor, 1).await;
    for status in [JobStatus::Running, JobStatus::TimedOut] {
        let change = Box::new(move |build: &mut model::Build, _: Option<&mut model::Actor>| {
            build.status = status;
            build.readme = Some(format!("{status}"));
            true
        });
        store.builds.modify(&build, change).await.unwrap();
    }

    assert_eq!(told(store).await, [(webhook_id, E::BuildCreated), (webhook_id, E::BuildTimedOut)]);
    let due = due(store).await;
    let data = EventData { actor_id: actor, actor_task_id: None, actor_run_id: None, actor_build_id: Some(build) };
    assert_eq!(due[1].event_data, Some(data));
    let Subject::Build(seen) = &due[1].subject else { panic!("a build") };
    assert_eq!((seen.id, seen.status, seen.readme.as_deref()), (build, JobStatus::TimedOut, Some("TIMED-OUT")));
}

pub async fn an_ad_hoc_webhook_is_told_of_each_event_once(store: &Store) {
    use WebhookEvent as E;
    let actor = given_actor(store, "a").await;
    let run = given_run(store, actor, 1).await;
    let ad_hoc = Webhook { is_ad_hoc: true, ..webhook(of_run(run), &[E::RunFailed, E::RunSucceeded]) };
    let ad_hoc = given(store, ad_hoc).await;

    for status in [JobStatus::Failed, JobStatus::Ready, JobStatus::Failed, JobStatus::Ready, JobStatus::Succeeded] {
        set_status(store, &run, status).await;
    }

    assert_eq!(told(store).await, [(ad_hoc, E::RunFailed), (ad_hoc, E::RunSucceeded)]);
    assert_eq!(store.webhooks.get(&ad_hoc).await.unwrap().unwrap().1.total_dispatches, 2);
}

pub async fn webhooks_of_a_run_are_made_with_it(store: &Store) {
    use WebhookEvent as E;
    let actor = given_actor(store, "a").await;
    let (first, storages) = run(actor, 1);
    let own = |run: RunId, key: Option<&str>| Webhook {
        is_ad_hoc: true,
        idempotency_key: key.map(str::to_owned),
        ..webhook(of_run(run), &[E::RunCreated, E::RunFailed])
    };
    let made = [own(first.id, None), own(first.id, Some("key"))];

    store.runs.create_with_webhooks(first.clone(), storages, None, made.to_vec()).await.unwrap();
    assert_eq!(told(store).await, [(made[0].id, E::RunCreated), (made[1].id, E::RunCreated)]);
    let (second, storages) = run(actor, 2);
    let again = own(second.id, Some("key"));
    store.runs.create_with_webhooks(second, storages, None, vec![again.clone()]).await.unwrap();

    assert!(store.webhooks.get(&again.id).await.unwrap().is_none(), "its key was used");
    assert_eq!(*store.webhooks.get(&made[1].id).await.unwrap().unwrap().0, made[1]);
    assert_eq!(told(store).await.len(), 2);
}

pub async fn what_it_happened_to_is_shown_as_it_was_then(store: &Store) {
    use WebhookEvent as E;
    let actor = given_actor(store, "a").await;
    given(store, webhook(of_actor(actor), &[E::RunCreated, E::RunFailed])).await;
    let run = given_run(store, actor, 1).await;
    set_status(store, &run, JobStatus::Failed).await;
    store.runs.delete(&run).await.unwrap();

    let due = due(store).await;

    let statuses: Vec<_> = due
        .iter()
        .map(|due| match &due.subject {
            Subject::Run(seen) if seen.id == run => seen.status,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(statuses, [JobStatus::Ready, JobStatus::Failed]);
}

pub async fn targets_take_turns(store: &Store) {
    use WebhookEvent as E;
    let actor = given_actor(store, "a").await;
    // Three for the first target, two for the second, one for the third.
    for (url, count) in [("http://one/a", 2), ("http://one/b", 1), ("http://two/", 2), ("https://two/", 1)] {
        for _ in 0..count {
            given(store, webhook_to(url, of_actor(actor), &[E::RunCreated])).await;
        }
    }
    given_run(store, actor, 1).await;
    let now = at(i64::from(u32::MAX));
    let ask = async |taken: Taken, limit| store.webhooks.due(now, taken, limit).await.unwrap();
    let urls = |due: &[Due]| -> Vec<String> {
        due.iter().map(|due| due.webhook.as_ref().unwrap().settings.request_url.clone()).collect()
    };
    let room = |room| Taken { room, ..Taken::default() };

    let all = ask(room(10), 100).await;
    assert_eq!(all.len(), 6);
    assert!(ask(room(10), 0).await.is_empty());
    assert!(ask(room(0), 10).await.is_empty());
    let of_each = ask(room(10), 3).await;
    assert_eq!(urls(&of_each), ["http://one/a", "http://two/", "https://two/"], "one of each target");
    assert_eq!(urls(&ask(room(1), 100).await).len(), 3);
    let (one, two) = (all[0].target, ask(room(1), 100).await[1].target);

    // The first target is full, the second has one under way.
    let targets = HashMap::from([(one, Load { taken: 3, room: 0 }), (two, Load { taken: 1, room: 5 })]);
    let taken = Taken { dispatches: of_each.iter().map(|due| due.id).collect(), targets, room: 10 };
    let rest = ask(taken, 100).await;
    assert_eq!(urls(&rest), ["http://two/"]);
    assert!(of_each.iter().all(|due| due.id != rest[0].id));
}

pub async fn attempts_are_written_down_until_the_last(store: &Store, clock: &StoppedClock) {
    use WebhookEvent as E;
    let actor = given_actor(store, "a").await;
    let webhook_id = given(store, webhook(of_actor(actor), &[E::RunCreated])).await;
    given_run(store, actor, 1).await;
    given_run(store, actor, 2).await;
    let now = due(store).await[0].created_at;
    let taken = || Taken { room: 10, ..Taken::default() };
    let both = store.webhooks.due(now, taken(), 10).await.unwrap();
    let [first, second] = &both[..] else { panic!("two are due") };
    let later = now.plus_secs(60);

    let failed = answered(first.id, 500, now.plus_millis(9), Next::Retry(later));
    store
        .webhooks
        .note_attempts(vec![failed, answered(second.id, 200, now.plus_millis(8), Next::Succeeded)])
        .await
        .unwrap();

    assert!(store.webhooks.due(later.plus_millis(-1), taken(), 10).await.unwrap().is_empty());
    assert_eq!(store.webhooks.next_due(now).await.unwrap(), Some(later));
    let dispatch = store.webhooks.dispatch(&first.id).await.unwrap().unwrap();
    assert_eq!((dispatch.status, dispatch.finished_at, dispatch.calls.len()), (DispatchStatus::Active, None, 1));
    let summary = dispatch.webhook.unwrap();
    assert_eq!((summary.request_url.as_str(), summary.is_ad_hoc), (URL, false));
    assert_eq!(summary.condition, of_actor(actor));
    let done = store.webhooks.dispatch(&second.id).await.unwrap().unwrap();
    assert_eq!((done.status, done.finished_at), (DispatchStatus::Succeeded, Some(now.plus_millis(8))));
    assert_eq!(done.calls[0].response_body.as_deref(), Some("body"));

    clock.advance_millis(60_000);
    let again = store.webhooks.due(later, taken(), 10).await.unwrap();
    assert_eq!((again.len(), again[0].id, again[0].attempts), (1, first.id, 1));
    assert!(matches!(&again[0].subject, Subject::Run(_)), "what it tells of is still known");
    let given_up = answered(first.id, 404, later.plus_millis(7), Next::Failed);
    store.webhooks.note_attempts(vec![given_up.clone()]).await.unwrap();
    store.webhooks.note_attempts(vec![given_up]).await.unwrap();

    assert_eq!(store.webhooks.next_due(now).await.unwrap(), None);
    let dispatch = store.webhooks.dispatch(&first.id).await.unwrap().unwrap();
    assert_eq!(dispatch.status, DispatchStatus::Failed);
    let statuses: Vec<_> = dispatch.calls.iter().map(|call| call.response_status).collect();
    assert_eq!(statuses, [Some(500), Some(404)], "and nothing after the last");
    let (_, stats) = store.webhooks.get(&webhook_id).await.unwrap().unwrap();
    assert_eq!(stats.total_dispatches, 2);
    let last = LastDispatch { status: DispatchStatus::Succeeded, finished_at: Some(now.plus_millis(8)) };
    assert_eq!(stats.last_dispatch, Some(last), "the newest dispatch, not the newest attempt");
}

pub async fn dispatches_are_listed_with_exact_totals(store: &Store) {
    use WebhookEvent as E;
    let actor = given_actor(store, "a").await;
    let one = given(store, webhook(of_actor(actor), &[E::RunCreated])).await;
    let two = given(store, webhook(of_actor(actor), &[E::RunCreated])).await;
    let stranger: UserId = fresh();
    given(store, Webhook { user_id: stranger, ..webhook(of_actor(actor), &[E::RunCreated]) }).await;
    for millis in 0..3 {
        given_run(store, actor, millis).await;
        let (of_stranger, storages) = run_of(stranger, actor, millis);
        store.runs.create(of_stranger, storages, None).await.unwrap();
    }
    let tested = store.webhooks.test(&two).await.unwrap();
    assert_eq!((tested.event_type, tested.event_data, tested.status), (E::Test, None, DispatchStatus::Active));
    assert_eq!((tested.webhook_id, tested.user_id, tested.calls.len()), (two, user(), 0));
    assert!(matches!(due(store).await.iter().find(|due| due.id == tested.id).unwrap().subject, Subject::Test));

    for (filter, count) in
        [(DispatchFilter::OfUser(user()), 7), (DispatchFilter::OfWebhook(one), 3), (DispatchFilter::OfWebhook(two), 4)]
    {
        let all = dispatches(store, filter).await;
        assert_eq!(all.len(), count);
        assert!(all.is_sorted_by_key(|dispatch| (dispatch.created_at, dispatch.id)));
        for (offset, limit, desc) in [(0, 2, false), (1, 2, true), (6, 5, false), (9, 1, true)] {
            let mut expected = all.clone();
            if desc {
                expected.reverse();
            }
            let listed = store.webhooks.dispatches(filter, Page { offset, limit, desc }).await.unwrap();
            let page: Vec<_> = expected.into_iter().skip(offset as usize).take(limit as usize).collect();
            assert_eq!((listed.total, listed.items), (count as u64, page), "{filter:?} {offset} {limit} {desc}");
        }
    }
    let unknown = store.webhooks.dispatches(DispatchFilter::OfWebhook(fresh()), Page::default()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Webhook))));
    assert!(store.webhooks.dispatch(&fresh()).await.unwrap().is_none());
}

pub async fn of_a_deleted_webhook_nothing_is_sent(store: &Store) {
    let actor = given_actor(store, "a").await;
    let id = given(store, webhook(of_actor(actor), &[WebhookEvent::RunCreated])).await;
    given_run(store, actor, 1).await;

    store.webhooks.delete(&id).await.unwrap();
    given_run(store, actor, 2).await;

    let due = due(store).await;
    assert_eq!((due.len(), due[0].webhook.is_none()), (1, true), "it can be given up");
    deliver_all(store, Next::Failed).await;
    let listed = dispatches(store, DispatchFilter::OfUser(user())).await;
    assert_eq!((listed.len(), listed[0].webhook_id, &listed[0].webhook), (1, id, &None));
    assert_eq!(listed[0].status, DispatchStatus::Failed);
    let of_it = store.webhooks.dispatches(DispatchFilter::OfWebhook(id), Page::default()).await;
    assert!(matches!(of_it, Err(StoreError::NotFound(Noun::Webhook))));
    assert_eq!(store.webhooks.list(WebhookFilter::OfUser(user()), Page::default()).await.unwrap().total, 0);
}

pub async fn webhooks_go_with_their_actor_task_or_run(store: &Store) {
    use WebhookEvent as E;
    let actor = given_actor(store, "a").await;
    let tasks = [given_task(store, actor, "one").await, given_task(store, actor, "two").await];
    let of_task = tasks.map(|task| WebhookCondition { actor_task_id: Some(task), ..WebhookCondition::default() });
    let of_tasks = [
        given(store, webhook(of_task[0], &[E::RunFailed])).await,
        given(store, webhook(of_task[1], &[E::RunFailed])).await,
    ];
    let run = given_run(store, actor, 1).await;
    let of_actor_id = given(store, webhook(of_actor(actor), &[E::RunFailed])).await;
    let busy = given(store, webhook(of_run(run), &[E::RunFailed])).await;
    let idle = given(store, webhook(of_run(run), &[E::RunSucceeded])).await;
    set_status(store, &run, JobStatus::Failed).await;
    let is_there = async |id: &WebhookId| store.webhooks.get(id).await.unwrap().is_some();

    store.tasks.delete(&tasks[0]).await.unwrap();
    assert_eq!((is_there(&of_tasks[0]).await, is_there(&of_tasks[1]).await), (false, true));
    store.actors.delete(&actor).await.unwrap();
    assert!(!is_there(&of_tasks[1]).await, "the task went with its Actor");
    assert_eq!((is_there(&of_actor_id).await, is_there(&busy).await, is_there(&idle).await), (false, true, true));
    store.runs.delete(&run).await.unwrap();
    assert_eq!((is_there(&busy).await, is_there(&idle).await), (true, false), "one has still something to send");
    deliver_all(store, Next::Retry(at(5))).await;
    assert!(is_there(&busy).await);
    deliver_all(store, Next::Succeeded).await;
    assert!(!is_there(&busy).await);
    assert_eq!(dispatches(store, DispatchFilter::OfUser(user())).await.len(), 2);
}

pub async fn whoever_waits_for_dispatches_is_woken(store: &Store) {
    let actor = given_actor(store, "a").await;
    let id = given(store, webhook(of_actor(actor), &[WebhookEvent::RunCreated])).await;

    given_run(store, actor, 1).await;
    store.webhooks.made().await;
    assert_eq!(told(store).await.len(), 1);
    store.webhooks.test(&id).await.unwrap();
    store.webhooks.made().await;
}

pub async fn old_dispatches_expire_once_they_have_ended(store: &Store, clock: &StoppedClock) {
    use WebhookEvent as E;
    let actor = given_actor(store, "a").await;
    let id = given(store, webhook(of_actor(actor), &[E::RunCreated])).await;
    for millis in 0..3 {
        given_run(store, actor, millis).await;
        clock.advance_millis(1000);
    }
    let all = dispatches(store, DispatchFilter::OfUser(user())).await;
    let before = all[2].created_at;
    let left = async || -> Vec<DispatchId> {
        let listed = store.webhooks.dispatches(DispatchFilter::OfWebhook(id), Page::default()).await.unwrap();
        let of_user = store.webhooks.dispatches(DispatchFilter::OfUser(user()), Page::default()).await.unwrap();
        assert_eq!((listed.total, of_user.total), (listed.items.len() as u64, of_user.items.len() as u64));
        listed.items.iter().map(|dispatch| dispatch.id).collect()
    };

    assert!(!store.webhooks.expire(before, 10).await.unwrap());
    assert_eq!(left().await.len(), 3, "they are to be sent");
    deliver_all(store, Next::Succeeded).await;
    assert!(store.webhooks.expire(before, 1).await.unwrap());
    assert_eq!(left().await, [all[1].id, all[2].id]);
    assert!(!store.webhooks.expire(before, 10).await.unwrap());
    assert_eq!(left().await, [all[2].id]);
    assert!(store.webhooks.dispatch(&all[0].id).await.unwrap().is_none());
    assert_eq!(store.webhooks.get(&id).await.unwrap().unwrap().1.total_dispatches, 3, "what was sent is not forgotten");
}
