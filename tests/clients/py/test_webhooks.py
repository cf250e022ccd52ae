"""Webhooks and dispatches through the official Python client, whose models insist on every field they name."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest
from apify_client import ApifyClient

# Tells in a record what it was started with, and ends once it is told to.
MAIN = """
import json, os, time, urllib.error, urllib.request
base, token, store = (os.environ[name] for name in ('APIFY_API_BASE_URL', 'APIFY_TOKEN', 'ACTOR_DEFAULT_KEY_VALUE_STORE_ID'))

def call(method, key, body=None):
    headers = {'Authorization': f'Bearer {token}', 'Content-Type': 'application/json'}
    url = f'{base}v2/key-value-stores/{store}/records/{key}'
    return urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers, data=body))

call('PUT', 'SELF', json.dumps({'token': token}).encode())
while True:
    try:
        call('GET', 'GO')
        break
    except urllib.error.HTTPError:
        time.sleep(0.05)
"""


@pytest.fixture(scope='module')
def client(server):
    return ApifyClient(server['token'], api_url=server['url'], max_retries=1)


@pytest.fixture(scope='module')
def sink():
    """A target that remembers what it was told by path."""
    told = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length']))
            told.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(404 if self.path == '/fails' else 200)
            self.send_header('Content-Length', '6')
            self.end_headers()
            self.wfile.write(b'thanks')

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    class Sink:
        url = f'http://127.0.0.1:{server.server_port}'

        @staticmethod
        def until(path, count):
            deadline = time.monotonic() + 300
            while len(found := [(headers, body) for at, headers, body in told if at == path]) < count:
                assert time.monotonic() < deadline, f'{path} was not told of anything'
                time.sleep(0.02)
            return found

    yield Sink
    server.shutdown()


@pytest.fixture(scope='module')
def actor(client):
    def file(name, content):
        return {'name': name, 'format': 'TEXT', 'content': content}

    made = client.actors().create(
        name='py-told-of',
        versions=[{
            'versionNumber': '0.0',
            'sourceType': 'SOURCE_FILES',
            'buildTag': 'latest',
            'sourceFiles': [
                file('.actor/actor.json', '{"actorSpecification":1,"name":"py-told-of","version":"0.0"}'),
                file('Dockerfile', 'FROM python:3\nCOPY main.py ./\nCMD ["python3", "main.py"]\n'),
                file('main.py', MAIN),
            ],
        }],
    )
    build = client.actor(made.id).build(version_number='0.0', wait_for_finish=60)
    assert client.build(build.id).wait_for_finish().status == 'SUCCEEDED'
    return made.id


def ended(client, dispatch):
    while (found := client.webhook_dispatch(dispatch).get()).status == 'ACTIVE':
        time.sleep(0.02)
    return found


def let_go(client, run):
    client.key_value_store(run.default_key_value_store_id).set_record('GO', True)
    return client.run(run.id).wait_for_finish()


def test_a_webhook_is_made_changed_tested_listed_and_deleted(client, sink, actor):
    made = client.webhooks().create(
        event_types=['ACTOR.RUN.FAILED'],
        request_url=f'{sink.url}/first',
        actor_id=actor,
        idempotency_key='py',
        description='of Python',
        ignore_ssl_errors=True,
        do_not_retry=True,
    )
    webhook = client.webhook(made.id)
    assert webhook.get().description == 'of Python'
    assert webhook.get().condition.actor_id == actor

    changed = webhook.update(request_url=f'{sink.url}/fails', payload_template='{"event": {{eventType}}}')
    assert str(changed.request_url) == f'{sink.url}/fails'
    assert changed.event_types == ['ACTOR.RUN.FAILED']
    dispatch = ended(client, webhook.test().id)

    [(headers, body)] = sink.until('/fails', 1)
    assert json.loads(body) == {'event': 'TEST'}
    assert headers['x-apify-webhook-dispatch-id'] == dispatch.id
    assert dispatch.status == 'FAILED'
    assert [(call.response_status, call.response_body) for call in dispatch.calls] == [(404, 'thanks')]
    assert [item.id for item in webhook.dispatches().list(limit=10, desc=True).items] == [dispatch.id]
    assert dispatch.id in [item.id for item in client.webhook_dispatches().list().items]
    for listed in (client.webhooks().list(limit=1000), client.actor(actor).webhooks().list()):
        assert made.id in [item.id for item in listed.items]
    assert webhook.get().stats.total_dispatches == 1
    webhook.delete()
    assert webhook.get() is None
    assert client.webhook_dispatch(dispatch.id).get().id == dispatch.id


def test_a_start_brings_webhooks_of_its_own(client, sink, actor):
    run = client.actor(actor).start(
        memory_mbytes=256, webhooks=[{'event_types': ['ACTOR.RUN.SUCCEEDED'], 'request_url': f'{sink.url}/mine'}]
    )
    assert let_go(client, run).status == 'SUCCEEDED'

    [(_, body)] = sink.until('/mine', 1)

    told = json.loads(body)
    assert (told['eventType'], told['resource']['id']) == ('ACTOR.RUN.SUCCEEDED', run.id)
    assert any(item.is_ad_hoc for item in client.webhooks().list().items)


def test_a_run_adds_a_webhook_through_its_sdk(client, server, sink, actor, tmp_path):
    run = client.actor(actor).start(memory_mbytes=256)
    store = client.key_value_store(run.default_key_value_store_id)
    while (self := store.get_record('SELF')) is None:
        time.sleep(0.02)
    environment = {
        'PATH': os.environ['PATH'],
        'HOME': str(tmp_path),
        'APIFY_IS_AT_HOME': '1',
        'APIFY_API_BASE_URL': server['url'] + '/',
        'APIFY_TOKEN': self['value']['token'],
        'ACTOR_RUN_ID': run.id,
        'ACTOR_DEFAULT_KEY_VALUE_STORE_ID': run.default_key_value_store_id,
        'ACTOR_DEFAULT_DATASET_ID': run.default_dataset_id,
        'ACTOR_DEFAULT_REQUEST_QUEUE_ID': run.default_request_queue_id,
    }
    program = pathlib.Path(__file__).with_name('add_webhook.py')
    done = subprocess.run(
        [sys.executable, str(program), f'{sink.url}/added'], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    let_go(client, run)

    [(_, body)] = sink.until('/added', 1)

    assert json.loads(body)['resource']['id'] == run.id


def test_deliveries_are_signed_with_the_secret(client, server, sink, actor):
    key = b'a secret of thirty-two bytes !!!'
    made = client.webhooks().create(event_types=['TEST'], request_url=f'{sink.url}/signed', actor_id=actor)
    secret = json.dumps({'xSecret': 'whsec_' + base64.b64encode(key).decode()}).encode()
    put(server, f'webhooks/{made.id}', secret)

    client.webhook(made.id).test()
    [(headers, body)] = sink.until('/signed', 1)

    signed = f'{headers["webhook-id"]}.{headers["webhook-timestamp"]}.'.encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers['webhook-signature'] == f'v1,{expected}'


def put(server, path, body):
    import urllib.request

    headers = {'Authorization': f'Bearer {server["token"]}', 'Content-Type': 'application/json'}
    request = urllib.request.Request(f'{server["url"]}/v2/{path}', method='PUT', headers=headers, data=body)
    assert urllib.request.urlopen(request).status == 200
