"""Tasks and schedules through the official Python client, whose models insist on every field they name."""

import asyncio
import time
from datetime import timedelta

import pytest
from apify_client import ApifyClient, ApifyClientAsync
from apify_client.errors import ApifyApiError

DOCKERFILE = 'FROM node:20\nCMD ["node", "-e", "1"]\n'


@pytest.fixture(scope='module')
def client(server):
    return ApifyClient(server['token'], api_url=server['url'], max_retries=1)


@pytest.fixture(scope='module')
def actor(client):
    version = {
        'version_number': '0.0',
        'build_tag': 'latest',
        'source_type': 'SOURCE_FILES',
        'source_files': [{'name': 'Dockerfile', 'format': 'TEXT', 'content': DOCKERFILE}],
    }
    made = client.actors().create(
        name='nothing', versions=[version], default_run_build='latest', default_run_memory_mbytes=128, default_run_timeout=timedelta(seconds=300)
    )
    build = client.actor(made.id).build(version_number='0.0')
    assert client.build(build.id).wait_for_finish().status == 'SUCCEEDED'
    return made


def test_a_task_is_created_found_changed_listed_and_deleted(client, actor):
    made = client.tasks().create(
        actor_id=actor.id,
        name='first',
        title='First',
        task_input={'hello': 'world'},
        build='latest',
        memory_mbytes=256,
        run_timeout=timedelta(seconds=60),
        restart_on_error=False,
    )
    assert (made.act_id, made.name, made.is_public, made.stats.total_runs) == (actor.id, 'first', False, 0)
    assert (made.options.timeout_secs, made.options.memory_mbytes) == (60, 256)

    task = client.task(made.id)
    assert task.get() == made
    assert client.task('no-such-task').get() is None
    changed = task.update(description='Text', memory_mbytes=512)
    assert (changed.description, changed.title, changed.options.memory_mbytes) == ('Text', 'First', 512)
    assert changed.options.timeout_secs == 60
    assert task.get_input() == {'hello': 'world'}
    assert task.update_input(task_input={'more': 1}) == {'hello': 'world', 'more': 1}

    second = client.tasks().create(actor_id=actor.id, name='second')
    page = client.tasks().list(desc=True, limit=1)
    assert (page.total, page.count, page.items[0].name) == (2, 1, 'second')
    assert [item.name for item in client.tasks().iterate()] == ['first', 'second']
    with pytest.raises(ApifyApiError) as taken:
        client.tasks().create(actor_id=actor.id, name='first')
    assert (taken.value.status_code, taken.value.type) == (409, 'actor-task-name-not-unique')

    client.task(second.id).delete()
    task.delete()
    assert task.get() is None


def test_a_task_is_published_and_taken_back(client, actor):
    client.actor(actor.id).update(is_public=True, title='Nothing', categories=['AI'])
    made = client.tasks().create(actor_id=actor.id, name='public', public_config_seo_title='T', public_config_seo_description='D')

    published = client.task(made.id).publish()
    assert published.is_public
    assert published.public_config.published_at is not None
    assert not client.task(made.id).unpublish().is_public
    client.task(made.id).delete()


def test_a_task_is_run_and_its_last_run_is_at_hand(client, actor):
    task = client.task(client.tasks().create(actor_id=actor.id, name='runs', task_input={'a': 1, 'b': 1}).id)

    run = task.call(task_input={'b': 2}, memory_mbytes=128)
    assert run.status == 'SUCCEEDED'
    started = task.start(wait_for_finish=30)

    last = task.last_run(status='SUCCEEDED')
    assert last.get().id == started.id
    assert last.key_value_store().get_record('INPUT')['value'] == {'a': 1, 'b': 1}
    assert last.dataset().get().id == started.default_dataset_id
    assert last.request_queue().get().id == started.default_request_queue_id
    assert last.log().get()
    assert [item.id for item in task.runs().list().items] == [run.id, started.id]
    assert client.run(run.id).key_value_store().get_record('INPUT')['value'] == {'a': 1, 'b': 2}


def test_the_async_client_runs_a_task(server, client, actor):
    made = client.tasks().create(actor_id=actor.id, name='async')

    async def run():
        task = ApifyClientAsync(server['token'], api_url=server['url']).task(made.id)
        called = await task.call()
        return called, await task.get()

    called, task = asyncio.run(run())
    assert called.status == 'SUCCEEDED'
    assert task.stats.total_runs == 1


def test_a_schedule_is_created_found_changed_listed_and_deleted(client, actor):
    task = client.tasks().create(actor_id=actor.id, name='scheduled')
    actions = [
        {'type': 'RUN_ACTOR', 'actorId': actor.id, 'runInput': {'body': '{}', 'contentType': 'application/json'}},
        {'type': 'RUN_ACTOR_TASK', 'actorTaskId': task.id, 'input': {'b': 2}},
    ]
    made = client.schedules().create(
        cron_expression='30 2 * * *',
        is_enabled=True,
        is_exclusive=False,
        name='first',
        timezone='Europe/Prague',
        description='Text',
        title='First',
        notifications_email=True,
        actions=actions,
    )
    assert (made.name, made.timezone, made.is_enabled, made.is_exclusive) == ('first', 'Europe/Prague', True, False)
    assert [action.type for action in made.actions] == ['RUN_ACTOR', 'RUN_ACTOR_TASK']
    assert made.next_run_at > made.created_at
    assert made.notifications.email

    schedule = client.schedule(made.id)
    assert schedule.get() == made
    assert schedule.get_log() == []
    assert client.schedule('no-such-schedule').get() is None
    changed = schedule.update(cron_expression='@hourly', is_enabled=False)
    assert (changed.cron_expression, changed.next_run_at, changed.actions) == ('@hourly', None, made.actions)
    second = client.schedules().create(cron_expression='@daily', is_enabled=False, is_exclusive=True, name='second')
    page = client.schedules().list(desc=True, limit=1)
    assert (page.total, page.items[0].name) == (2, 'second')
    assert [item.name for item in client.schedules().iterate()] == ['first', 'second']
    with pytest.raises(ApifyApiError) as refused:
        client.schedules().create(cron_expression='often', is_enabled=True, is_exclusive=True)
    assert refused.value.type == 'cron-expression-invalid'

    client.schedule(second.id).delete()
    schedule.delete()
    assert schedule.get() is None


def test_a_schedule_that_is_due_runs_its_task(client, actor):
    task = client.task(client.tasks().create(actor_id=actor.id, name='often').id)
    actions = [{'type': 'RUN_ACTOR_TASK', 'actorTaskId': task.get().id}]
    made = client.schedules().create(cron_expression='*/10 * * * * *', is_enabled=True, is_exclusive=True, name='often', actions=actions)

    while not task.runs().list().items:
        time.sleep(0.1)
    run = task.last_run(origin='SCHEDULER').wait_for_finish()

    assert run.status == 'SUCCEEDED'
    assert (run.meta.schedule_id, run.meta.scheduled_at) == (made.id, made.next_run_at)
    assert client.schedule(made.id).get_log()[0].message == 'Schedule invoked'
    client.schedule(made.id).delete()
