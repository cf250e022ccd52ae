// The three storages through the official JavaScript client.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { before, describe, test } from 'node:test';

import { startPlayhouse } from './playhouse.mjs';

let server;
let client;
before(async () => {
    server = await startPlayhouse();
    client = server.client;
});

describe('datasets', () => {
    test('keep items in order and give them back in every window', async () => {
        const { id } = await client.datasets().getOrCreate('my-items');
        const dataset = client.dataset(id);

        await dataset.pushItems({ n: 0 });
        await dataset.pushItems(Array.from({ length: 2500 }, (_, index) => ({ n: index + 1, '#debug': true, text: 'x'.repeat(100) })));

        const info = await dataset.get();
        assert.equal(info.itemCount, 2501);
        assert.equal(info.cleanItemCount, 2501);
        assert.deepEqual(info.fields, ['#debug', 'n', 'text']);
        const page = await dataset.listItems({ offset: 1000, limit: 3, fields: ['n'] });
        assert.deepEqual(page.items, [{ n: 1000 }, { n: 1001 }, { n: 1002 }]);
        assert.equal(page.total, 2501);
        assert.equal(page.count, 3);
        const newest = await dataset.listItems({ desc: true, limit: 1, clean: true, omit: ['text'] });
        assert.deepEqual(newest.items, [{ n: 2500 }]);
        const all = [];
        for await (const item of dataset.listItems({ limit: 2501 })) all.push(item.n);
        assert.deepEqual(all, Array.from({ length: 2501 }, (_, index) => index));
    });

    test('are downloaded as JSON lines', async () => {
        const { id } = await client.datasets().getOrCreate();
        await client.dataset(id).pushItems([{ a: 1 }, { a: 'ž\n' }]);

        const lines = await client.dataset(id).downloadItems('jsonl');

        assert.equal(lines.toString(), '{"a":1}\n{"a":"ž\\n"}\n');
    });

    test('are found by name, renamed, listed and deleted', async () => {
        const made = await client.datasets().getOrCreate('to-rename');
        const again = await client.datasets().getOrCreate('TO-rename');
        assert.equal(again.id, made.id);

        await client.dataset(made.id).update({ name: 'renamed' });

        const me = await client.user().get();
        assert.equal((await client.dataset(`${me.username}/renamed`).get()).id, made.id);
        assert.equal(await client.dataset(`${me.username}/to-rename`).get(), undefined);
        const listed = await client.datasets().list();
        assert.ok(listed.items.some((item) => item.id === made.id && item.name === 'renamed'));
        await client.dataset(made.id).delete();
        assert.equal(await client.dataset(made.id).get(), undefined);
    });

    test('refuse what is not an object and store nothing of it', async () => {
        const { id } = await client.datasets().getOrCreate();

        await assert.rejects(client.dataset(id).pushItems('[{"ok":1},5]'), { statusCode: 400 });

        assert.equal((await client.dataset(id).get()).itemCount, 0);
    });
});

describe('key-value stores', () => {
    test('give back text, JSON and bytes as they were put', async () => {
        const { id } = await client.keyValueStores().getOrCreate('my-store');
        const store = client.keyValueStore(id);
        const bytes = randomBytes(300_000);

        await store.setRecord({ key: 'object', value: { deep: [1, null, 'é'] } });
        await store.setRecord({ key: 'text', value: 'plain '.repeat(1000), contentType: 'text/plain; charset=utf-8' });
        await store.setRecord({ key: 'bytes', value: bytes, contentType: 'image/png' });

        assert.deepEqual((await store.getRecord('object')).value, { deep: [1, null, 'é'] });
        assert.equal((await store.getRecord('text')).value, 'plain '.repeat(1000));
        assert.deepEqual((await store.getRecord('bytes')).value, bytes);
        assert.equal(await store.getRecord('nothing'), undefined);
        assert.equal(await store.recordExists('text'), true);
        await store.deleteRecord('text');
        assert.equal(await store.recordExists('text'), false);
    });

    test('take and give streams', async () => {
        const { id } = await client.keyValueStores().getOrCreate();
        const store = client.keyValueStore(id);
        const parts = Array.from({ length: 40 }, () => randomBytes(100_000));

        await store.setRecord({ key: 'film', value: Readable.from(parts), contentType: 'video/mp4' });

        const { value } = await store.getRecord('film', { stream: true });
        const read = [];
        for await (const part of value) read.push(part);
        assert.deepEqual(Buffer.concat(read), Buffer.concat(parts));
    });

    test('list keys by page and prefix', async () => {
        const { id } = await client.keyValueStores().getOrCreate();
        const store = client.keyValueStore(id);
        for (const key of ['b-2', 'a-1', 'b-1', 'a-2', 'c']) await store.setRecord({ key, value: key });

        const first = await store.listKeys({ limit: 2 });
        assert.deepEqual(first.items.map((item) => item.key), ['a-1', 'a-2']);
        assert.equal(first.nextExclusiveStartKey, 'a-2');
        const rest = await store.listKeys({ exclusiveStartKey: 'a-2' });
        assert.deepEqual(rest.items.map((item) => item.key), ['b-1', 'b-2', 'c']);
        assert.equal(rest.nextExclusiveStartKey, null);
        const some = await store.listKeys({ prefix: 'b-' });
        assert.deepEqual(some.items.map((item) => item.key), ['b-1', 'b-2']);
    });

    test('open a record to whoever has its signed link', async () => {
        const { id } = await client.keyValueStores().getOrCreate();
        await client.keyValueStore(id).setRecord({ key: 'shared', value: 'hello', contentType: 'text/plain' });

        const link = await client.keyValueStore(id).getRecordPublicUrl('shared');

        assert.equal(await (await fetch(link)).text(), 'hello');
        assert.equal((await fetch(link.replace(/signature=.*/, 'signature=wrong'))).status, 403);
    });
});

describe('request queues', () => {
    test('know each request once and hand them out in order', async () => {
        const { id } = await client.requestQueues().getOrCreate('my-queue');
        const queue = client.requestQueue(id, { clientKey: 'one' });

        const added = await queue.addRequest({ url: 'http://example.com', uniqueKey: 'http://example.com' });
        assert.deepEqual(added.requestId, '8OamqXBCpPHxyH9');
        assert.equal(added.wasAlreadyPresent, false);
        assert.equal((await queue.addRequest({ url: 'http://example.com', uniqueKey: 'http://example.com' })).wasAlreadyPresent, true);
        const many = Array.from({ length: 60 }, (_, index) => ({ url: `http://example.com/${index}`, uniqueKey: `${index}` }));
        const batch = await queue.batchAddRequests(many, { maxParallel: 1 });
        assert.equal(batch.processedRequests.length, 60);
        assert.equal(batch.unprocessedRequests.length, 0);
        await queue.addRequest({ url: 'http://example.com/first', uniqueKey: 'first' }, { forefront: true });

        const head = await queue.listHead({ limit: 3 });

        assert.deepEqual(head.items.map((item) => item.uniqueKey), ['first', 'http://example.com', '0']);
        const info = await queue.get();
        assert.equal(info.totalRequestCount, 62);
        assert.equal(info.pendingRequestCount, 62);
        assert.equal(info.hadMultipleClients, false);
    });

    test('lock requests so that nobody else gets them, and give them back', async () => {
        const { id } = await client.requestQueues().getOrCreate();
        const one = client.requestQueue(id, { clientKey: 'one' });
        const two = client.requestQueue(id, { clientKey: 'two' });
        await one.batchAddRequests(['a', 'b', 'c'].map((key) => ({ url: `http://example.com/${key}`, uniqueKey: key })));

        const mine = await one.listAndLockHead({ limit: 2, lockSecs: 60 });
        const theirs = await two.listAndLockHead({ limit: 2, lockSecs: 60 });

        assert.deepEqual(mine.items.map((item) => item.uniqueKey), ['a', 'b']);
        assert.deepEqual(theirs.items.map((item) => item.uniqueKey), ['c']);
        assert.equal(theirs.queueHasLockedRequests, true);
        assert.equal((await two.get()).hadMultipleClients, true);
        await assert.rejects(two.prolongRequestLock(mine.items[0].id, { lockSecs: 60 }), { statusCode: 403 });
        await one.prolongRequestLock(mine.items[0].id, { lockSecs: 120 });
        await one.updateRequest({ ...(await one.getRequest(mine.items[0].id)), handledAt: new Date().toISOString() });
        await one.deleteRequestLock(mine.items[1].id, { forefront: true });
        assert.deepEqual((await two.listHead()).items.map((item) => item.uniqueKey), ['b']);
        assert.equal((await two.unlockRequests()).unlockedCount, 1);
        const info = await one.get();
        assert.deepEqual([info.totalRequestCount, info.handledRequestCount, info.pendingRequestCount], [3, 1, 2]);
    });

    test('list all requests by pages and delete them', async () => {
        const { id } = await client.requestQueues().getOrCreate();
        const queue = client.requestQueue(id);
        await queue.batchAddRequests(Array.from({ length: 30 }, (_, index) => ({ url: `http://example.com/${index}`, uniqueKey: `${index}` })));

        const seen = [];
        for await (const page of queue.paginateRequests({ maxPageLimit: 7 })) seen.push(...page.items.map((item) => item.uniqueKey));

        assert.equal(new Set(seen).size, 30);
        const deleted = await queue.batchDeleteRequests([{ uniqueKey: '1' }, { uniqueKey: '2' }]);
        assert.equal(deleted.processedRequests.length, 2);
        await queue.deleteRequest((await queue.listHead({ limit: 1 })).items[0].id);
        assert.equal((await queue.get()).totalRequestCount, 27);
    });
});

describe('access', () => {
    test('without a token a storage is restricted, and open once its owner says so', async () => {
        const { id } = await client.datasets().getOrCreate();
        await client.dataset(id).pushItems({ secret: 1 });

        await assert.rejects(server.anonymous.dataset(id).listItems(), { statusCode: 403, type: 'insufficient-permissions' });
        await client.dataset(id).update({ generalAccess: 'ANYONE_WITH_ID_CAN_READ' });

        assert.deepEqual((await server.anonymous.dataset(id).listItems()).items, [{ secret: 1 }]);
        await assert.rejects(server.anonymous.dataset(id).pushItems({ more: 1 }), { statusCode: 401 });
    });
});
