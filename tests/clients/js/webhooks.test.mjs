// Webhooks and dispatches through the official JavaScript client, with a local target.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { startPlayhouse, startSink } from './playhouse.mjs';

// Tells in a record what it was started with, and ends once it is told to.
const MAIN = `
const { APIFY_API_BASE_URL: base, APIFY_TOKEN: token, ACTOR_DEFAULT_KEY_VALUE_STORE_ID: store, ACTOR_RUN_ID: runId } = process.env;
const record = (key) => base + 'v2/key-value-stores/' + store + '/records/' + key;
const headers = { authorization: 'Bearer ' + token, 'content-type': 'application/json' };
await fetch(record('SELF'), { method: 'PUT', headers, body: JSON.stringify({ token, runId }) });
while (process.env.WAITS && (await fetch(record('GO'), { headers })).status !== 200) await new Promise((go) => setTimeout(go, 50));
`;

let server;
let client;
let sink;
let actor;
before(async () => {
    server = await startPlayhouse();
    client = server.client;
    sink = await startSink();
    actor = await client.actors().create({
        name: 'told-of',
        versions: [
            {
                versionNumber: '0.0',
                sourceType: 'SOURCE_FILES',
                buildTag: 'latest',
                envVars: [{ name: 'WAITS', value: '1' }],
                sourceFiles: [
                    { name: '.actor/actor.json', format: 'TEXT', content: '{"actorSpecification":1,"name":"told-of","version":"0.0"}' },
                    { name: 'Dockerfile', format: 'TEXT', content: 'FROM node:20\nCOPY main.mjs ./\nCMD ["node", "main.mjs"]\n' },
                    { name: 'main.mjs', format: 'TEXT', content: MAIN },
                ],
            },
        ],
    });
});

/** Waits until a dispatch has ended. */
async function ended(id) {
    for (;;) {
        const dispatch = await client.webhookDispatch(id).get();
        if (dispatch.status !== 'ACTIVE') return dispatch;
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

describe('webhooks', () => {
    test('tell of builds and runs what the client gets', async () => {
        const webhook = await client.webhooks().create({
            eventTypes: ['ACTOR.BUILD.CREATED', 'ACTOR.BUILD.SUCCEEDED', 'ACTOR.RUN.CREATED', 'ACTOR.RUN.ABORTED'],
            condition: { actorId: actor.id },
            requestUrl: `${sink.url}/all`,
            description: 'everything',
        });
        assert.equal(webhook.isAdHoc, false);
        assert.ok(webhook.createdAt instanceof Date);
        assert.equal(webhook.stats.totalDispatches, 0);

        const build = await client.actor(actor.id).build('0.0', { waitForFinish: 60 });
        assert.equal(build.status, 'SUCCEEDED');
        const run = await client.actor(actor.id).start({}, { memory: 256 });
        await client.run(run.id).abort();
        const told = await sink.until('/all', 4);

        assert.deepEqual(told.map(({ body }) => body.eventType), ['ACTOR.BUILD.CREATED', 'ACTOR.BUILD.SUCCEEDED', 'ACTOR.RUN.CREATED', 'ACTOR.RUN.ABORTED']);
        assert.deepEqual(told[1].body.resource, await bare(`actor-builds/${build.id}`));
        const shown = await bare(`actor-runs/${run.id}`);
        assert.equal(shown.status, 'ABORTED');
        assert.deepEqual(told[3].body.resource, shown);
        assert.deepEqual(told[3].body.eventData, { actorId: actor.id, actorRunId: run.id });
        assert.equal(told[3].method, 'POST');
        assert.equal(told[3].headers['content-type'], 'application/json');
        assert.equal(told[3].headers['x-apify-request-origin'], 'WEBHOOK');

        const listed = await client.webhook(webhook.id).dispatches().list({ desc: true, limit: 2 });
        assert.equal(listed.total, 4);
        assert.equal(listed.count, 2);
        const dispatch = await ended(listed.items[0].id);
        assert.equal(dispatch.status, 'SUCCEEDED');
        assert.equal(dispatch.webhookId, webhook.id);
        assert.equal(dispatch.calls[0].responseStatus, 200);
        assert.equal(dispatch.calls[0].responseBody, 'thanks');
        assert.equal(told[3].headers['x-apify-webhook-dispatch-id'], dispatch.id);
        const everywhere = await client.webhookDispatches().list();
        assert.ok(everywhere.items.some(({ id }) => id === dispatch.id));
        const seen = await client.webhook(webhook.id).get();
        assert.equal(seen.stats.totalDispatches, 4);
        assert.equal(seen.lastDispatch.status, 'SUCCEEDED');
        await client.webhook(webhook.id).delete();
        assert.equal(await client.webhook(webhook.id).get(), undefined);
        assert.equal(await client.webhook(webhook.id).delete(), undefined);
    });

    test('are changed, tested and listed', async () => {
        const made = await client.webhooks().create({
            eventTypes: ['ACTOR.RUN.SUCCEEDED'],
            condition: { actorId: actor.id },
            requestUrl: `${sink.url}/first`,
            idempotencyKey: 'listed',
        });
        const again = await client.webhooks().create({
            eventTypes: ['ACTOR.RUN.FAILED'],
            condition: { actorId: actor.id },
            requestUrl: `${sink.url}/second`,
            idempotencyKey: 'listed',
        });
        assert.equal(again.id, made.id);

        const changed = await client.webhook(made.id).update({
            requestUrl: `${sink.url}/changed`,
            payloadTemplate: '{"who": {{userId}}, "text": "{{eventType}}!"}',
            headersTemplate: '{"X-Mine": "of {{userId}}"}',
            shouldInterpolateStrings: true,
        });
        assert.deepEqual(changed.eventTypes, ['ACTOR.RUN.SUCCEEDED']);
        const dispatch = await client.webhook(made.id).test();
        assert.equal(dispatch.eventType, 'TEST');
        const [told] = await sink.until('/changed', 1);
        assert.deepEqual(told.body, { who: server.userId, text: 'TEST!' });
        assert.equal(told.headers['x-mine'], `of ${server.userId}`);
        assert.equal((await ended(dispatch.id)).status, 'SUCCEEDED');

        for (const list of [client.webhooks(), client.actor(actor.id).webhooks()]) {
            const page = await list.list({ limit: 5 });
            assert.ok(page.items.some(({ id, requestUrl }) => id === made.id && requestUrl === `${sink.url}/changed`));
        }
        await assert.rejects(client.webhook(made.id).update({ payloadTemplate: '{{nothing}}' }), /Invalid payload template variable: nothing/);
        assert.equal(await client.webhookDispatch('aB3aB3aB3aB3aB3aB').get(), undefined);
        await client.webhook(made.id).delete();
    });

    test('of a start are for that run alone', async () => {
        const run = await client.actor(actor.id).start({}, {
            memory: 256,
            webhooks: [{ eventTypes: ['ACTOR.RUN.SUCCEEDED'], requestUrl: `${sink.url}/mine`, payloadTemplate: '{"run": {{resource.id}}, "é": "???>>>"}' }],
        });
        await client.keyValueStore(run.defaultKeyValueStoreId).setRecord({ key: 'GO', value: true });
        assert.equal((await client.run(run.id).waitForFinish()).status, 'SUCCEEDED');

        const told = await sink.until('/mine', 1);

        assert.deepEqual(told[0].body, { run: run.id, é: '???>>>' });
        const listed = await client.webhooks().list();
        const own = listed.items.find(({ condition }) => condition.actorRunId === run.id);
        assert.equal(own.isAdHoc, true);
    });

    test('are added by a run through its SDK', async () => {
        const run = await client.actor(actor.id).start({}, { memory: 256 });
        const store = client.keyValueStore(run.defaultKeyValueStoreId);
        let self;
        while (!self) self = await store.getRecord('SELF');
        const env = {
            PATH: process.env.PATH,
            HOME: server.directory,
            APIFY_IS_AT_HOME: '1',
            APIFY_API_BASE_URL: `${server.url}/`,
            APIFY_TOKEN: self.value.token,
            ACTOR_RUN_ID: run.id,
        };
        const program = fileURLToPath(new URL('add-webhook.mjs', import.meta.url));
        await promisify(execFile)(process.execPath, [program, `${sink.url}/added`], { env, timeout: 300_000 });
        await store.setRecord({ key: 'GO', value: true });
        await client.run(run.id).waitForFinish();

        const [told] = await sink.until('/added', 1);

        assert.equal(told.body.eventType, 'ACTOR.RUN.SUCCEEDED');
        assert.equal(told.body.resource.id, run.id);
    });

    test('start another Actor through the API of the server itself', async () => {
        const webhook = await client.webhooks().create({
            eventTypes: ['ACTOR.RUN.ABORTED'],
            condition: { actorId: actor.id },
            requestUrl: `${server.url}/v2/acts/${actor.id}/runs?memory=256`,
        });
        const first = await client.actor(actor.id).start({}, { memory: 256 });
        await client.run(first.id).abort();
        let started;
        while (!started) {
            const { items } = await client.runs().list({ desc: true });
            started = items.find(({ meta }) => meta.origin === 'WEBHOOK');
        }
        await client.webhook(webhook.id).delete();

        const input = await client.keyValueStore(started.defaultKeyValueStoreId).getRecord('INPUT');
        assert.equal(input.value.resource.id, first.id);
        await client.run(started.id).abort();
    });

    test('are signed as the Standard Webhooks specification says', async () => {
        const key = Buffer.from('a secret of thirty-two bytes !!!');
        const webhook = await client.webhooks().create({
            eventTypes: ['TEST'],
            condition: { actorId: actor.id },
            requestUrl: `${sink.url}/signed`,
            xSecret: `whsec_${key.toString('base64')}`,
        });

        await client.webhook(webhook.id).test();
        const [{ headers, text }] = await sink.until('/signed', 1);

        const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`;
        assert.equal(headers['webhook-signature'], `v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
        assert.ok(Math.abs(Date.now() / 1000 - headers['webhook-timestamp']) < 60);
        assert.ok(!JSON.stringify(await client.webhook(webhook.id).get()).includes(key.toString('base64')));
        await client.webhook(webhook.id).delete();
    });
});

/** What a GET answers, before the client makes dates of it. */
async function bare(path) {
    const response = await fetch(`${server.url}/v2/${path}`, { headers: { authorization: `Bearer ${server.token}` } });
    return (await response.json()).data;
}
