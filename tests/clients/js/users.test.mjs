// Every method of `user()` against the real server, and tokens that may do little.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { promisify } from 'node:util';

import { ApifyClient } from 'apify-client';

import { binary, startPlayhouse } from './playhouse.mjs';

let server;
let dataDirectory;
before(async () => {
    const { mkdtempSync } = await import('node:fs');
    const { tmpdir } = await import('node:os');
    dataDirectory = join(mkdtempSync(join(tmpdir(), 'playhouse-users-')), 'data');
    server = await startPlayhouse(['--data-dir', dataDirectory]);
});

async function playhouse(...args) {
    const { stdout } = await promisify(execFile)(binary, [...args, '--json', '--data-dir', dataDirectory]);
    return JSON.parse(stdout);
}

function clientOf(token) {
    return new ApifyClient({ baseUrl: server.url, publicBaseUrl: server.url, token, maxRetries: 0 });
}

test('a user sees all of itself, and others what it tells everybody', async () => {
    await playhouse('user', 'set', 'playhouse', '--full-name', 'Play House', '--email', 'play@example.com', '--bio', 'Runs things');

    const me = await server.client.user().get();
    const seen = await server.anonymous.user(me.username).get();

    assert.equal(me.id, server.userId);
    assert.equal(me.email, 'play@example.com');
    assert.deepEqual(me.profile, { name: 'Play House', bio: 'Runs things' });
    assert.ok(me.createdAt instanceof Date);
    assert.ok(me.proxy.password);
    assert.equal(me.isPaying, true);
    assert.deepEqual(seen.profile, me.profile);
    assert.equal(seen.email, undefined);
    assert.equal(await server.anonymous.user('no-such-user').get(), undefined);
});

test('limits are read and set', async () => {
    await server.client.user().updateLimits({ maxMonthlyUsageUsd: 300, dataRetentionDays: 90 });

    const { limits, current, monthlyUsageCycle } = await server.client.user().limits();

    assert.deepEqual([limits.maxMonthlyUsageUsd, limits.dataRetentionDays], [300, 90]);
    assert.equal(current.activeActorJobCount, 0);
    assert.ok(monthlyUsageCycle.startAt <= new Date() && new Date() <= monthlyUsageCycle.endAt);
    await assert.rejects(server.client.user().updateLimits({ dataRetentionDays: -1 }), { type: 'invalid-request', statusCode: 400 });
});

test('usage is told by day and service, also of months without any', async () => {
    const usage = await server.client.user().monthlyUsage();
    // The client has no way to ask for another month.
    const headers = { authorization: `Bearer ${server.token}` };
    const { data: former } = await (await fetch(`${server.url}/v2/users/me/usage/monthly?date=2020-02-14`, { headers })).json();

    assert.ok(Array.isArray(usage.dailyServiceUsages));
    assert.ok(new Date(usage.usageCycle.startAt) <= new Date());
    assert.deepEqual(former.monthlyServiceUsage, {});
    assert.deepEqual(former.dailyServiceUsages, []);
    assert.equal(former.totalUsageCreditsUsdAfterVolumeDiscount, 0);
    assert.equal(former.usageCycle.endAt, '2020-02-29T23:59:59.999Z');
});

test('a scoped token does what it was made for, and one that has ended nothing', async () => {
    const shared = await server.client.datasets().getOrCreate('shared');
    const { token } = await playhouse('token', 'create', '--user', 'playhouse', '--scope', 'dataset/shared=read', '--scope', 'key-value-store=create');
    const scoped = clientOf(token);

    assert.deepEqual((await scoped.dataset(shared.id).listItems()).items, []);
    const store = await scoped.keyValueStores().getOrCreate('made-by-token');
    await scoped.keyValueStore(store.id).setRecord({ key: 'K', value: { a: 1 } });
    assert.deepEqual((await scoped.keyValueStore(store.id).getRecord('K')).value, { a: 1 });
    for (const refused of [
        () => scoped.dataset(shared.id).pushItems([{}]),
        () => scoped.datasets().list(),
        () => scoped.actors().create({ name: 'not-by-this' }),
        () => scoped.user().limits(),
    ]) {
        await assert.rejects(refused, { type: 'insufficient-permissions', statusCode: 403 });
    }
    const listed = await playhouse('token', 'list', '--user', 'playhouse');
    assert.ok(listed.some(({ scope }) => scope?.[0] === `dataset/${shared.id}=read`));

    const soon = new Date(Date.now() + 1500).toISOString();
    const { token: brief } = await playhouse('token', 'create', '--user', 'playhouse', '--expires', soon);
    assert.equal((await clientOf(brief).user().get()).username, 'playhouse');
    while (Date.now() <= Date.parse(soon)) await new Promise((resolve) => setTimeout(resolve, 50));
    await assert.rejects(clientOf(brief).user().get(), { type: 'user-or-token-not-found', statusCode: 401 });
});

test('two users have each their own', async () => {
    const jane = clientOf((await playhouse('user', 'add', 'jane')).token);
    const mine = await server.client.datasets().getOrCreate('private');

    assert.equal((await jane.user().get()).username, 'jane');
    assert.equal((await jane.datasets().list({ unnamed: true })).total, 0);
    await assert.rejects(jane.dataset(mine.id).get(), { type: 'insufficient-permissions', statusCode: 403 });
    const hers = await jane.datasets().getOrCreate('private');
    assert.notEqual(hers.id, mine.id);
});
