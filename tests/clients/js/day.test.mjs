// A day with the official CLI, from login to logout, each step with a look at what it prints.
import assert from 'node:assert/strict';
import { existsSync, cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';

import { givenActor } from './methods.mjs';
import { actorsDirectory, cliFor, startPlayhouse } from './playhouse.mjs';

let server;
let cli;
let me;
/** The directory of the Actor `day`, a copy of `plain`. */
let directory;
let actor;

before(async () => {
    server = await startPlayhouse();
    cli = cliFor(server);
    me = await server.client.user().get();
    // The CLI makes an Actor that does not exist by a list of templates from the internet, which a test must not depend on.
    actor = await server.client.actors().create({ name: 'day', defaultRunOptions: { build: 'latest', memoryMbytes: 4096, timeoutSecs: 300 }, versions: [{ versionNumber: '0.0', buildTag: 'latest', sourceType: 'SOURCE_FILES', sourceFiles: [] }] });
    // Its files come after it, or the CLI takes what is on the server for newer.
    directory = mkdtempSync(join(server.directory, 'day-'));
    cpSync(join(actorsDirectory, 'plain'), directory, { recursive: true });
    const file = join(directory, '.actor/actor.json');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), name: 'day', environmentVariables: { GREETING: '@greeting', PLACE: 'here' } }));
});

/** Runs the CLI, insists that it succeeds, and returns what it prints. */
async function apify(...args) {
    const options = typeof args.at(-1) === 'object' ? args.pop() : {};
    const { code, stdout, stderr } = await cli(args, options);
    assert.equal(code, 0, `apify ${args.join(' ')}: ${stdout}\n${stderr}`);
    return { stdout, all: stdout + stderr };
}

/** The same, with what it prints as JSON. */
async function json(...args) {
    const options = typeof args.at(-1) === 'object' ? args.pop() : {};
    const { stdout } = await apify(...args, '--json', options);
    return JSON.parse(stdout);
}

test('in the morning: login, and who am I', async () => {
    assert.match((await apify('login', '--token', server.token)).all, new RegExp(me.username));
    assert.match((await apify('info')).stdout, new RegExp(`${me.username}[^]*${me.id}`));
    assert.equal((await apify('auth', 'token')).stdout.trim(), server.token);
    assert.match((await apify('api', 'GET', 'users/me')).stdout, new RegExp(me.id));
});

test('an Actor is pushed, with a secret, and found again', async () => {
    await apify('secrets', 'add', 'greeting', 'top secret words');
    assert.match((await apify('secrets', 'ls')).all, /greeting/);

    const pushed = await apify('push', { cwd: directory });
    assert.match(pushed.all, /Upload: SUCCEEDED[^]*Build: SUCCEEDED/);
    const variables = (await server.client.actor(actor.id).version('0.0').envVars().list()).items;
    assert.deepEqual(variables.map(({ name, value, isSecret }) => [name, value, isSecret]), [['GREETING', undefined, true], ['PLACE', 'here', false]]);

    assert.deepEqual((await json('actors', 'ls', '--my')).items.map(({ id, name }) => [id, name]), [[actor.id, 'day']]);
    const info = await json('actors', 'info', `${me.username}/day`);
    assert.equal(JSON.stringify(info).includes(actor.id), true);
    assert.match((await apify('actors', 'info', `${me.username}/day`, '--readme')).stdout, /Does what its input says/);
    assert.match((await apify('actors', 'info', `${me.username}/day`, '--input')).stdout, /exitCode/);
});

test('it is called: from its directory, by name, with input, and with the items printed', async () => {
    const here = await apify('call', '--input', '{"say":"called from here"}', { cwd: directory });
    assert.match(here.all, /called from here/);
    const items = await apify('call', `${me.username}/day`, '--input', '{"items":[{"n":41},{"n":42}]}', '--output-dataset', '--silent');
    assert.deepEqual(JSON.parse(items.stdout), [{ n: 41 }, { n: 42 }]);
    const failed = await cli(['call', `${me.username}/day`, '--input', '{"exitCode":7}']);
    assert.equal(failed.code, 7, `${failed.stdout}\n${failed.stderr}`);
    const refused = await cli(['call', `${me.username}/day`, '--input', '{"say":7}']);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stdout + refused.stderr, /say/);
});

test('datasets', async () => {
    const made = await json('datasets', 'create', 'day-items');
    await apify('datasets', 'push-items', 'day-items', '[{"a":1},{"a":2}]');
    assert.deepEqual(JSON.parse((await apify('datasets', 'get-items', 'day-items')).stdout), [{ a: 1 }, { a: 2 }]);
    assert.equal((await apify('datasets', 'get-items', made.id, '--format', 'csv', '--limit', '1')).stdout.trim(), '"a"\n1');
    assert.equal((await json('datasets', 'info', 'day-items')).itemCount, 2);
    await apify('datasets', 'rename', 'day-items', 'night-items');
    assert.ok((await json('datasets', 'ls')).items.some(({ id, name }) => id === made.id && name === 'night-items'));
    await apify('datasets', 'rm', 'night-items', '--yes');
    assert.equal(await server.client.dataset(made.id).get(), undefined);
});

test('key-value stores', async () => {
    const made = await json('key-value-stores', 'create', 'day-store');
    await apify('key-value-stores', 'set-value', 'day-store', 'a', '{"x":1}');
    await apify('key-value-stores', 'set-value', 'day-store', 'b', 'words', '--content-type', 'text/plain');
    assert.deepEqual(JSON.parse((await apify('key-value-stores', 'get-value', 'day-store', 'a')).stdout), { x: 1 });
    assert.match((await apify('key-value-stores', 'get-value', 'day-store', 'b')).stdout, /words/);
    assert.deepEqual((await json('key-value-stores', 'keys', 'day-store')).items.map(({ key }) => key), ['a', 'b']);
    assert.equal(JSON.stringify(await json('key-value-stores', 'info', 'day-store')).includes(made.id), true);
    await apify('key-value-stores', 'delete-value', 'day-store', 'b', '--yes');
    assert.equal(await server.client.keyValueStore(made.id).recordExists('b'), false);
    await apify('key-value-stores', 'rename', 'day-store', 'night-store');
    assert.ok((await json('key-value-stores', 'ls')).items.some(({ id, name }) => id === made.id && name === 'night-store'));
    await apify('key-value-stores', 'rm', 'night-store', '--yes');
    assert.equal(await server.client.keyValueStore(made.id).get(), undefined);
});

test('request queues, tasks and schedules, for which the CLI has few words of its own or none', async () => {
    assert.match((await apify('request-queues')).all, /No subcommands/);
    const call = async (method, path, body) => JSON.parse((await apify('api', method, path, ...(body ? ['--body', JSON.stringify(body)] : []))).stdout);

    const queue = (await call('POST', 'request-queues?name=day-queue')).data;
    await call('POST', `request-queues/${queue.id}/requests`, { url: 'http://example.com', uniqueKey: 'a' });
    assert.equal((await call('GET', `request-queues/${queue.id}`)).data.pendingRequestCount, 1);

    const task = (await call('POST', 'actor-tasks', { actId: actor.id, name: 'day-task', input: { say: 'from a task', items: [{ n: 3 }] } })).data;
    assert.match((await apify('task', 'run', 'day-task')).all, /from a task/);
    const run = await server.client.task(task.id).lastRun().get();
    assert.deepEqual([run.status, run.actorTaskId], ['SUCCEEDED', task.id]);
    await server.client.actor(actor.id).update({ isPublic: true, title: 'Day', categories: ['AI'] });
    await server.client.task(task.id).update({ publicConfig: { seoTitle: 'Find me', seoDescription: 'Words', categorization: 'AI', inputSchemaFields: ['say'], datasetName: 'default', datasetView: 'numbers' } });
    await apify('task', 'publish', 'day-task');
    assert.equal((await server.client.task(task.id).get()).isPublic, true);
    await apify('task', 'unpublish', 'day-task');
    assert.equal((await server.client.task(task.id).get()).isPublic, false);

    const schedule = (await call('POST', 'schedules', { name: 'day-schedule', cronExpression: '@daily', isEnabled: true, actions: [{ type: 'RUN_ACTOR_TASK', actorTaskId: task.id }] })).data;
    assert.deepEqual((await call('GET', 'schedules')).data.items.map(({ id }) => id), [schedule.id]);
    await apify('api', 'DELETE', `schedules/${schedule.id}`);
    assert.deepEqual((await call('GET', 'schedules')).data.items, []);
});

test('the Actor is found in the store, pulled into another directory, and removed', async () => {
    const found = await json('actors', 'search', 'Day');
    assert.ok(found.items.some(({ id }) => id === actor.id), JSON.stringify(found));
    const elsewhere = join(server.directory, 'pulled');
    mkdirSync(elsewhere);
    await apify('actors', 'pull', `${me.username}/day`, '--dir', 'day-again', { cwd: elsewhere });
    assert.ok(existsSync(join(elsewhere, 'day-again/main.js')));
    assert.equal(readFileSync(join(elsewhere, 'day-again/main.js'), 'utf8'), readFileSync(join(directory, 'main.js'), 'utf8'));

    await apify('actors', 'rm', `${me.username}/day`, '--yes');
    assert.equal(await server.client.actor(actor.id).get(), undefined);
});

test('the pages that the CLI points to are there, and are about what it says', async () => {
    const linked = await givenActor(server.client, 'plain', 'linked');
    const links = new Map();
    const follow = async (about, ...args) => {
        const { stdout, stderr } = await cli(args);
        const found = (stdout + stderr).matchAll(/https?:\/\/[^\s"',\])]+/g);
        const pages = [...found].map(([url]) => url).filter((url) => url.startsWith(server.consoleUrl) && !/\/(v2|x-run)\//.test(url));
        for (const page of pages) links.set(page, about);
        assert.ok(pages.length > 0, `apify ${args.join(' ')} prints no link: ${stdout}\n${stderr}`);
    };
    await follow('linked', 'call', `${me.username}/linked`);
    const run = await server.client.actor(linked.id).lastRun().get();
    await follow(run.id, 'runs', 'info', run.id);

    for (const [url, about] of links) {
        const page = await fetch(url, { headers: { accept: 'text/html' } });
        assert.equal(page.status, 200, url);
        const text = await page.text();
        assert.match(text, /<!doctype html>/i, url);
        assert.ok(text.includes(about), `${about} is not on ${url}: ${text}`);
    }
});

test('in the evening: logout', async () => {
    await apify('logout');

    const info = await cli(['info']);
    assert.notEqual(info.code, 0);
    assert.match(info.stdout + info.stderr, /login|logged in/i);
});
