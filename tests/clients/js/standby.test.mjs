// Actors on Standby, pushed with the official CLI: cold and warm requests, scaling, websockets, large bodies, crashes.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';

import WebSocket from 'ws';

import { actorsDirectory, cliFor, startPlayhouse } from './playhouse.mjs';

const BIG = 100 << 20;
let server;
let actor;
before(async () => {
    server = await startPlayhouse();
    actor = await pushed(server, 'js-standby');
});

test('a push switches Standby on, and the first request starts a run', async () => {
    const { standbyUrl, actorStandby } = await actor.get();
    assert.deepEqual([actorStandby.isEnabled, actorStandby.maxRequestsPerActorRun], [true, 4]);
    assert.equal(standbyUrl, `${server.url}/x-standby/playhouse~js-standby`);

    const cold = await ask('/');
    const warm = await ask('/');

    assert.deepEqual(cold, warm);
    assert.equal(cold.origin, 'STANDBY');
    const run = await server.client.run(cold.runId).get();
    assert.deepEqual([run.status, run.meta.origin, run.isContainerServerReady], ['RUNNING', 'STANDBY', true]);
    assert.deepEqual(await (await fetch(run.containerUrl)).json(), warm, 'the address of the run itself needs no token');
});

test('the token opens Standby in each of its places and stays with the server', async () => {
    const url = await standbyUrl();
    for (const [path, headers] of [
        ['/headers?a=1', { authorization: `Bearer ${server.token}` }],
        ['/headers?a=1', { 'x-apify-authorization': `Bearer ${server.token}` }],
        [`/headers?token=${server.token}&a=1`, {}],
    ]) {
        const seen = await (await fetch(url + path, { headers })).json();
        assert.equal(seen.url, '/headers?a=1');
        assert.ok(!JSON.stringify(seen).includes(server.token));
        assert.equal(seen.headers['x-forwarded-prefix'], '/x-standby/playhouse~js-standby');
    }
    assert.equal((await fetch(url)).status, 401);
});

test('websockets and events pass through as they come', async () => {
    const url = (await standbyUrl()).replace('http', 'ws');
    const socket = new WebSocket(`${url}/?token=${server.token}`);
    const next = (name) => new Promise((resolve, reject) => socket.once(name, resolve).once('error', reject));
    await next('open');
    socket.send('hello');
    assert.equal(String(await next('message')), 'echo hello');
    socket.close();
    await next('close');

    const response = await fetch(`${await standbyUrl()}/events`, bearer());
    const arrived = [];
    for await (const chunk of response.body) arrived.push([Buffer.from(chunk).toString(), Date.now()]);
    assert.equal(arrived.map(([text]) => text).join(''), 'data: 0\n\ndata: 1\n\ndata: 2\n\n');
    assert.ok(arrived.at(-1)[1] - arrived[0][1] > 200, 'not held back');
});

test('100 MB go both ways, and the server holds none of it', async () => {
    const pattern = randomBytes(1 << 20);
    const body = async function* () {
        for (let sent = 0; sent < BIG; sent += pattern.length) yield pattern;
    };
    const expected = createHash('sha256');
    for await (const chunk of body()) expected.update(chunk);
    const sha256 = expected.digest('hex');
    const before = peakMegabytes();

    const counted = await ask('/count', { method: 'POST', body: ReadableStream.from(body()), duplex: 'half' });
    assert.deepEqual(counted, { bytes: BIG, sha256 });
    const echo = await fetch(`${await standbyUrl()}/echo`, { ...bearer(), method: 'POST', body: ReadableStream.from(body()), duplex: 'half' });
    const received = createHash('sha256');
    for await (const chunk of echo.body) received.update(chunk);
    assert.equal(received.digest('hex'), sha256);

    assert.ok(peakMegabytes() - before < 32, `${before} MB before, ${peakMegabytes()} MB at most`);
});

test('more requests than one run takes are spread over two', async () => {
    await actor.update({ actorStandby: { desiredRequestsPerActorRun: 1, maxRequestsPerActorRun: 1 } });

    const answers = await Promise.all([ask('/hold?ms=15000'), ask('/hold?ms=15000')]);

    assert.notEqual(answers[0].runId, answers[1].runId);
});

test('a crash costs the request that caused it, and no other', async () => {
    const crash = await fetch(`${await standbyUrl()}/crash`, bearer());
    assert.equal(crash.status, 502);
    assert.equal((await crash.json()).error.type, 'standby-bad-gateway');

    assert.equal((await ask('/')).origin, 'STANDBY');
    let failed;
    do [failed] = (await actor.runs().list({ status: 'FAILED' })).items;
    while (!failed);
    assert.equal((await server.client.run(failed.id).get()).exitCode, 1);
});

test('a task is on Standby with its own settings', async () => {
    const task = await server.client.tasks().create({
        actId: (await actor.get()).id,
        name: 'on-standby',
        actorStandby: { memoryMbytes: 256 },
    });
    assert.equal(task.standbyUrl, `${server.url}/x-standby-task/playhouse~on-standby`);

    const response = await fetch(task.standbyUrl, bearer());

    assert.equal(response.status, 200, await response.clone().text());
    const { runId, origin } = await response.json();
    const run = await server.client.run(runId).get();
    assert.deepEqual([origin, run.actorTaskId, run.options.memoryMbytes], ['STANDBY', task.id, 256]);
    const off = await server.client.task(task.id).update({ actorStandby: { isEnabled: false } });
    assert.equal(off.standbyUrl, null);
    assert.equal((await server.client.run(runId).waitForFinish({ waitSecs: 60 })).status, 'SUCCEEDED');
});

test('idle runs end well, and switching Standby off closes the address', async () => {
    const { runId } = await ask('/');
    await actor.update({ actorStandby: { idleTimeoutSecs: 5 } });

    const run = await server.client.run(runId).waitForFinish({ waitSecs: 60 });

    assert.equal(run.status, 'SUCCEEDED', run.statusMessage);
    const off = await actor.update({ actorStandby: { isEnabled: false } });
    assert.equal(off.standbyUrl, null);
    const refused = await fetch(`${server.url}/x-standby/playhouse~js-standby`, bearer());
    assert.deepEqual([refused.status, (await refused.json()).error.type], [400, 'standby-not-enabled']);
});

test('an Actor in Python answers as well, and its run outlives the server', async () => {
    const directory = mkdtempSync(join(server.directory, 'data-'));
    const first = await startPlayhouse(['--data-dir', directory]);
    const python = await pushed(first, 'python-standby');
    const greet = async ({ url, token }) => {
        const response = await fetch(`${url}/x-standby/playhouse~python-standby`, { headers: { authorization: `Bearer ${token}` } });
        assert.equal(response.status, 200, await response.clone().text());
        return response.json();
    };
    const before = await greet(first);
    assert.equal(before.origin, 'STANDBY');
    await first.stop();

    // At the same address, which its runs know.
    const second = await startPlayhouse(['--data-dir', directory], new URL(first.url).host);
    assert.deepEqual(await greet(second), before);

    const stopped = await second.client.actor((await python.get()).id).update({ actorStandby: { isEnabled: false } });
    assert.equal(stopped.standbyUrl, null);
    const run = await second.client.run(before.runId).waitForFinish({ waitSecs: 60 });
    assert.equal(run.status, 'SUCCEEDED', run.statusMessage);
    await second.stop();
});

/** Pushes an Actor with the CLI; it is there already, since the CLI's own way to a new one needs the internet. */
async function pushed(to, name) {
    await to.client.actors().create({
        name,
        versions: [{ versionNumber: '0.0', buildTag: 'latest', sourceType: 'SOURCE_FILES', sourceFiles: [] }],
    });
    const cli = cliFor(to);
    const directory = join(mkdtempSync(join(to.directory, 'actor-')), name);
    cpSync(join(actorsDirectory, name), directory, { recursive: true });
    const login = await cli(['login', '--token', to.token]);
    assert.equal(login.code, 0, login.stderr);
    const push = await cli(['push'], { cwd: directory });
    assert.equal(push.code, 0, `${push.stdout}\n${push.stderr}`);
    return to.client.actor(`playhouse/${name}`);
}

async function standbyUrl() {
    return (await actor.get()).standbyUrl;
}

function bearer() {
    return { headers: { authorization: `Bearer ${server.token}` } };
}

async function ask(path, options) {
    const response = await fetch((await standbyUrl()) + path, { ...bearer(), ...options });
    assert.equal(response.status, 200, await response.clone().text());
    return response.json();
}

/** The most memory that the server has held so far. */
function peakMegabytes() {
    const line = readFileSync(`/proc/${server.pid}/status`, 'utf8').split('\n').find((found) => found.startsWith('VmHWM:'));
    return Number(line.split(/\s+/)[1]) / 1024;
}
