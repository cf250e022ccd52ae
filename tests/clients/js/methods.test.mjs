// Every public method of the official JavaScript client, called once by name, with a look at what it answers.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { ApifyClient, DownloadItemsFormat } from 'apify-client';

import { givenActor, listedMethods, publicMethods, watchMethods } from './methods.mjs';
import { startPlayhouse } from './playhouse.mjs';

const MISSING = 'aB3aB3aB3aB3aB3aB';
const called = watchMethods();
let server;
let client;
let me;
let plain;
let sink;

before(async () => {
    server = await startPlayhouse();
    client = server.client;
    me = await client.user('me').get();
    plain = await givenActor(client, 'plain');
    sink = await startSink();
});

after(() => {
    assert.deepEqual(listedMethods(), publicMethods(), 'the list of methods is not that of the package: see tests/clients/methods-js.txt');
    const left = listedMethods().filter((method) => !called.has(method));
    assert.deepEqual(left, [], 'these methods are listed, but no test calls them');
});

test('the user: me, others, usage and limits', async () => {
    assert.equal(me.username, 'playhouse');
    assert.ok(me.plan.dataRetentionDays >= 0 && me.proxy.password && me.createdAt instanceof Date);
    const seen = await server.anonymous.user(me.username).get();
    assert.deepEqual([seen.username, seen.plan], [me.username, undefined]);

    const usage = await client.user().monthlyUsage();
    assert.ok(usage.usageCycle.startAt <= new Date() && usage.usageCycle.endAt > new Date());
    assert.ok(usage.dailyServiceUsages.every(({ date }) => date instanceof Date));

    await client.user().updateLimits({ maxMonthlyUsageUsd: 321, dataRetentionDays: 12 });
    const { limits, current, monthlyUsageCycle } = await client.user().limits();
    assert.deepEqual([limits.maxMonthlyUsageUsd, limits.dataRetentionDays], [321, 12]);
    assert.ok(current.monthlyUsageUsd >= 0 && current.actorCount >= 1 && monthlyUsageCycle.endAt instanceof Date);
});

test('an Actor: made, read, changed, listed, found in the store and deleted', async () => {
    const made = await client.actors().create({ name: 'made-by-js', title: 'Made', versions: [{ versionNumber: '0.0', sourceType: 'SOURCE_FILES', sourceFiles: [] }] });
    assert.deepEqual([made.name, made.title, made.username, made.isPublic], ['made-by-js', 'Made', me.username, false]);
    assert.equal(made.versions[0].versionNumber, '0.0');
    assert.deepEqual(await client.actor(`${me.username}/made-by-js`).get(), await client.actor(made.id).get());

    const changed = await client.actor(made.id).update({ title: 'A crawler of zebras', description: 'Finds stripes', isPublic: true, categories: ['AI'] });
    assert.deepEqual([changed.title, changed.isPublic, changed.categories], ['A crawler of zebras', true, ['AI']]);
    assert.ok(changed.modifiedAt >= made.modifiedAt && +changed.createdAt === +made.createdAt);

    const mine = await client.actors().list({ my: true, desc: true, limit: 1 });
    assert.deepEqual([mine.items[0].id, mine.items[0].name, mine.limit, mine.total >= 2], [made.id, 'made-by-js', 1, true]);
    const found = await client.store().list({ search: 'zebras' });
    assert.deepEqual(found.items.map(({ id, title, username }) => [id, title, username]), [[made.id, 'A crawler of zebras', me.username]]);
    assert.equal(found.total, 1);

    await client.actor(made.id).delete();
    assert.equal(await client.actor(made.id).get(), undefined);
});

test('versions and their variables', async () => {
    const actor = client.actor(plain.id);
    const made = await actor.versions().create({ versionNumber: '0.1', sourceType: 'SOURCE_FILES', buildTag: 'beta', sourceFiles: [{ name: 'main.js', format: 'TEXT', content: '// nothing' }], envVars: [{ name: 'A', value: '1' }] });
    assert.deepEqual([made.versionNumber, made.buildTag, made.sourceFiles[0].content], ['0.1', 'beta', '// nothing']);
    assert.deepEqual((await actor.versions().list()).items.map(({ versionNumber }) => versionNumber), ['0.0', '0.1']);
    const version = actor.version('0.1');
    assert.equal((await version.update({ buildTag: 'gamma' })).buildTag, 'gamma');
    assert.deepEqual([(await version.get()).buildTag, (await version.get()).envVars.map(({ name, value }) => [name, value])], ['gamma', [['A', '1']]]);

    const secret = await version.envVars().create({ name: 'SECRET', value: 'hush', isSecret: true });
    assert.deepEqual([secret.name, secret.isSecret, 'value' in secret], ['SECRET', true, false]);
    assert.deepEqual((await version.envVar('A').update({ name: 'A', value: '2' })).value, '2');
    assert.equal((await version.envVar('A').get()).value, '2');
    assert.deepEqual((await version.envVars().list()).items.map(({ name }) => name), ['A', 'SECRET']);
    await version.envVar('SECRET').delete();
    assert.equal(await version.envVar('SECRET').get(), undefined);
    await version.delete();
    assert.equal(await version.get(), undefined);
});

test('builds: started, followed, described, aborted and deleted', async () => {
    const actor = client.actor(plain.id);
    const started = await actor.build('0.0', { tag: 'second', useCache: true });
    assert.deepEqual([started.actId, started.buildNumber, started.meta.origin], [plain.id, '0.0.2', 'API']);
    const build = await client.build(started.id).waitForFinish({ waitSecs: 120 });
    assert.deepEqual([build.status, build.actorDefinition.name, build.finishedAt instanceof Date], ['SUCCEEDED', 'plain', true]);
    assert.match(await client.build(started.id).log().get(), /^\d{4}-.*Z .*\n/);
    const described = await client.build(started.id).getOpenApiDefinition();
    assert.equal(described.info['x-build-id'], started.id);
    assert.ok(Object.values(described.paths).every((path) => path.post.operationId));
    assert.ok(JSON.stringify(described.components.schemas).includes('"exitCode"'));

    const fallback = await actor.defaultBuild();
    assert.equal((await fallback.get()).buildNumber, '0.0.1');
    assert.deepEqual((await actor.builds().list({ desc: true })).items.map(({ buildNumber }) => buildNumber), ['0.0.2', '0.0.1']);
    assert.deepEqual((await client.builds().list({ desc: true, limit: 1 })).items.map(({ id, status }) => [id, status]), [[started.id, 'SUCCEEDED']]);

    assert.equal((await client.build(started.id).abort()).status, 'SUCCEEDED', 'what has ended stays as it is');
    await client.build(started.id).delete();
    assert.equal(await client.build(started.id).get(), undefined);
});

test('an Actor runs: started, called, checked, listed and found as the last', async () => {
    const actor = client.actor(plain.id);
    assert.equal(await actor.validateInput({ say: 'well' }), true);
    await assert.rejects(actor.validateInput({ say: 5 }), (error) => error.statusCode === 400 && error.type === 'invalid-input');

    const started = await actor.start({ say: 'started' }, { memory: 2048, timeout: 60, waitForFinish: 60 });
    assert.deepEqual([started.status, started.options.memoryMbytes, started.options.timeoutSecs, started.meta.origin], ['SUCCEEDED', 2048, 60, 'API']);
    const run = await actor.call({ say: 'called', items: [{ n: 1 }, { n: 2 }] }, { log: null });
    assert.deepEqual([run.status, run.exitCode, run.actId, run.buildNumber], ['SUCCEEDED', 0, plain.id, '0.0.1']);
    assert.ok(run.usageTotalUsd >= 0 && run.stats.durationMillis >= 0 && run.finishedAt > run.startedAt);

    const last = actor.lastRun({ status: 'SUCCEEDED' });
    assert.equal((await last.get()).id, run.id);
    assert.deepEqual((await last.dataset().listItems()).items, [{ n: 1 }, { n: 2 }]);
    const listed = await actor.runs().list({ desc: true, status: 'SUCCEEDED' });
    assert.deepEqual(listed.items.map(({ id }) => id), [run.id, started.id]);
    assert.equal((await client.runs().list({ desc: true, limit: 1 })).items[0].id, run.id);
});

test('a run: its storages and its log', async () => {
    const { id } = await client.actor(plain.id).call({ say: 'words for the log' }, { log: null });
    const run = client.run(id);

    assert.deepEqual((await run.dataset().listItems()).items, [{ n: 1 }], 'the default of the input schema');
    assert.equal((await run.keyValueStore().getRecord('OUTPUT')).value.said, 'words for the log');
    assert.equal((await run.requestQueue().get()).totalRequestCount, 0);
    const line = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z words for the log$/m;
    assert.match(await run.log().get(), line);
    assert.equal(await client.log(id).get(), await run.log().get());
    const chunks = [];
    for await (const chunk of await run.log().stream()) chunks.push(chunk);
    assert.match(Buffer.concat(chunks).toString(), line);
});

test('a run under way: followed, charged, messaged, rebooted, turned into another, aborted, taken up again and deleted', async () => {
    const event = { eventTitle: 'Page', eventDescription: 'One page', eventPriceUsd: 0.5 };
    const pricing = { pricingModel: 'PAY_PER_EVENT', apifyMarginPercentage: 0.2, pricingPerEvent: { actorChargeEvents: { page: event } } };
    const priced = await givenActor(client, 'plain', 'priced');
    await client.actor(priced.id).update({ pricingInfos: [pricing] });
    const { id } = await client.actor(priced.id).start({ say: 'first', wait: true });
    const run = client.run(id);
    const lines = [];
    const follow = await run.getStreamedLog({ toLog: { info: (line) => lines.push(line), internal: (_level, line) => lines.push(line) } });
    follow.start();
    const token = await until(async () => (await run.keyValueStore().getRecord('TOKEN'))?.value.token);

    const itself = new ApifyClient({ baseUrl: server.url, token, maxRetries: 0 });
    await itself.run(id).charge({ eventName: 'page', count: 2 });
    assert.deepEqual([(await run.get()).chargedEventCounts, (await run.get()).pricingInfo.pricingModel], [{ page: 2 }, 'PAY_PER_EVENT']);
    process.env.ACTOR_RUN_ID = id;
    await client.setStatusMessage('Half way');
    delete process.env.ACTOR_RUN_ID;
    assert.equal((await run.get()).statusMessage, 'Half way');
    assert.equal((await run.update({ generalAccess: 'RESTRICTED' })).generalAccess, 'RESTRICTED');

    assert.equal((await run.reboot()).status, 'RUNNING');
    await until(async () => (await run.get()).stats.rebootCount === 1);
    const changed = await run.metamorph(plain.id, { say: 'second', wait: true });
    assert.equal(changed.id, id);
    await until(async () => (await run.keyValueStore().getRecord('OUTPUT')).value.said === 'second');

    const aborted = await run.abort();
    assert.match(aborted.status, /^ABORT/);
    const ended = await run.waitForFinish({ waitSecs: 30 });
    assert.deepEqual([ended.status, ended.stats.metamorph, ended.metamorphs.length], ['ABORTED', 1, 1]);
    await follow.stop();
    assert.ok(lines.some((line) => line.includes('first')), lines.join('\n'));

    const resurrected = await run.resurrect({ memory: 2048, timeout: 30 });
    assert.match(resurrected.status, /^(READY|RUNNING)$/);
    assert.deepEqual([resurrected.options.memoryMbytes, resurrected.stats.resurrectCount], [2048, 1]);
    await run.abort();
    await run.waitForFinish();
    await run.delete();
    assert.equal(await run.get(), undefined);
    await client.actor(priced.id).delete();
});

test('datasets', async () => {
    const schema = { fields: { type: 'object', properties: { a: { type: 'number' } } }, views: {} };
    const made = await client.datasets().getOrCreate('js-methods', { schema });
    const dataset = client.dataset(made.id);
    await dataset.pushItems([{ a: 1, b: 'x' }, { a: 2, b: 'y' }, { a: 3 }]);

    assert.equal((await dataset.get()).itemCount, 3);
    assert.deepEqual((await dataset.listItems({ offset: 1, limit: 1, fields: ['a'] })).items, [{ a: 2 }]);
    assert.equal((await dataset.downloadItems(DownloadItemsFormat.CSV)).toString(), '\ufeff"a","b"\n1,"x"\n2,"y"\n3,\n');
    const { fieldStatistics } = await dataset.getStatistics();
    assert.deepEqual([fieldStatistics.a?.min, fieldStatistics.a?.max], [1, 3]);
    const url = await dataset.createItemsPublicUrl({ limit: 1 });
    assert.deepEqual(await (await fetch(url)).json(), [{ a: 1, b: 'x' }], 'signed, so no token is needed');
    assert.equal((await dataset.update({ name: 'js-methods-2' })).name, 'js-methods-2');
    assert.ok((await client.datasets().list()).items.some(({ id, name }) => id === made.id && name === 'js-methods-2'));
    await dataset.delete();
    assert.equal(await dataset.get(), undefined);
});

test('key-value stores', async () => {
    const made = await client.keyValueStores().getOrCreate('js-methods');
    const store = client.keyValueStore(made.id);
    await store.setRecord({ key: 'a', value: { deep: [1] } });
    await store.setRecord({ key: 'b', value: 'words', contentType: 'text/plain' });

    assert.deepEqual((await store.getRecord('a')).value, { deep: [1] });
    assert.deepEqual([await store.recordExists('b'), await store.recordExists('c')], [true, false]);
    assert.deepEqual((await store.listKeys({ limit: 1, exclusiveStartKey: 'a' })).items.map(({ key, size }) => [key, size]), [['b', 5]]);
    assert.equal(await (await fetch(await store.getRecordPublicUrl('b'))).text(), 'words');
    const keys = await (await fetch(await store.createKeysPublicUrl())).json();
    assert.deepEqual(keys.data.items.map(({ key }) => key), ['a', 'b']);
    await store.deleteRecord('b');
    assert.equal(await store.getRecord('b'), undefined);
    assert.equal((await store.update({ name: 'js-methods-2' })).name, 'js-methods-2');
    assert.equal((await store.get()).name, 'js-methods-2');
    assert.ok((await client.keyValueStores().list()).items.some(({ id }) => id === made.id));
    await store.delete();
    assert.equal(await store.get(), undefined);
});

test('request queues', async () => {
    const made = await client.requestQueues().getOrCreate('js-methods');
    const queue = client.requestQueue(made.id, { clientKey: 'js-methods' });
    const url = (name) => `http://example.com/${name}`;
    const added = await queue.addRequest({ url: url('a'), uniqueKey: 'a' });
    assert.deepEqual([added.wasAlreadyPresent, added.wasAlreadyHandled], [false, false]);
    const batch = await queue.batchAddRequests(['a', 'b', 'c'].map((name) => ({ url: url(name), uniqueKey: name })));
    assert.deepEqual(batch.processedRequests.map(({ uniqueKey, wasAlreadyPresent }) => [uniqueKey, wasAlreadyPresent]).sort(), [['a', true], ['b', false], ['c', false]]);

    assert.deepEqual((await queue.listHead({ limit: 2 })).items.map(({ uniqueKey }) => uniqueKey), ['a', 'b']);
    const locked = await queue.listAndLockHead({ limit: 2, lockSecs: 60 });
    assert.deepEqual([locked.items.map(({ uniqueKey }) => uniqueKey), locked.clientKey], [['a', 'b'], 'js-methods']);
    const [first, second] = locked.items;
    const prolonged = await queue.prolongRequestLock(first.id, { lockSecs: 600 });
    assert.ok(prolonged.lockExpiresAt > new Date(Date.now() + 300_000));
    await queue.deleteRequestLock(first.id);
    assert.deepEqual((await queue.listHead()).items.map(({ uniqueKey }) => uniqueKey), ['c', 'a'], 'at the end, as Q51 says');
    assert.equal((await queue.unlockRequests()).unlockedCount, 1);

    const updated = await queue.updateRequest({ id: second.id, url: url('b'), uniqueKey: 'b', handledAt: new Date().toISOString() });
    assert.equal(updated.requestId, second.id);
    assert.ok((await queue.getRequest(second.id)).handledAt);
    assert.deepEqual((await queue.listRequests({ limit: 10 })).items.map(({ uniqueKey }) => uniqueKey).sort(), ['a', 'b', 'c']);
    const pages = [];
    for await (const page of queue.paginateRequests({ limit: 3, maxPageLimit: 2 })) pages.push(page.items.length);
    assert.deepEqual(pages, [2, 1]);
    await queue.deleteRequest(first.id);
    assert.equal(await queue.getRequest(first.id), undefined);
    const deleted = await queue.batchDeleteRequests([{ uniqueKey: 'c' }]);
    assert.equal(deleted.processedRequests[0].uniqueKey, 'c');
    const { totalRequestCount, handledRequestCount } = await queue.get();
    assert.deepEqual([totalRequestCount, handledRequestCount], [1, 1]);
    assert.equal((await queue.update({ name: 'js-methods-2' })).name, 'js-methods-2');
    assert.ok((await client.requestQueues().list()).items.some(({ id }) => id === made.id));
    await queue.delete();
    assert.equal(await queue.get(), undefined);
});

test('tasks', async () => {
    const made = await client.tasks().create({ actId: plain.id, name: 'js-task', title: 'A task', input: { say: 'from the task' }, options: { memoryMbytes: 2048 } });
    assert.deepEqual([made.actId, made.name, made.title, made.options.memoryMbytes, made.stats.totalRuns], [plain.id, 'js-task', 'A task', 2048, 0]);
    const task = client.task(`${me.username}/js-task`);
    assert.equal((await task.get()).id, made.id);
    assert.deepEqual(await task.updateInput({ items: [{ n: 9 }] }), { say: 'from the task', items: [{ n: 9 }] });
    assert.deepEqual(await task.getInput(), { say: 'from the task', items: [{ n: 9 }] });
    assert.equal((await task.update({ title: 'The task' })).title, 'The task');
    assert.deepEqual((await client.tasks().list()).items.map(({ id, actId }) => [id, actId]), [[made.id, plain.id]]);

    const started = await task.start({ say: 'over it' }, { waitForFinish: 60 });
    assert.deepEqual([started.status, started.actorTaskId, started.options.memoryMbytes], ['SUCCEEDED', made.id, 2048]);
    const run = await task.call(undefined, { memory: 1024 });
    assert.deepEqual([run.status, run.options.memoryMbytes], ['SUCCEEDED', 1024]);
    const output = await task.lastRun({ status: 'SUCCEEDED' }).keyValueStore().getRecord('OUTPUT');
    assert.deepEqual(output.value, { said: 'from the task', task: made.id });
    assert.equal((await client.run(started.id).keyValueStore().getRecord('OUTPUT')).value.said, 'over it');
    assert.deepEqual((await task.runs().list({ desc: true })).items.map(({ id }) => id), [run.id, started.id]);
    assert.equal((await task.get()).stats.totalRuns, 2);

    await client.actor(plain.id).update({ isPublic: true, title: 'Plain', categories: ['AI'] });
    await task.update({ publicConfig: { seoTitle: 'Search me', seoDescription: 'Words', categorization: 'AI', inputSchemaFields: ['say'], datasetName: 'default', datasetView: 'numbers' } });
    const published = await task.publish();
    assert.deepEqual([published.isPublic, published.publicConfig.seoTitle, published.publicConfig.publishedAt instanceof Date], [true, 'Search me', true]);
    const unpublished = await task.unpublish();
    assert.deepEqual([unpublished.isPublic, unpublished.publicConfig.seoTitle, unpublished.publicConfig.publishedAt], [false, 'Search me', null]);
    await client.actor(plain.id).update({ isPublic: false });

    assert.deepEqual((await task.webhooks().list()).items, []);
    await task.delete();
    assert.equal(await task.get(), undefined);
});

test('schedules', async () => {
    const actions = [{ type: 'RUN_ACTOR', actorId: plain.id, runInput: { body: '{"say":"scheduled"}', contentType: 'application/json' } }];
    const made = await client.schedules().create({ name: 'js-schedule', cronExpression: '0 3 * * *', timezone: 'Europe/Prague', isEnabled: true, isExclusive: true, actions });
    assert.deepEqual([made.name, made.cronExpression, made.timezone, made.actions[0].actorId], ['js-schedule', '0 3 * * *', 'Europe/Prague', plain.id]);
    assert.ok(made.actions[0].id && new Date(made.nextRunAt) > new Date());
    const schedule = client.schedule(made.id);
    const changed = await schedule.update({ cronExpression: '*/10 * * * * *', title: 'Often' });
    assert.deepEqual([changed.title, changed.actions.length], ['Often', 1]);
    assert.deepEqual((await client.schedules().list()).items.map(({ id }) => id), [made.id]);

    const run = await until(async () => (await client.actor(plain.id).runs().list({ desc: true, limit: 1 })).items.find(({ meta }) => meta.origin === 'SCHEDULER'));
    const { meta } = await client.run(run.id).waitForFinish();
    assert.deepEqual([meta.scheduleId, meta.scheduledAt instanceof Date], [made.id, true]);
    const log = await schedule.getLog();
    assert.ok(log.length >= 1 && log.every(({ message, level, createdAt }) => message && level === 'INFO' && createdAt), JSON.stringify(log));
    assert.ok((await schedule.get()).lastRunAt);
    await schedule.delete();
    assert.equal(await schedule.get(), undefined);
});

test('webhooks and their dispatches', async () => {
    const made = await client.webhooks().create({ eventTypes: ['ACTOR.RUN.SUCCEEDED'], condition: { actorId: plain.id }, requestUrl: `${sink.url}/a`, payloadTemplate: '{"run": {{resource}}, "event": {{eventType}}}' });
    assert.deepEqual([made.eventTypes, made.condition, made.isAdHoc, made.doNotRetry], [['ACTOR.RUN.SUCCEEDED'], { actorId: plain.id }, false, false]);
    const webhook = client.webhook(made.id);
    assert.equal((await webhook.get()).requestUrl, `${sink.url}/a`);
    assert.equal((await webhook.update({ description: 'Words' })).description, 'Words');
    assert.ok((await client.webhooks().list()).items.some(({ id }) => id === made.id));
    assert.deepEqual((await client.actor(plain.id).webhooks().list()).items.map(({ id }) => id), [made.id]);

    const run = await client.actor(plain.id).call({ say: 'tell' }, { log: null });
    const heard = await until(async () => sink.heard.find(({ url }) => url === '/a'));
    assert.deepEqual([heard.body.run.id, heard.body.run.status, heard.body.event], [run.id, 'SUCCEEDED', 'ACTOR.RUN.SUCCEEDED']);

    const tested = await webhook.test();
    assert.deepEqual([tested.webhookId, tested.eventType], [made.id, 'TEST']);
    const dispatch = await until(async () => {
        const seen = await client.webhookDispatch(tested.id).get();
        return seen.status === 'ACTIVE' ? undefined : seen;
    });
    assert.deepEqual([dispatch.status, dispatch.calls[0].responseStatus], ['SUCCEEDED', 200]);
    assert.equal((await webhook.dispatches().list()).total, 2);
    const all = await client.webhookDispatches().list({ desc: true });
    assert.equal(all.items[0].id, tested.id);

    const { id } = await client.actor(plain.id).call({}, { log: null, webhooks: [{ eventTypes: ['ACTOR.RUN.SUCCEEDED'], requestUrl: `${sink.url}/ad-hoc` }] });
    assert.equal((await until(async () => sink.heard.find(({ url }) => url === '/ad-hoc'))).body.resource.id, id);
    await webhook.delete();
    assert.equal(await webhook.get(), undefined);
});

test('what does not exist is undefined, and not an error', async () => {
    const things = [client.actor(MISSING), client.actor(`${me.username}/missing`), client.run(MISSING), client.build(MISSING), client.task(MISSING), client.schedule(MISSING), client.webhook(MISSING), client.webhookDispatch(MISSING), client.dataset(MISSING), client.keyValueStore(MISSING), client.requestQueue(MISSING), client.log(MISSING), client.user(MISSING)];
    for (const thing of things) assert.equal(await thing.get(), undefined, thing.constructor.name);
});

/** Asks again until there is an answer. */
async function until(ask) {
    const deadline = Date.now() + 300_000;
    for (;;) {
        const answer = await ask();
        if (answer) return answer;
        assert.ok(Date.now() < deadline, `nothing came of ${ask}`);
        await sleep(50);
    }
}

/** Where webhooks deliver. */
async function startSink() {
    const heard = [];
    const listening = createServer(async (request, response) => {
        const chunks = [];
        for await (const chunk of request) chunks.push(chunk);
        heard.push({ url: request.url, headers: request.headers, body: JSON.parse(Buffer.concat(chunks).toString()) });
        response.end('thank you');
    });
    await new Promise((resolve) => listening.listen(0, '127.0.0.1', resolve));
    listening.unref();
    return { url: `http://127.0.0.1:${listening.address().port}`, heard };
}
