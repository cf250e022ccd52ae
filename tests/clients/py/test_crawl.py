"""Crawlee on a local site with retries and failures: what comes out must be exact."""

import collections
import concurrent.futures
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest
from apify_client import ApifyClient

PAGES = 200
BROKEN = {number for number in range(100, PAGES) if number % 50 == 0}


@pytest.fixture
def site():
    """Each page links to the next two; every seventh fails twice before it answers, and broken ones always do."""
    hits = collections.Counter()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self):
            number = int(self.path.strip('/').split('?')[0] or 0) if self.path.strip('/').isdigit() else PAGES
            hits[number] += 1
            if number >= PAGES:
                return self.answer(404, 'no such page')
            if number in BROKEN or (number % 7 == 6 and hits[number] <= 2):
                return self.answer(500, 'try again')
            links = ' '.join(f'<a href="/{n}">{n}</a>' for n in (2 * number + 1, 2 * number + 2) if n < PAGES)
            self.answer(200, f'<!doctype html><title>Page {number}</title>{links}')

        def answer(self, status, text):
            body = text.encode()
            self.send_response(status)
            self.send_header('Content-Type', 'text/html')
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


def crawl(server, access, name, url, storage):
    environment = {
        'PATH': os.environ['PATH'],
        'HOME': str(storage),
        'APIFY_API_BASE_URL': server['url'],
        'APIFY_TOKEN': server['token'],
        'CRAWLEE_STORAGE_DIR': str(storage),
    }
    program = pathlib.Path(__file__).with_name('crawler.py')
    done = subprocess.run(
        [sys.executable, str(program), access, name, name, f'{url}/0'],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def assert_exact(server, name, url):
    client = ApifyClient(server['token'], api_url=server['url'])
    dataset = client.datasets().get_or_create(name=name)
    items = client.dataset(dataset.id).list_items().items
    numbers = sorted(int(item['url'].removeprefix(f'{url}/')) for item in items)
    assert numbers == list(range(PAGES))
    assert {int(item['url'].removeprefix(f'{url}/')) for item in items if item.get('failed')} == BROKEN
    for item in items:
        number = int(item['url'].removeprefix(f'{url}/'))
        if not item.get('failed'):
            assert item['title'] == f'Page {number}'
            assert item['retries'] == (2 if number % 7 == 6 else 0)
    queue = client.request_queue(client.request_queues().get_or_create(name=name).id).get()
    assert (queue.total_request_count, queue.handled_request_count) == (PAGES, PAGES)


def test_a_crawl_visits_every_page_once(server, site, tmp_path):
    figures = crawl(server, 'single', 'py-single', site, tmp_path)

    assert figures['finished'] + figures['failed'] == PAGES
    assert_exact(server, 'py-single', site)


def test_two_crawlers_share_one_queue(server, site, tmp_path):
    for part in ('a', 'b'):
        (tmp_path / part).mkdir()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda part: crawl(server, 'shared', 'py-shared', site, tmp_path / part), ('a', 'b')))

    assert sum(figures['finished'] + figures['failed'] for figures in both) == PAGES
    assert_exact(server, 'py-shared', site)
