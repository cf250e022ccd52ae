"""Every public method of the official Python client, blocking and asynchronous, called once with a look at its answer."""

import asyncio
import contextlib
import http.server
import inspect
import json
import logging
import os
import pathlib
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone

import pytest
from apify_client import ApifyClient, ApifyClientAsync
from apify_client.errors import ApifyApiError
from apify_client.http_clients import ImpitHttpClient, ImpitHttpClientAsync
from methods import Awaited, body_of, listed_methods, public_methods, watch_methods

ACTORS = pathlib.Path(__file__).resolve().parents[2] / 'actors'
MISSING = 'aB3aB3aB3aB3aB3aB'
CALLED = watch_methods()


@pytest.fixture(params=['blocking', 'asynchronous'])
def client(request, server):
    arguments = {'token': server['token'], 'api_url': server['url'], 'api_public_url': server['url'], 'max_retries': 1}
    return Awaited(ApifyClient(**arguments)) if request.param == 'blocking' else ApifyClientAsync(**arguments)


@pytest.fixture
def name(client):
    """A name that only this test of this kind of client uses."""
    kind = 'walk' if isinstance(client, Awaited) else 'walk-async'
    return lambda word: f'{kind}-{word}'


@pytest.fixture(scope='module')
def plain(server):
    """An Actor that does what its input says."""
    return given_actor(ApifyClient(server['token'], api_url=server['url']), 'plain')


def given_actor(client, name):
    directory = ACTORS / 'plain'
    files = [
        {'name': str(path.relative_to(directory)), 'format': 'TEXT', 'content': path.read_text()}
        for path in sorted(directory.rglob('*'))
        if path.is_file()
    ]
    version = {'versionNumber': '0.0', 'buildTag': 'latest', 'sourceType': 'SOURCE_FILES', 'sourceFiles': files}
    actor = client.actors().create(name=name, versions=[version], default_run_memory_mbytes=4096)
    build = client.actor(actor.id).build(version_number='0.0')
    assert client.build(build.id).wait_for_finish().status == 'SUCCEEDED'
    return client.actor(actor.id).get()


@pytest.fixture(scope='module')
def sink():
    """Where webhooks deliver."""
    heard = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers['content-length']))
            heard.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    listening = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    listening.heard = heard
    listening.url = f'http://127.0.0.1:{listening.server_port}'
    yield listening
    listening.shutdown()


async def until(ask):
    """Asks again until there is an answer."""
    deadline = time.monotonic() + 300
    while True:
        answer = ask()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, 'nothing came'
        await asyncio.sleep(0.05)


async def first(items):
    async for item in items:
        return item


async def every(items):
    return [item async for item in items]


def fetch(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def seconds(count):
    return timedelta(seconds=count)


async def test_the_user(client, server):
    me = await client.user('me').get()
    assert (me.id, me.username, bool(me.proxy.password)) == (server['userId'], 'playhouse', True)

    usage = await client.user().monthly_usage()
    assert usage.usage_cycle.start_at <= datetime.now(timezone.utc) < usage.usage_cycle.end_at
    await client.user().update_limits(max_monthly_usage_usd=123, data_retention_days=21)
    limits = await client.user().limits()
    assert (limits.limits.max_monthly_usage_usd, limits.limits.data_retention_days) == (123, 21)
    assert limits.current.actor_count >= 0


async def test_a_client_with_a_transport_of_its_own(server):
    kinds = [(ApifyClient, ImpitHttpClient), (ApifyClientAsync, ImpitHttpClientAsync)]
    for kind, transport in kinds:
        client = kind.with_custom_http_client(server['token'], api_url=server['url'], http_client=transport())
        me = client.user().get()
        me = await me if inspect.isawaitable(me) else me
        assert me.id == server['userId']


async def test_an_actor(client, name):
    me = await client.user().get()
    version = {'versionNumber': '0.0', 'sourceType': 'SOURCE_FILES', 'sourceFiles': []}
    made = await client.actors().create(name=name('made'), title='Made', versions=[version])
    assert (made.name, made.title, made.username, made.is_public) == (name('made'), 'Made', me.username, False)
    seen = await client.actor(f'{me.username}/{name("made")}').get()
    assert (seen.id, seen.versions[0].version_number) == (made.id, '0.0')

    word = name('okapis')
    changed = await client.actor(made.id).update(title=f'A crawler of {word}', is_public=True, categories=['AI'])
    assert (changed.title, changed.is_public, changed.categories) == (f'A crawler of {word}', True, ['AI'])
    mine = await client.actors().list(my=True, desc=True, limit=1)
    assert (mine.items[0].id, mine.limit, mine.count) == (made.id, 1, 1)
    assert made.id in [item.id for item in await every(client.actors().iterate(my=True, chunk_size=1))]
    found = await client.store().list(search=f'crawler of {word}')
    assert [(item.id, item.username) for item in found.items if item.title.endswith(word)] == [(made.id, me.username)]
    assert (await first(client.store().iterate(search=f'crawler of {word}'))).id == made.id

    await client.actor(made.id).delete()
    assert await client.actor(made.id).get() is None


async def test_versions_and_their_variables(client, plain):
    actor = client.actor(plain.id)
    files = [{'name': 'main.js', 'format': 'TEXT', 'content': '// nothing'}]
    made = await actor.versions().create(
        version_number='0.1', source_type='SOURCE_FILES', build_tag='beta', source_files=files
    )
    assert (made.version_number, made.build_tag, made.source_files[0].content) == ('0.1', 'beta', '// nothing')
    assert [item.version_number for item in (await actor.versions().list()).items] == ['0.0', '0.1']
    assert [item.version_number for item in await every(actor.versions().iterate())] == ['0.0', '0.1']
    version = actor.version('0.1')
    assert (await version.update(build_tag='gamma')).build_tag == 'gamma'
    assert (await version.get()).build_tag == 'gamma'

    secret = await version.env_vars().create(name='SECRET', value='hush', is_secret=True)
    assert (secret.name, secret.is_secret, secret.value) == ('SECRET', True, None)
    await version.env_vars().create(name='A', value='1')
    assert (await version.env_var('A').update(name='A', value='2')).value == '2'
    assert (await version.env_var('A').get()).value == '2'
    assert sorted(item.name for item in (await version.env_vars().list()).items) == ['A', 'SECRET']
    assert sorted([item.name for item in await every(version.env_vars().iterate())]) == ['A', 'SECRET']
    await version.env_var('SECRET').delete()
    assert await version.env_var('SECRET').get() is None
    await version.delete()
    assert await version.get() is None


async def test_builds(client, plain, name):
    actor = client.actor(plain.id)
    started = await actor.build(version_number='0.0', tag=name('second'), use_cache=True)
    assert (started.act_id, started.meta.origin) == (plain.id, 'API')
    build = await client.build(started.id).wait_for_finish(wait_duration=seconds(600))
    assert (build.status, build.build_number) == ('SUCCEEDED', started.build_number)
    assert (await client.build(started.id).get()).actor_definition.name == 'plain'
    assert 'Z ' in (await client.build(started.id).log().get())
    described = await client.build(started.id).get_open_api_definition()
    assert described['info']['x-build-id'] == started.id

    fallback = await actor.default_build()
    assert (await fallback.get()).build_number == '0.0.1'
    listed = await actor.builds().list(desc=True)
    assert (listed.items[0].id, listed.items[-1].build_number) == (started.id, '0.0.1')
    assert (await first(actor.builds().iterate(desc=True))).id == started.id
    assert (await client.builds().list(desc=True, limit=1)).items[0].status == 'SUCCEEDED'
    assert (await client.build(started.id).abort()).status == 'SUCCEEDED', 'what has ended stays as it is'
    await client.build(started.id).delete()
    assert await client.build(started.id).get() is None


async def test_an_actor_runs(client, plain):
    actor = client.actor(plain.id)
    assert await actor.validate_input({'say': 'well'}) is True
    with pytest.raises(ApifyApiError) as refused:
        await actor.validate_input({'say': 5})
    assert (refused.value.status_code, refused.value.type) == (400, 'invalid-input')

    options = {'memory_mbytes': 2048, 'run_timeout': seconds(60), 'wait_for_finish': 60}
    started = await actor.start(run_input={'say': 'started'}, **options)
    assert (started.status, started.options.memory_mbytes, started.options.timeout_secs) == ('SUCCEEDED', 2048, 60)
    run = await actor.call(run_input={'say': 'called', 'items': [{'n': 1}, {'n': 2}]}, logger=None)
    assert (run.status, run.exit_code, run.act_id, run.meta.origin) == ('SUCCEEDED', 0, plain.id, 'API')

    last = actor.last_run(status='SUCCEEDED')
    assert (await last.get()).id == run.id
    assert [item.id for item in (await actor.runs().list(desc=True, limit=2)).items] == [run.id, started.id]
    assert (await first(actor.runs().iterate(desc=True, status='SUCCEEDED'))).id == run.id
    assert (await client.runs().list(desc=True, limit=1)).items[0].id == run.id
    before = await client.runs().list(started_before=started.started_at - seconds(3600))
    assert before.items == []


async def test_a_run_and_what_it_leaves(client, plain):
    run = client.run((await client.actor(plain.id).call(run_input={'say': 'words for the log'}, logger=None)).id)

    assert (await run.dataset().list_items()).items == [{'n': 1}], 'the default of the input schema'
    assert await every(run.iterate_dataset_items()) == [{'n': 1}]
    assert (await run.key_value_store().get_record('OUTPUT'))['value']['said'] == 'words for the log'
    assert (await run.request_queue().get()).total_request_count == 0
    assert 'Z words for the log\n' in await run.log().get()
    assert b'Z words for the log\n' in await run.log().get_as_bytes()
    run_id = (await run.get()).id
    async with client.log(run_id).stream() as response:
        assert b'Z words for the log\n' in await body_of(response)


async def test_a_run_under_way(client, plain, server, name, caplog):
    priced = given_actor(ApifyClient(server['token'], api_url=server['url']), name('priced'))
    event = {'eventTitle': 'Page', 'eventDescription': 'One page', 'eventPriceUsd': 0.5}
    pricing = {
        'pricingModel': 'PAY_PER_EVENT',
        'apifyMarginPercentage': 0.2,
        'createdAt': '2020-01-01T00:00:00.000Z',
        'startedAt': '2020-01-01T00:00:00.000Z',
        'pricingPerEvent': {'actorChargeEvents': {'page': event}},
    }
    await client.actor(priced.id).update(pricing_infos=[pricing])
    run_id = (await client.actor(priced.id).start(run_input={'say': 'first', 'wait': True})).id
    run = client.run(run_id)
    logger = logging.getLogger(name('followed'))
    logger.setLevel(logging.DEBUG)
    lines = []
    logger.addHandler(type('Keep', (logging.Handler,), {'emit': lambda _, record: lines.append(record.getMessage())})())
    log = run.get_streamed_log(to_logger=logger)
    log = await log if inspect.isawaitable(log) else log
    watcher = run.get_status_message_watcher(to_logger=logger, check_period=timedelta(milliseconds=100))
    watcher = await watcher if inspect.isawaitable(watcher) else watcher
    follow = log.start()
    watch = watcher.start()

    async def shared():
        return await run.key_value_store().get_record('TOKEN')

    token = (await until(shared))['value']['token']
    itself = ApifyClient(token, api_url=server['url'])
    itself = Awaited(itself) if isinstance(client, Awaited) else ApifyClientAsync(token, api_url=server['url'])
    await itself.run(run_id).charge('page', count=2)
    seen = await run.get()
    assert (seen.charged_event_counts, seen.pricing_info.pricing_model) == ({'page': 2}, 'PAY_PER_EVENT')
    assert (await run.update(status_message='Half way')).status_message == 'Half way'
    await until(lambda: any('Half way' in line for line in lines))

    assert (await run.reboot()).status == 'RUNNING'

    async def rebooted():
        return (await run.get()).stats.reboot_count == 1

    await until(rebooted)
    await until(lambda: any('first' in line for line in lines))
    changed = await run.metamorph(target_actor_id=plain.id, run_input={'say': 'second', 'wait': True})
    assert changed.id == run_id

    async def changed_over():
        return (await run.key_value_store().get_record('OUTPUT'))['value']['said'] == 'second'

    await until(changed_over)
    await run.update(status_message='Over', is_status_message_terminal=True)
    assert (await run.abort()).status.startswith('ABORT')
    ended = await run.wait_for_finish(wait_duration=seconds(300))
    assert (ended.status, len(ended.metamorphs)) == ('ABORTED', 1)
    for follower in (log, watcher):
        stopped = follower.stop()
        if inspect.isawaitable(stopped):
            await stopped
    assert follow is not None and watch is not None

    resurrected = await run.resurrect(memory_mbytes=2048, run_timeout=seconds(30))
    assert (resurrected.options.memory_mbytes, resurrected.stats.resurrect_count) == (2048, 1)
    await run.abort()
    await run.wait_for_finish()
    await run.delete()
    assert await run.get() is None


async def test_datasets(client, name):
    schema = {'fields': {'type': 'object', 'properties': {'a': {'type': 'number'}}}, 'views': {}}
    made = await client.datasets().get_or_create(name=name('items'), schema=schema)
    dataset = client.dataset(made.id)
    await dataset.push_items([{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'y'}, {'a': 3}])

    assert (await dataset.get()).item_count == 3
    assert (await dataset.list_items(offset=1, limit=1, fields=['a'])).items == [{'a': 2}]
    assert [item['a'] for item in await every(dataset.iterate_items(chunk_size=2))] == [1, 2, 3]
    table = '\ufeff"a","b"\n1,"x"\n2,"y"\n3,\n'
    assert (await dataset.get_items_as_bytes(item_format='csv')).decode() == table
    async with dataset.stream_items(item_format='jsonl', limit=1) as response:
        lines = (await body_of(response)).decode().splitlines()
        assert [json.loads(line) for line in lines] == [{'a': 1, 'b': 'x'}]
    assert (await dataset.get_statistics()).field_statistics['a']['max'] == 3
    url = await dataset.create_items_public_url(limit=1)
    assert json.loads(fetch(url)) == [{'a': 1, 'b': 'x'}], 'signed, so no token is needed'
    assert (await dataset.update(name=name('items-2'))).name == name('items-2')
    assert made.id in [item.id for item in (await client.datasets().list()).items]
    assert made.id in [item.id for item in await every(client.datasets().iterate(chunk_size=1))]
    await dataset.delete()
    assert await dataset.get() is None


async def test_key_value_stores(client, name):
    made = await client.key_value_stores().get_or_create(name=name('records'))
    store = client.key_value_store(made.id)
    await store.set_record('a', {'deep': [1]})
    await store.set_record('b', 'words', content_type='text/plain')

    assert (await store.get_record('a'))['value'] == {'deep': [1]}
    assert (await store.get_record_as_bytes('b'))['value'] == b'words'
    async with store.stream_record('b') as record:
        assert await body_of(record['value']) == b'words'
    assert (await store.record_exists('b'), await store.record_exists('c')) == (True, False)
    listed = (await store.list_keys(limit=1, exclusive_start_key='a')).items
    assert [(item.key, item.size) for item in listed] == [('b', 5)]
    assert [item.key for item in await every(store.iterate_keys(chunk_size=1))] == ['a', 'b']
    assert fetch(await store.get_record_public_url('b')) == b'words'
    keys = json.loads(fetch(await store.create_keys_public_url()))
    assert [item['key'] for item in keys['data']['items']] == ['a', 'b']
    await store.delete_record('b')
    assert await store.get_record('b') is None
    assert (await store.update(name=name('records-2'))).name == name('records-2')
    assert (await store.get()).name == name('records-2')
    assert made.id in [item.id for item in (await client.key_value_stores().list()).items]
    assert made.id in [item.id for item in await every(client.key_value_stores().iterate(chunk_size=1))]
    await store.delete()
    assert await store.get() is None


async def test_request_queues(client, name):
    made = await client.request_queues().get_or_create(name=name('requests'))
    queue = client.request_queue(made.id, client_key='methods')

    def request(key):
        return {'url': f'http://example.com/{key}', 'unique_key': key}

    added = await queue.add_request(request('a'))
    assert (added.was_already_present, added.was_already_handled) == (False, False)
    batch = await queue.batch_add_requests([request(key) for key in 'abc'])
    present = {item.unique_key: item.was_already_present for item in batch.processed_requests}
    assert present == {'a': True, 'b': False, 'c': False}

    assert [item.unique_key for item in (await queue.list_head(limit=2)).items] == ['a', 'b']
    locked = await queue.list_and_lock_head(lock_duration=seconds(60), limit=2)
    assert [item.unique_key for item in locked.items] == ['a', 'b']
    one, two = locked.items
    prolonged = await queue.prolong_request_lock(one.id, lock_duration=seconds(600))
    assert prolonged.lock_expires_at > datetime.now(timezone.utc) + seconds(300)
    await queue.delete_request_lock(one.id)
    assert [item.unique_key for item in (await queue.list_head()).items] == ['c', 'a'], 'it goes behind the others'
    assert (await queue.unlock_requests()).unlocked_count == 1

    handled = {'id': two.id, **request('b'), 'handled_at': datetime.now(timezone.utc)}
    assert (await queue.update_request(handled)).request_id == two.id
    assert (await queue.get_request(two.id)).handled_at is not None
    assert sorted(item.unique_key for item in (await queue.list_requests(limit=10)).items) == ['a', 'b', 'c']
    assert sorted([item.unique_key for item in await every(queue.iterate_requests(chunk_size=2))]) == ['a', 'b', 'c']
    await queue.delete_request(one.id)
    assert await queue.get_request(one.id) is None
    deleted = await queue.batch_delete_requests([{'unique_key': 'c'}])
    assert [item.unique_key for item in deleted.processed_requests] == ['c']
    seen = await queue.get()
    assert (seen.total_request_count, seen.handled_request_count) == (1, 1)
    assert (await queue.update(name=name('requests-2'))).name == name('requests-2')
    assert made.id in [item.id for item in (await client.request_queues().list()).items]
    assert made.id in [item.id for item in await every(client.request_queues().iterate(chunk_size=1))]
    await queue.delete()
    assert await queue.get() is None


async def test_tasks(client, plain, name):
    made = await client.tasks().create(
        actor_id=plain.id, name=name('task'), title='A task', task_input={'say': 'from the task'}, memory_mbytes=2048
    )
    assert (made.act_id, made.name, made.title, made.options.memory_mbytes) == (plain.id, name('task'), 'A task', 2048)
    task = client.task(made.id)
    both = {'say': 'from the task', 'items': [{'n': 9}]}
    assert await task.update_input(task_input={'items': [{'n': 9}]}) == both
    assert await task.get_input() == both
    assert (await task.update(title='The task')).title == 'The task'
    assert (made.id, plain.id) in [(item.id, item.act_id) for item in (await client.tasks().list()).items]
    assert made.id in [item.id for item in await every(client.tasks().iterate(chunk_size=1))]

    started = await task.start(task_input={'say': 'over it'}, wait_for_finish=60)
    assert (started.status, started.actor_task_id, started.options.memory_mbytes) == ('SUCCEEDED', made.id, 2048)
    run = await task.call(memory_mbytes=1024)
    assert (run.status, run.options.memory_mbytes) == ('SUCCEEDED', 1024)
    output = await task.last_run(status='SUCCEEDED').key_value_store().get_record('OUTPUT')
    assert output['value'] == {'said': 'from the task', 'task': made.id}
    assert [item.id for item in (await task.runs().list(desc=True)).items] == [run.id, started.id]
    assert (await task.get()).stats.total_runs == 2

    await client.actor(plain.id).update(is_public=True, title='Plain', categories=['AI'])
    await task.update(
        public_config_seo_title='Search me',
        public_config_seo_description='Words',
        public_config_input_schema_fields=['say'],
        public_config_dataset_name='default',
        public_config_dataset_view='numbers',
    )
    published = await task.publish()
    assert (published.id, published.model_extra.get('isPublic', getattr(published, 'is_public', None))) == (made.id, True)
    unpublished = await task.unpublish()
    assert unpublished.model_extra.get('isPublic', getattr(unpublished, 'is_public', None)) is False
    await client.actor(plain.id).update(is_public=False)

    assert (await task.webhooks().list()).items == []
    await task.delete()
    assert await task.get() is None


async def test_schedules(client, plain, name):
    action = {
        'type': 'RUN_ACTOR',
        'actorId': plain.id,
        'runInput': {'body': '{"say":"scheduled"}', 'contentType': 'application/json'},
    }
    made = await client.schedules().create(
        name=name('schedule'),
        cron_expression='0 3 * * *',
        timezone='Europe/Prague',
        is_enabled=True,
        is_exclusive=True,
        actions=[action],
    )
    assert (made.name, made.cron_expression, made.timezone) == (name('schedule'), '0 3 * * *', 'Europe/Prague')
    assert made.actions[0].actor_id == plain.id
    assert made.next_run_at > datetime.now(timezone.utc)
    schedule = client.schedule(made.id)
    changed = await schedule.update(cron_expression='*/10 * * * * *', title='Often')
    assert (changed.title, len(changed.actions)) == ('Often', 1)
    assert made.id in [item.id for item in (await client.schedules().list()).items]
    assert made.id in [item.id for item in await every(client.schedules().iterate(chunk_size=1))]

    entries = await until(schedule.get_log)
    assert all(entry.message and entry.created_at for entry in entries)
    assert (await schedule.get()).last_run_at is not None
    await schedule.delete()
    assert await schedule.get() is None


async def test_webhooks_and_their_dispatches(client, plain, sink, name):
    path = f'/{name("hook")}'
    made = await client.webhooks().create(
        event_types=['ACTOR.RUN.SUCCEEDED'], actor_id=plain.id, request_url=sink.url + path
    )
    assert (made.event_types, made.condition.actor_id, made.is_ad_hoc) == (['ACTOR.RUN.SUCCEEDED'], plain.id, False)
    webhook = client.webhook(made.id)
    assert str((await webhook.get()).request_url) == sink.url + path
    assert (await webhook.update(description='Words')).description == 'Words'
    assert made.id in [item.id for item in (await client.webhooks().list()).items]
    assert made.id in [item.id for item in await every(client.webhooks().iterate(chunk_size=1))]
    assert made.id in [item.id for item in (await client.actor(plain.id).webhooks().list()).items]

    run = await client.actor(plain.id).call(run_input={'say': 'tell'}, logger=None)

    def told():
        return [body for at, body in sink.heard if at == path and body['resource']['id'] == run.id]

    heard = (await until(told))[0]
    assert (heard['resource']['status'], heard['eventType']) == ('SUCCEEDED', 'ACTOR.RUN.SUCCEEDED')

    tested = await webhook.test()
    assert (tested.webhook_id, tested.event_type) == (made.id, 'TEST')

    async def delivered():
        seen = await client.webhook_dispatch(tested.id).get()
        return seen if seen.status != 'ACTIVE' else None

    dispatch = await until(delivered)
    assert (dispatch.status, dispatch.calls[0].response_status) == ('SUCCEEDED', 200)
    dispatches = (await webhook.dispatches().list()).items
    assert {(item.webhook_id, item.event_type) for item in dispatches} == {(made.id, 'TEST'), (made.id, 'ACTOR.RUN.SUCCEEDED')}
    assert tested.id in [item.id for item in await every(webhook.dispatches().iterate(chunk_size=1))]
    assert tested.id in [item.id for item in (await client.webhook_dispatches().list(desc=True)).items]
    assert tested.id in [item.id for item in await every(client.webhook_dispatches().iterate(desc=True, chunk_size=1))]
    await webhook.delete()
    assert await webhook.get() is None


async def test_what_does_not_exist_is_none(client):
    kinds = [
        client.actor, client.run, client.build, client.task, client.schedule, client.webhook, client.webhook_dispatch,
        client.dataset, client.key_value_store, client.request_queue, client.log, client.user,
    ]  # fmt: skip
    for kind in kinds:
        assert await kind(MISSING).get() is None, kind


def test_every_method_of_the_package_is_listed_and_called():
    assert listed_methods() == public_methods(), 'see tests/clients/methods-py.txt'
    left = [method for method in listed_methods() if method not in CALLED]
    assert left == [], 'these methods are listed, but no test above calls them'
