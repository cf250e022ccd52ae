"""One Crawlee crawler on a queue and a dataset of the server: crawler.py ACCESS QUEUE DATASET START_URL."""

import asyncio
import json
import logging
import sys
from datetime import timedelta

from apify import Actor, Configuration
from apify.storage_clients import ApifyStorageClient, SmartApifyStorageClient
from apify.storage_clients._apify._request_queue_shared_client import ApifyRequestQueueSharedClient
from crawlee import ConcurrencySettings, service_locator
from crawlee.crawlers import BeautifulSoupCrawler, BeautifulSoupCrawlingContext


def remember_what_was_handed_out() -> None:
    """Works around a race in SDK 4.1.0, which makes a crawler wait for ever.

    When the answer that hands out a new request is read before the answer to its addition, the latter overwrites what
    the SDK knows of the request, which then lies in the SDK's head of the queue but is never taken from there.
    """
    cache = ApifyRequestQueueSharedClient._cache_request

    def cache_if_new(self, cache_key, processed_request, *, hydrated_request=None, **kwargs):
        known = self._requests_cache.get(cache_key)
        if hydrated_request is not None or known is None or known.hydrated is None:
            cache(self, cache_key, processed_request, hydrated_request=hydrated_request, **kwargs)

    ApifyRequestQueueSharedClient._cache_request = cache_if_new


async def main(access: str, queue_name: str, dataset_name: str, start_url: str) -> None:
    remember_what_was_handed_out()
    # With `single` the SDK takes itself for the queue's only client, and locks nothing.
    cloud = ApifyStorageClient(request_queue_access=access)
    service_locator.set_storage_client(SmartApifyStorageClient(cloud_storage_client=cloud))
    async with Actor(configuration=Configuration(log_level='ERROR'), exit_process=False):
        queue = await Actor.open_request_queue(name=queue_name, force_cloud=True)
        dataset = await Actor.open_dataset(name=dataset_name, force_cloud=True)
        crawler = BeautifulSoupCrawler(
            request_manager=queue,
            max_request_retries=3,
            # On a busy machine Crawlee would go down to one request at a time.
            concurrency_settings=ConcurrencySettings(min_concurrency=5, desired_concurrency=5, max_concurrency=10),
            use_session_pool=False,
            request_handler_timeout=timedelta(seconds=30),
            configure_logging=False,
        )
        logging.getLogger('crawlee').setLevel(logging.CRITICAL)

        @crawler.router.default_handler
        async def handle(context: BeautifulSoupCrawlingContext) -> None:
            await dataset.push_data({
                'url': context.request.url,
                'title': context.soup.title.string,
                'retries': context.request.retry_count,
            })
            await context.enqueue_links()

        @crawler.failed_request_handler
        async def fail(context, error) -> None:
            await dataset.push_data({'url': context.request.url, 'failed': True})

        figures = await crawler.run([start_url])
        print(json.dumps({'finished': figures.requests_finished, 'failed': figures.requests_failed}))


asyncio.run(main(*sys.argv[1:]))
