// A user's day with the official CLI and unmodified Actors: log in, push, call, read everything back.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';

import { actorsDirectory, cliFor, startPlayhouse, startSite } from './playhouse.mjs';

const PAGES = 12;
let server;
let cli;
let site;
before(async () => {
    server = await startPlayhouse();
    cli = cliFor(server);
    site = await startSite(PAGES);
    const login = await cli(['login', '--token', server.token]);
    assert.equal(login.code, 0, login.stderr);
});

test('info tells who is logged in', async () => {
    const info = await cli(['info']);

    assert.equal(info.code, 0, info.stderr);
    assert.match(info.stdout, /playhouse/);
    assert.match(info.stdout, new RegExp(server.userId));
});

test('a wrong token is refused', async () => {
    const stranger = cliFor(server);

    const login = await stranger(['login', '--token', 'no-such-token']);

    assert.match(login.stdout + login.stderr, /fail|invalid|not valid/i);
    assert.notEqual((await stranger(['info'])).code, 0);
});

const crawling = { startUrls: () => [{ url: `${site.url}/0` }], items: PAGES };
const actors = [
    { name: 'js-start', input: () => ({ url: `${site.url}/0` }), atLeast: 1 },
    { name: 'ts-start', input: () => ({ url: `${site.url}/0` }), atLeast: 1 },
    { name: 'js-crawlee-cheerio', input: () => ({ startUrls: crawling.startUrls(), maxRequestsPerCrawl: 100 }), exactly: PAGES },
    { name: 'python-start', input: () => ({ url: `${site.url}/0` }), atLeast: 1 },
    { name: 'python-beautifulsoup', input: () => ({ start_urls: crawling.startUrls(), max_depth: 10 }), exactly: PAGES },
    { name: 'python-crawlee-beautifulsoup', input: () => ({ start_urls: crawling.startUrls() }), exactly: PAGES },
];

for (const actor of actors) {
    test(`${actor.name} is pushed, called and read back`, async () => {
        const directory = await newActor(actor.name);

        const push = await cli(['push'], { cwd: directory });
        assert.equal(push.code, 0, `${push.stdout}\n${push.stderr}`);
        const call = await cli(['call', '--input', JSON.stringify(actor.input())], { cwd: directory });
        assert.equal(call.code, 0, `${call.stdout}\n${call.stderr}`);

        const me = await server.client.user().get();
        const run = await server.client.actor(`${me.username}/${actor.name}`).lastRun().get();
        assert.equal(run.status, 'SUCCEEDED');
        assert.equal(run.meta.origin, 'CI');
        assert.equal(run.exitCode, 0);
        assert.ok(run.usageTotalUsd >= 0);
        const { items } = await server.client.run(run.id).dataset().listItems();
        if (actor.exactly) assert.equal(items.length, actor.exactly, JSON.stringify(items));
        else assert.ok(items.length >= actor.atLeast, JSON.stringify(items));
        assert.deepEqual((await server.client.run(run.id).keyValueStore().getRecord('INPUT')).value, withDefaults(directory, actor.input()));
        const log = await server.client.run(run.id).log().get();
        for (const line of log.trimEnd().split('\n')) assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /);
        const queue = await server.client.run(run.id).requestQueue().get();
        assert.equal(queue.pendingRequestCount, 0);
        const anonymous = await server.anonymous.run(run.id).get();
        assert.equal(anonymous.id, run.id);
        assert.equal('usageTotalUsd' in anonymous, false);
    });
}

test('a push after an edit needs no force, since builds and runs do not count as changes', async () => {
    const directory = copyOf('js-start');
    const me = await server.client.user().get();
    const before = await server.client.actor(`${me.username}/js-start`).get();

    const push = await cli(['push'], { cwd: directory });

    assert.equal(push.code, 0, `${push.stdout}\n${push.stderr}`);
    const after = await server.client.actor(`${me.username}/js-start`).get();
    assert.equal(after.stats.totalBuilds, before.stats.totalBuilds + 1);
});

test('a push over 3 MB goes as an archive', async () => {
    const directory = await newActor('js-start', 'big-actor');
    writeFileSync(join(directory, 'ballast.txt'), 'ballast '.repeat(500_000));

    const push = await cli(['push'], { cwd: directory });

    assert.equal(push.code, 0, `${push.stdout}\n${push.stderr}`);
    const me = await server.client.user().get();
    const version = await server.client.actor(`${me.username}/big-actor`).versions().list();
    assert.equal(version.items[0].sourceType, 'TARBALL');
});

test('a run that fails gives the CLI its exit code, and its log says why', async () => {
    const directory = await newActor('js-start', 'failing-actor');
    writeFileSync(join(directory, 'src/main.js'), 'console.error("it went wrong"); process.exit(7);\n');
    await cli(['push'], { cwd: directory });

    const call = await cli(['call', '--input', JSON.stringify({ url: `${site.url}/0` })], { cwd: directory });

    assert.notEqual(call.code, 0);
    assert.match(call.stdout + call.stderr, /it went wrong/);
});

test('runs, builds and storages are listed', async () => {
    for (const args of [['actors', 'ls', '--my'], ['runs', 'ls', 'js-start'], ['builds', 'ls', 'js-start'], ['datasets', 'ls', '--unnamed'], ['key-value-stores', 'ls', '--unnamed']]) {
        const listed = await cli(args);
        assert.equal(listed.code, 0, `${args.join(' ')}: ${listed.stdout}\n${listed.stderr}`);
    }
});

/**
 * An Actor's directory, and the Actor as the CLI makes it at the first push. The CLI's own way there reads a list of
 * templates from the internet, which a test must not depend on.
 */
async function newActor(source, name = source) {
    await server.client.actors().create({
        name,
        defaultRunOptions: { build: 'latest', memoryMbytes: 512, timeoutSecs: 3600 },
        versions: [{ versionNumber: '0.0', buildTag: 'latest', sourceType: 'SOURCE_FILES', sourceFiles: [] }],
    });
    const directory = copyOf(source);
    if (name !== source) rename(directory, name);
    return directory;
}

/** A copy of an Actor, so that the CLI's own files do not land in the repository. */
function copyOf(name) {
    const directory = mkdtempSync(join(server.directory, `${name}-`));
    cpSync(join(actorsDirectory, name), directory, { recursive: true });
    return directory;
}

function rename(directory, name) {
    const file = join(directory, '.actor/actor.json');
    const actor = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...actor, name }));
}

/** What the server stores as input: the schema's defaults filled in. */
function withDefaults(directory, input) {
    const schema = JSON.parse(readFileSync(join(directory, '.actor/input_schema.json'), 'utf8'));
    const defaults = Object.entries(schema.properties).filter(([, field]) => 'default' in field).map(([key, field]) => [key, field.default]);
    return { ...Object.fromEntries(defaults), ...input };
}
