"""An Actor that is paid per event, charged with the official Python SDK."""

import pytest
from apify_client import ApifyClient
from apify_client.errors import ApifyApiError

DOCKERFILE = """FROM apify/actor-python:3
RUN pip install 'apify>=4,<5'
COPY . ./
CMD ["python3", "main.py"]
"""
PROGRAM = """
import asyncio
from apify import Actor

async def main():
    async with Actor:
        charged = await Actor.charge('page', count=3)
        await Actor.push_data([{'n': 1}, {'n': 2}], charged_event_name='item')
        unknown = await Actor.charge('nothing')
        await Actor.set_value('OUTPUT', {
            'charged': charged.charged_count,
            'counted': Actor.get_charging_manager().get_charged_event_count('page'),
        })

asyncio.run(main())
"""


def event(price):
    return {'eventTitle': 'An event', 'eventDescription': 'What it stands for', 'eventPriceUsd': price}


PRICING = {
    'pricingModel': 'PAY_PER_EVENT',
    'apifyMarginPercentage': 0,
    'createdAt': '2020-01-01T00:00:00.000Z',
    'startedAt': '2020-01-01T00:00:00.000Z',
    'pricingPerEvent': {
        'actorChargeEvents': {
            'apify-actor-start': event(0.01),
            'apify-default-dataset-item': event(0.001),
            'page': event(0.1),
            'item': event(0.02),
        }
    },
}


@pytest.fixture(scope='module')
def paid(server):
    client = ApifyClient(server['token'], api_url=server['url'])
    files = {'Dockerfile': DOCKERFILE, 'main.py': PROGRAM}
    source_files = [{'name': name, 'format': 'TEXT', 'content': text} for name, text in files.items()]
    actor = client.actors().create(
        name='paid-python',
        versions=[{'versionNumber': '0.0', 'buildTag': 'latest', 'sourceType': 'SOURCE_FILES', 'sourceFiles': source_files}],
        default_run_memory_mbytes=512,
    )
    client.actor(actor.id).update(pricing_infos=[PRICING])
    build = client.actor(actor.id).build(version_number='0.0', wait_for_finish=60)
    build = client.build(build.id).wait_for_finish()
    assert build.status == 'SUCCEEDED', client.log(build.id).get()
    return client, actor


def test_events_are_charged_by_the_run_and_counted_in_it(paid):
    client, actor = paid

    run = client.actor(actor.id).call(logger=None)

    assert run.status == 'SUCCEEDED', client.log(run.id).get()
    expected = {'apify-actor-start': 1, 'apify-default-dataset-item': 2, 'page': 3, 'item': 2}
    assert run.charged_event_counts == expected
    assert run.pricing_info.pricing_model == 'PAY_PER_EVENT'
    output = client.run(run.id).key_value_store().get_record('OUTPUT')['value']
    assert output == {'charged': 3, 'counted': 3}
    with pytest.raises(ApifyApiError) as refused:
        client.run(run.id).charge('page', count=1)
    assert refused.value.status_code == 403


def test_a_budget_is_not_exceeded(paid):
    client, actor = paid

    run = client.actor(actor.id).call(max_total_charge_usd=0.11, logger=None)

    assert run.status == 'ABORTED'
    assert run.charged_event_counts['page'] <= 2
