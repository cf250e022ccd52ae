// Crawlee on a local site of a few hundred pages with retries and failures: what comes out must be exact.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { isBroken, startPlayhouse, startSite } from './playhouse.mjs';

const PAGES = 300;
let server;
before(async () => {
    server = await startPlayhouse();
});

test('a crawl visits every page once, retries what fails and reports what never works', async () => {
    const site = await startSite(PAGES);

    const figures = await crawl('single', site.url);

    assert.equal(figures.requestsFinished + figures.requestsFailed, PAGES);
    await assertExact('single', site.url);
});

test('two crawlers on one queue share the work without doing any of it twice', async () => {
    const site = await startSite(PAGES);

    const both = await Promise.all([crawl('shared', site.url), crawl('shared', site.url)]);

    const sum = (key) => both.reduce((total, figures) => total + figures[key], 0);
    assert.equal(sum('requestsFinished') + sum('requestsFailed'), PAGES);
    await assertExact('shared', site.url);
    assert.equal((await server.client.requestQueue(await idOf('requestQueues', 'shared')).get()).hadMultipleClients, true);
});

test('what failed is crawled once more when it is requeued, and nothing else', async () => {
    const site = await startSite(PAGES);
    const broken = Array.from({ length: PAGES }, (_, number) => number).filter(isBroken);
    await crawl('again', site.url);
    const queue = `${server.url}/v2/request-queues/${await idOf('requestQueues', 'again')}`;
    const stats = await call('GET', `${queue}/x-stats`);
    assert.deepEqual(stats.requests, { total: PAGES, pending: 0, locked: 0, handled: PAGES, failed: broken.length });
    assert.deepEqual(stats.hosts.map(({ host, failed }) => [host, failed]), [['127.0.0.1', broken.length]]);
    assert.equal(stats.retryHistogram[3], broken.length);

    site.mend();
    const { requeuedCount } = await call('POST', `${queue}/x-requeue`, { hosts: ['127.0.0.1'], resetRetryCount: true });
    assert.equal(requeuedCount, broken.length);
    const asked = new Map(site.hits);
    const figures = await crawl('again', site.url);

    assert.deepEqual(figures, { requestsFinished: broken.length, requestsFailed: 0 });
    const moreHits = [...site.hits].filter(([number, hits]) => hits !== asked.get(number));
    assert.deepEqual(moreHits.map(([number, hits]) => [number, hits - asked.get(number)]).sort(([a], [b]) => a - b), broken.map((number) => [number, 1]));
    const after = await call('GET', `${queue}/x-stats`);
    assert.deepEqual(after.requests, { total: PAGES, pending: 0, locked: 0, handled: PAGES, failed: 0 });
    assert.equal((await call('POST', `${queue}/x-requeue`)).requeuedCount, 0);
});

async function call(method, url, body) {
    const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
    const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
    assert.equal(response.status, 200);
    return (await response.json()).data;
}

async function crawl(name, url) {
    const env = {
        PATH: process.env.PATH,
        HOME: server.directory,
        APIFY_API_BASE_URL: server.url,
        APIFY_TOKEN: server.token,
        CRAWLEE_STORAGE_DIR: mkdtempSync(join(server.directory, 'storage-')),
        APIFY_DISABLE_OUTDATED_WARNING: '1',
    };
    const program = fileURLToPath(new URL('crawler.mjs', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program, name, name, `${url}/0`], { env, timeout: 1_200_000 });
    return JSON.parse(stdout.trim().split('\n').at(-1));
}

async function assertExact(name, url) {
    const broken = Array.from({ length: PAGES }, (_, number) => number).filter(isBroken);
    const { items } = await server.client.dataset(await idOf('datasets', name)).listItems();
    const numberOf = (item) => Number(item.url.slice(url.length + 1));
    const numbers = items.map(numberOf).sort((a, b) => a - b);
    assert.deepEqual(numbers, Array.from({ length: PAGES }, (_, number) => number));
    assert.deepEqual(items.filter((item) => item.failed).map(numberOf).sort((a, b) => a - b), broken);
    for (const item of items.filter((found) => !found.failed)) {
        assert.equal(item.title, `Page ${numberOf(item)}`);
        assert.equal(item.retries, numberOf(item) % 7 === 6 ? 2 : 0, item.url);
    }
    const queue = await server.client.requestQueue(await idOf('requestQueues', name)).get();
    assert.deepEqual([queue.totalRequestCount, queue.handledRequestCount, queue.pendingRequestCount], [PAGES, PAGES, 0]);
}

async function idOf(kind, name) {
    return (await server.client[kind]().getOrCreate(name)).id;
}
