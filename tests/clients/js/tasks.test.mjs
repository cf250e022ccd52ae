// Tasks and schedules: every method that the official JavaScript client has for them, and the CLI where it knows tasks.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { cliFor, startPlayhouse } from './playhouse.mjs';

/** Stores its input as OUTPUT and pushes it. */
const MAIN = `
const api = process.env.APIFY_API_BASE_URL + 'v2';
const headers = { authorization: 'Bearer ' + process.env.APIFY_TOKEN, 'content-type': 'application/json' };
const store = api + '/key-value-stores/' + process.env.ACTOR_DEFAULT_KEY_VALUE_STORE_ID + '/records/';
const input = await (await fetch(store + 'INPUT', { headers })).json();
const body = JSON.stringify({ ...input, task: process.env.ACTOR_TASK_ID, origin: process.env.APIFY_META_ORIGIN });
await fetch(store + 'OUTPUT', { method: 'PUT', headers, body });
await fetch(api + '/datasets/' + process.env.ACTOR_DEFAULT_DATASET_ID + '/items', { method: 'POST', headers, body });
console.log('done');
`;

let server;
let client;
let actor;
let me;
before(async () => {
    server = await startPlayhouse();
    client = server.client;
    me = await client.user().get();
    const sourceFiles = [
        { name: 'Dockerfile', format: 'TEXT', content: 'FROM node:20\nCOPY main.mjs ./\nCMD ["node", "main.mjs"]\n' },
        { name: 'main.mjs', format: 'TEXT', content: MAIN },
    ];
    const version = { versionNumber: '0.0', buildTag: 'latest', sourceType: 'SOURCE_FILES', sourceFiles };
    const defaultRunOptions = { build: 'latest', memoryMbytes: 256, timeoutSecs: 300 };
    actor = await client.actors().create({ name: 'echo', versions: [version], defaultRunOptions });
    const build = await client.build((await client.actor(actor.id).build('0.0')).id).waitForFinish();
    assert.equal(build.status, 'SUCCEEDED', build.statusMessage);
});

test('a task is created, found, changed, listed and deleted', async () => {
    const options = { build: 'latest', timeoutSecs: 60, memoryMbytes: 256 };
    const task = await client.tasks().create({ actId: actor.id, name: 'first', title: 'First', options, input: { hello: 'world' } });
    assert.ok(task.createdAt instanceof Date && task.modifiedAt instanceof Date);
    assert.deepEqual([task.actId, task.username, task.actName, task.actUsername], [actor.id, me.username, 'echo', me.username]);
    assert.deepEqual([task.options, task.input, task.stats], [options, { hello: 'world' }, { totalRuns: 0 }]);
    assert.deepEqual([task.isPublic, task.publicConfig], [false, null]);

    for (const reference of [task.id, `${me.username}/first`, `${me.username}~first`]) {
        assert.deepEqual(await client.task(reference).get(), task);
    }
    assert.equal(await client.task('no-such-task').get(), undefined);
    const changed = await client.task(task.id).update({ description: 'Text', options: { memoryMbytes: 512 } });
    assert.deepEqual([changed.description, changed.title], ['Text', 'First']);
    assert.deepEqual(changed.options, { ...options, memoryMbytes: 512 });

    assert.deepEqual(await client.task(task.id).getInput(), { hello: 'world' });
    const merged = await client.task(task.id).updateInput({ more: [1, 2] });
    assert.deepEqual(merged, { hello: 'world', more: [1, 2] });

    await client.tasks().create({ actId: `${me.username}/echo`, name: 'second' });
    const listed = await client.tasks().list({ desc: true, limit: 1 });
    assert.deepEqual([listed.total, listed.items.length, listed.items[0].name], [2, 1, 'second']);
    const names = [];
    for await (const item of client.tasks().list({ limit: 10 })) names.push(item.name);
    assert.deepEqual(names, ['first', 'second']);

    await assert.rejects(client.tasks().create({ actId: actor.id, name: 'first' }), { statusCode: 409, type: 'actor-task-name-not-unique' });
    await assert.rejects(client.task(task.id).publish(), { statusCode: 400, type: 'cannot-publish-actor-task' });
    await client.task(task.id).delete();
    await client.task(`${me.username}/second`).delete();
    await client.task(task.id).delete();
    assert.equal((await client.tasks().list()).total, 0);
});

test('a task is published and taken back', async () => {
    await client.actor(actor.id).update({ isPublic: true, title: 'Echo', categories: ['AI'] });
    const task = client.task((await client.tasks().create({ actId: actor.id, name: 'public' })).id);
    await task.update({ publicConfig: { seoTitle: 'T', seoDescription: 'D' } });

    const published = await task.publish();
    assert.equal(published.isPublic, true);
    assert.ok(published.publicConfig.publishedAt instanceof Date);
    const back = await task.unpublish();
    assert.deepEqual([back.isPublic, back.publicConfig.publishedAt, back.publicConfig.seoTitle], [false, null, 'T']);
    await task.delete();
});

test('a task is run in every way, and its last run is at hand', async () => {
    const { id } = await client.tasks().create({ actId: actor.id, name: 'runs', input: { a: 1, b: 1 }, options: { timeoutSecs: 99 } });
    const task = client.task(id);

    const called = await task.call({ b: 2 }, { memory: 128 });
    assert.equal(called.status, 'SUCCEEDED');
    assert.deepEqual([called.actorTaskId, called.options.timeoutSecs, called.options.memoryMbytes], [id, 99, 128]);
    const output = { a: 1, b: 2, task: id, origin: 'API' };
    assert.deepEqual((await client.run(called.id).keyValueStore().getRecord('OUTPUT')).value, output);
    const started = await task.start(undefined, { waitForFinish: 30 });
    assert.equal(started.status, 'SUCCEEDED');

    const last = task.lastRun({ status: 'SUCCEEDED' });
    assert.equal((await last.get()).id, started.id);
    assert.deepEqual((await last.dataset().listItems()).items, [{ ...output, b: 1 }]);
    assert.deepEqual((await last.keyValueStore().getRecord('INPUT')).value, { a: 1, b: 1 });
    assert.equal((await last.requestQueue().get()).id, started.defaultRequestQueueId);
    assert.match(await last.log().get(), /done/);
    assert.equal((await last.waitForFinish()).id, started.id);
    assert.equal((await last.abort()).status, 'SUCCEEDED');
    const runs = await task.runs().list({ desc: true });
    assert.deepEqual([runs.total, runs.items[0].id, runs.items[0].actorTaskId], [2, started.id, id]);
    assert.equal((await task.get()).stats.totalRuns, 2);

    const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
    const address = `${server.url}/v2/actor-tasks/${id}`;
    const record = await fetch(`${address}/run-sync`, { method: 'POST', headers, body: '{"c":3}' });
    assert.deepEqual([record.status, await record.json()], [201, { a: 1, b: 1, c: 3, task: id, origin: 'API' }]);
    const items = await fetch(`${address}/run-sync-get-dataset-items?format=jsonl`, { headers });
    assert.deepEqual([items.status, JSON.parse(await items.text()).a], [201, 1]);
});

test('the CLI runs, publishes and takes back a task', async () => {
    const cli = cliFor(server);
    assert.equal((await cli(['login', '--token', server.token])).code, 0);
    const task = await client.tasks().create({ actId: actor.id, name: 'by-cli', input: { a: 1 } });
    await client.task(task.id).update({ publicConfig: { seoTitle: 'T', seoDescription: 'D' } });

    const run = await cli(['task', 'run', 'by-cli']);
    assert.equal(run.code, 0, `${run.stdout}\n${run.stderr}`);
    const last = await client.task(task.id).lastRun().get();
    assert.deepEqual([last.status, last.actorTaskId, last.meta.origin], ['SUCCEEDED', task.id, 'CI']);
    assert.deepEqual((await client.run(last.id).dataset().listItems()).items[0].task, task.id);
    const publish = await cli(['task', 'publish', 'by-cli']);
    assert.equal(publish.code, 0, `${publish.stdout}\n${publish.stderr}`);
    assert.equal((await client.task(task.id).get()).isPublic, true);
    const unpublish = await cli(['task', 'unpublish', 'by-cli']);
    assert.equal(unpublish.code, 0, `${unpublish.stdout}\n${unpublish.stderr}`);
    assert.equal((await client.task(task.id).get()).isPublic, false);
    const info = await cli(['runs', 'info', last.id]);
    assert.equal(info.code, 0, `${info.stdout}\n${info.stderr}`);
});
