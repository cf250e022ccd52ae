"""Every method of `user()`: the Python client refuses an answer that lacks a field."""

import datetime

import pytest
from apify_client import ApifyClient
from apify_client.errors import ApifyApiError


@pytest.fixture
def client(server):
    return ApifyClient(server['token'], api_url=server['url'], max_retries=0)


def test_the_private_and_the_public_user(server, client):
    me = client.user().get()
    public = ApifyClient(api_url=server['url']).user(me.username).get()

    assert (me.id, me.username) == (server['userId'], 'playhouse')
    assert me.plan.available_proxy_groups is not None
    assert me.proxy.password
    assert me.is_paying is True
    assert public.username == 'playhouse'
    assert ApifyClient(api_url=server['url']).user('nobody').get() is None


def test_limits_are_read_and_set(client):
    client.user().update_limits(max_monthly_usage_usd=300, data_retention_days=90)

    limits = client.user().limits()

    assert (limits.limits.max_monthly_usage_usd, limits.limits.data_retention_days) == (300, 90)
    assert limits.current.active_actor_job_count == 0
    assert limits.monthly_usage_cycle.start_at.tzinfo is not None
    with pytest.raises(ApifyApiError) as refused:
        client.user().update_limits(data_retention_days=-1)
    assert refused.value.status_code == 400


def test_usage_of_this_month(client):
    usage = client.user().monthly_usage()

    assert usage.total_usage_credits_usd_after_volume_discount >= 0
    assert usage.usage_cycle.start_at <= datetime.datetime.now(datetime.UTC) <= usage.usage_cycle.end_at
