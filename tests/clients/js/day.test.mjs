// A day with the official CLI, from login to logout, each step with a look at what it prints.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

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

/** What the CLI was asked to do, as in `datasets ls`. */
const asked = new Set();

/** Runs the CLI, insists that it ends with `code` (0 unless told), and returns what it prints. */
async function apify(...args) {
    const { code = 0, run = cli, ...options } = typeof args.at(-1) === 'object' ? args.pop() : {};
    asked.add(args[0]).add(args.slice(0, 2).join(' '));
    const ended = await run(args, options);
    const { stdout, stderr } = ended;
    assert.ok([code].flat().includes(ended.code), `apify ${args.join(' ')} ended with ${ended.code}: ${stdout}\n${stderr}`);
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
    const failed = await apify('call', `${me.username}/day`, '--input', '{"exitCode":7}', { code: 7 });
    assert.match(failed.stdout, /Apify call result: FAILED[^]*exit code 7/i);
    const refused = await apify('call', `${me.username}/day`, '--input', '{"say":7}', { code: 1 });
    assert.match(refused.all, /say/);
    const called = await json('actors', 'call', `${me.username}/day`, '--memory', '2048', '--timeout', '100');
    const run = await server.client.run(called.run.id).get();
    assert.deepEqual([called.ok, called.run.status, called.storage.defaultDatasetId], [true, 'SUCCEEDED', run.defaultDatasetId]);
    assert.deepEqual([run.options.memoryMbytes, run.options.timeoutSecs], [2048, 100]);
});

test('builds', async () => {
    const name = `${me.username}/day`;
    const made = await json('builds', 'create', name);
    assert.deepEqual([made.ok, made.waited, made.actor, made.build.number], [true, false, { id: actor.id, name: 'day' }, '0.0.2']);
    const waited = await json('builds', 'wait', made.build.id);
    assert.deepEqual([waited.ok, waited.build.status], [true, 'SUCCEEDED']);
    assert.match((await apify('builds', 'log', made.build.id)).all, /Build 0\.0\.2 was accepted[^]*Build finished\./);
    const followed = await apify('actors', 'build', '--log', { cwd: directory });
    assert.match(followed.stdout, /Apify build result: SUCCEEDED[^]*Build number: 0\.0\.3/);
    assert.match(followed.all, /Z ACTOR: Step 2\/3/);

    const listed = await json('builds', 'ls', name);
    assert.deepEqual(listed.items.map(({ buildNumber, status, buildTag }) => [buildNumber, status, buildTag]), [['0.0.1', 'SUCCEEDED', undefined], ['0.0.2', 'SUCCEEDED', undefined], ['0.0.3', 'SUCCEEDED', 'latest']]);
    assert.match((await apify('builds', 'ls', name)).stdout, /3 out of 3 builds[^]*0\.0\.3 \(latest\)/);
    const info = await json('builds', 'info', made.build.id);
    assert.deepEqual([info.id, info.actId, info.meta.origin, info.actorDefinition.name], [made.build.id, actor.id, 'CI', 'day']);
    assert.match((await apify('builds', 'info', made.build.id)).stdout, /Build Number: 0\.0\.2[^]*Succeeded[^]*Origin: CI/);

    assert.match((await apify('builds', 'add-tag', '--build', made.build.id, '--tag', 'noon')).stdout, /"noon" added to build 0\.0\.2/);
    assert.equal((await server.client.actor(actor.id).get()).taggedBuilds.noon.buildId, made.build.id);
    assert.match((await apify('call', name, '--build', 'noon')).stdout, /Build number: 0\.0\.2/);
    await apify('builds', 'remove-tag', '--build', made.build.id, '--tag', 'noon', '--yes');
    assert.deepEqual(Object.keys((await server.client.actor(actor.id).get()).taggedBuilds), ['latest']);
    assert.match((await apify('builds', 'rm', made.build.id, '--yes')).stdout, /was deleted/);
    assert.equal(await server.client.build(made.build.id).get(), undefined);
});

test('runs', async () => {
    const name = `${me.username}/day`;
    // The CLI takes a run that is not yet under way for a failed one and ends with 1, though it prints that all is well.
    const started = await json('actors', 'start', name, '--input', '{"say":"all day","wait":true}', { code: [0, 1] });
    assert.deepEqual([started.ok, started.waited, started.actor.id, started.exitCode], [true, false, actor.id, 0]);
    const { id } = started.run;
    await record(id, 'TOKEN');

    const newest = await json('runs', 'ls', name, '--desc', '--limit', '1');
    assert.deepEqual(newest.items.map(({ id, status, meta }) => [id, status, meta.origin]), [[id, 'RUNNING', 'CI']]);
    assert.match((await apify('runs', 'ls', name, '--desc')).stdout, new RegExp(`runs for Actor ${name}[^]*${id}[^]*Running[^]*Succeeded`));
    assert.match((await apify('actors', 'ls')).stdout, new RegExp(`Running[^]*${name}`));
    const info = await json('runs', 'info', id);
    assert.deepEqual([info.id, info.status, info.actor.id, info.build.buildNumber], [id, 'RUNNING', actor.id, '0.0.3']);
    assert.match((await apify('runs', 'wait', id, '--timeout', '1', { code: 6 })).all, /run is still RUNNING/);

    assert.equal((await json('runs', 'abort', id)).status, 'ABORTING');
    const ended = await json('runs', 'wait', id, { code: 3 });
    assert.deepEqual([ended.ok, ended.run.status, ended.exitCode], [false, 'ABORTED', 3]);
    assert.match((await apify('runs', 'log', id)).all, /Z all day/);
    assert.match((await apify('runs', 'info', id, '--verbose')).stdout, /Aborted[^]*Results: 1[^]*Actor compute units[^]*Dataset writes +1 /);

    const again = await json('runs', 'resurrect', id);
    assert.deepEqual([again.id, again.stats.resurrectCount, again.finishedAt], [id, 1, null]);
    assert.match((await apify('runs', 'abort', id, '--force')).stdout, /immediate abort/);
    assert.match((await apify('runs', 'wait', id, { code: 3 })).all, /Apify run result: ABORTED/);
    assert.match((await apify('runs', 'rm', id, '--yes')).all, /was deleted/);
    assert.equal(await server.client.run(id).get(), undefined);
});

test('inside a run, the CLI is at hand for Actors in any language', async () => {
    const paid = await givenActor(server.client, 'plain', 'paid-day');
    const page = { eventTitle: 'Page', eventDescription: 'One page', eventPriceUsd: 0.5 };
    const since = { createdAt: '2020-01-01T00:00:00.000Z', startedAt: '2020-01-01T00:00:00.000Z', apifyMarginPercentage: 0 };
    await server.client.actor(paid.id).update({ pricingInfos: [{ pricingModel: 'PAY_PER_EVENT', ...since, pricingPerEvent: { actorChargeEvents: { page } } }] });
    const { id, defaultDatasetId, defaultKeyValueStoreId } = await server.client.actor(paid.id).start({ say: 'inside', wait: true });
    const { token } = await record(id, 'TOKEN');
    const run = cliFor(server, {
        APIFY_IS_AT_HOME: '1',
        APIFY_TOKEN: token,
        APIFY_ACTOR_RUN_ID: id,
        ACTOR_DEFAULT_DATASET_ID: defaultDatasetId,
        ACTOR_DEFAULT_KEY_VALUE_STORE_ID: defaultKeyValueStoreId,
    });

    assert.equal(JSON.parse((await apify('actor', 'get-input', { run })).stdout).say, 'inside');
    await apify('actor', 'push-data', '[{"n":2},{"n":3}]', { run });
    assert.deepEqual((await server.client.dataset(defaultDatasetId).listItems()).items, [{ n: 1 }, { n: 2 }, { n: 3 }]);
    await apify('actor', 'set-value', 'WORDS', 'kept', '--content-type', 'text/plain', { run });
    assert.equal((await apify('actor', 'get-value', 'WORDS', { run })).stdout, 'kept');
    const address = new URL((await apify('actor', 'get-public-url', 'WORDS', { run })).stdout.trim());
    // The CLI has no setting for the host of public addresses, so it is the vendor's.
    assert.equal(await (await fetch(`${server.url}${address.pathname}${address.search}`)).text(), 'kept');
    assert.match((await apify('actor', 'charge', 'page', '--count', '2', { run })).stdout, /Charging 2 events/);
    const seen = await server.client.run(id).get();
    assert.deepEqual([seen.chargedEventCounts, seen.status], [{ page: 2 }, 'RUNNING']);
    await server.client.run(id).abort();
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
    for (const [into, ...command] of [['day-again', 'actors', 'pull'], ['day-once-more', 'pull']]) {
        await apify(...command, `${me.username}/day`, '--dir', into, { cwd: elsewhere });
        assert.equal(readFileSync(join(elsewhere, into, 'main.js'), 'utf8'), readFileSync(join(directory, 'main.js'), 'utf8'));
    }
    const pushed = await json('actors', 'push', '--force', { cwd: join(elsewhere, 'day-again') });
    assert.deepEqual([pushed.actor.id, pushed.build.number, pushed.build.status], [actor.id, '0.0.4', 'SUCCEEDED']);

    await apify('actors', 'rm', `${me.username}/day`, '--yes');
    assert.equal(await server.client.actor(actor.id).get(), undefined);
});

test('the pages that the CLI points to are there, and are about what it says', async () => {
    const linked = await givenActor(server.client, 'plain', 'linked');
    const links = new Map();
    const follow = async (about, ...args) => {
        const { all } = await apify(...args);
        const found = all.matchAll(/https?:\/\/[^\s"',\])]+/g);
        const pages = [...found].map(([url]) => url).filter((url) => url.startsWith(server.consoleUrl) && !/\/(v2|x-run)\//.test(url));
        for (const page of pages) links.set(page, about);
        assert.ok(pages.length > 0, `apify ${args.join(' ')} prints no link: ${all}`);
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
    await apify('secrets', 'rm', 'greeting');
    assert.doesNotMatch((await apify('secrets', 'ls')).all, /greeting/);
    await apify('logout');
    assert.match((await apify('info', { code: 1 })).all, /login|logged in/i);

    assert.match((await apify('auth', 'login', '--token', server.token)).all, new RegExp(me.username));
    assert.match((await apify('info')).stdout, new RegExp(me.id));
    await apify('auth', 'logout');
    assert.match((await apify('info', { code: 1 })).all, /login|logged in/i);
});

test('no command of the CLI that asks the server was left out', async () => {
    /** These work with files, or with the vendor's list of templates. */
    const local = ['create', 'init', 'run', 'templates', 'validate-schema', 'actor calculate-memory', 'actor generate-schema-types', 'telemetry', 'mcp', 'help', 'upgrade'];
    const listed = async (...topic) => {
        const { stdout } = await cli([...topic, '--help']);
        const first = topic.length ? `${topic.join(' ')} ` : '';
        return [...stdout.matchAll(/^  ([a-z][a-z- ]*[a-z]) {2,}\S/gm)].map(([, name]) => name).filter((name) => name.startsWith(first));
    };
    const topics = (await listed()).filter((topic) => !local.includes(topic));
    assert.ok(topics.includes('datasets') && topics.includes('push'), topics.join());
    const subcommands = (await Promise.all(topics.map((topic) => listed(topic)))).flat().filter((command) => !local.includes(command));
    assert.ok(subcommands.includes('datasets ls'), subcommands.join());

    const left = [...topics, ...subcommands].filter((command) => !asked.has(command));

    assert.deepEqual(left, []);
});

/** Waits for a record in a run's own store. */
async function record(run, key) {
    for (;;) {
        const found = await server.client.run(run).keyValueStore().getRecord(key);
        if (found) return found.value;
        await sleep(50);
    }
}
