"""The three storages through the official Python client, whose models insist on every field they name."""

from datetime import datetime, timedelta, timezone

import pytest
from apify_client import ApifyClient
from apify_client.errors import ApifyApiError


@pytest.fixture(scope='module')
def client(server):
    return ApifyClient(server['token'], api_url=server['url'], max_retries=1)


@pytest.fixture
def anonymous(server):
    return ApifyClient(api_url=server['url'], max_retries=1)


def test_the_user_is_whole(client, server):
    me = client.user().get()

    assert me.id == server['userId']
    assert me.username == 'playhouse'
    assert me.proxy.password


def test_datasets_keep_their_items_in_order(client):
    made = client.datasets().get_or_create(name='py-items')
    dataset = client.dataset(made.id)

    dataset.push_items([{'n': n, 'text': 'ž' * 50} for n in range(1500)])
    dataset.push_items({'n': 1500})

    assert dataset.get().item_count == 1501
    page = dataset.list_items(offset=1499, limit=5, fields=['n'])
    assert page.items == [{'n': 1499}, {'n': 1500}]
    assert page.total == 1501
    assert [item['n'] for item in dataset.iterate_items()] == list(range(1501))
    newest = dataset.list_items(desc=True, limit=1)
    assert newest.items == [{'n': 1500}]
    assert any(item.id == made.id for item in client.datasets().list().items)


def test_records_come_back_as_they_were_put(client):
    made = client.key_value_stores().get_or_create(name='py-store')
    store = client.key_value_store(made.id)

    store.set_record('object', {'deep': [1, None, 'é']})
    store.set_record('text', 'plain ' * 1000, content_type='text/plain')
    store.set_record('bytes', bytes(range(256)) * 500, content_type='application/octet-stream')
    store.set_record("odd!'()", 'odd', content_type='text/plain')

    assert store.get_record('object')['value'] == {'deep': [1, None, 'é']}
    assert store.get_record('text')['value'] == 'plain ' * 1000
    assert store.get_record('bytes')['value'] == bytes(range(256)) * 500
    assert store.get_record("odd!'()")['value'] == 'odd'
    assert store.get_record('nothing') is None
    assert store.record_exists('text')
    assert [item.key for item in store.list_keys().items] == ['bytes', 'object', "odd!'()", 'text']
    store.delete_record('text')
    assert not store.record_exists('text')


def test_queues_lock_what_they_hand_out(client):
    made = client.request_queues().get_or_create(name='py-queue')
    one = client.request_queue(made.id, client_key='one')
    two = client.request_queue(made.id, client_key='two')
    one.batch_add_requests([{'url': f'http://example.com/{key}', 'unique_key': key, 'uniqueKey': key} for key in 'abc'])

    mine = one.list_and_lock_head(lock_duration=timedelta(seconds=60), limit=2)

    assert [item.unique_key for item in mine.items] == ['a', 'b']
    assert [item.unique_key for item in two.list_head().items] == ['c']
    request = one.get_request(mine.items[0].id)
    assert request.unique_key == 'a'
    one.update_request({
        'id': mine.items[0].id,
        'uniqueKey': 'a',
        'url': 'http://example.com/a',
        'handledAt': datetime.now(timezone.utc).isoformat(),
    })
    info = one.get()
    assert (info.total_request_count, info.handled_request_count, info.pending_request_count) == (3, 1, 2)
    assert one.unlock_requests().unlocked_count == 1


def test_what_is_restricted_is_refused_without_a_token(client, anonymous):
    made = client.datasets().get_or_create()

    with pytest.raises(ApifyApiError) as refused:
        anonymous.dataset(made.id).list_items()

    assert refused.value.status_code == 403
