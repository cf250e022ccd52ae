// Actors that come from Git repositories and archives, by the official client, built and run by the real binary.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { before, test } from 'node:test';

import { startPlayhouse } from './playhouse.mjs';

const PROGRAM = `
const { APIFY_API_BASE_URL: base, APIFY_TOKEN: token, ACTOR_DEFAULT_KEY_VALUE_STORE_ID: store, API_KEY: key } = process.env;
console.log('The key is ' + key);
const url = base + 'v2/key-value-stores/' + store + '/records/OUTPUT';
const headers = { authorization: 'Bearer ' + token, 'content-type': 'application/json' };
const answer = await fetch(url, { method: 'PUT', headers, body: JSON.stringify({ from: 'WHERE', hasKey: key === 'hunter22' }) });
if (!answer.ok) throw new Error(await answer.text());
`;
let server;
let client;
before(async () => {
    server = await startPlayhouse();
    client = server.client;
});

test('an Actor is built from a branch and a directory of a Git repository, and runs', async () => {
    const repository = repositoryWith({ 'README.md': 'All Actors', 'actors/one/.actor/Dockerfile': dockerfile('actors/one'), 'actors/one/main.mjs': program('git') });
    const actor = await newActor('from-git', { sourceType: 'GIT_REPO', gitRepoUrl: `file://${repository}#main:actors/one` });

    const build = await built(actor);
    assert.equal(build.status, 'SUCCEEDED', await client.log(build.id).get());
    assert.equal(build.actVersion.sourceType, 'GIT_REPO');
    const run = await client.actor(actor.id).call();

    assert.equal(run.status, 'SUCCEEDED', await client.log(run.id).get());
    assert.deepEqual((await client.run(run.id).keyValueStore().getRecord('OUTPUT')).value, { from: 'git', hasKey: true });
    const log = await client.log(run.id).get();
    assert.match(log, /The key is \*\*\*\*\*/);
    assert.doesNotMatch(log, /hunter22/);
    const version = await client.actor(actor.id).version('0.0').get();
    assert.equal(version.gitRepoUrl, `file://${repository}#main:actors/one`);
    assert.deepEqual(version.envVars, [{ name: 'API_KEY', isSecret: true }]);
    assert.deepEqual(await client.actor(actor.id).version('0.0').envVar('API_KEY').get(), { name: 'API_KEY', isSecret: true });
});

test('an Actor is built from an archive on a web server, as a code host packs it', async () => {
    const directory = mkdtempSync(join(server.directory, 'archive-'));
    writeTree(join(directory, 'repo-main'), { Dockerfile: dockerfile('.'), 'main.mjs': program('archive') });
    execFileSync('tar', ['czf', 'a.tgz', 'repo-main'], { cwd: directory });
    const site = await serve((request, response) => response.end(readFileSync(join(directory, 'a.tgz'))));
    const actor = await newActor('from-archive', { sourceType: 'TARBALL', tarballUrl: `${site}/a.tgz?signature=secret` });

    const build = await built(actor);
    const log = await client.log(build.id).get();
    assert.equal(build.status, 'SUCCEEDED', log);
    assert.doesNotMatch(log, /signature=secret/);
    const run = await client.actor(actor.id).call();

    assert.deepEqual((await client.run(run.id).keyValueStore().getRecord('OUTPUT')).value, { from: 'archive', hasKey: true });
});

test('what cannot be fetched fails with a sentence in the log', async () => {
    const repository = repositoryWith({ Dockerfile: dockerfile('.') });
    const locked = await serve((request, response) => response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end());
    const actor = await newActor('failing', { sourceType: 'GIT_REPO', gitRepoUrl: repository });
    for (const [gitRepoUrl, reason] of [
        [`${repository}-gone`, /there is no repository at/],
        [`${repository}#nope`, /has no branch, tag or commit "nope"/],
        [`${repository}#main:nope`, /has no directory "nope"/],
        [`${locked}/private.git`, /does not exist or asks for a password/],
        [`${locked.replace('//', '//ada:hunter22@')}/private.git`, /refuses the credentials/],
    ]) {
        await client.actor(actor.id).version('0.0').update({ sourceType: 'GIT_REPO', gitRepoUrl });

        const build = await built(actor);

        assert.equal(build.status, 'FAILED', gitRepoUrl);
        const log = await client.log(build.id).get();
        assert.match(log, reason);
        assert.doesNotMatch(log, /hunter22/);
    }
});

test('a fetch that hangs is aborted with all of its processes', async () => {
    const silent = await serve(() => {});
    const url = `${silent}/hanging.git`;
    const actor = await newActor('hanging', { sourceType: 'GIT_REPO', gitRepoUrl: url });
    const { id } = await client.actor(actor.id).build('0.0');
    await until(() => commandLines().some((line) => line.includes(url)));
    assert.equal((await client.build(id).get()).status, 'RUNNING');

    const build = await client.build(id).abort();

    assert.equal(build.status, 'ABORTED');
    await until(() => !commandLines().some((line) => line.includes(url)));
});

async function newActor(name, version) {
    const envVars = [{ name: 'API_KEY', value: 'hunter22', isSecret: true }];
    return client.actors().create({ name, versions: [{ versionNumber: '0.0', buildTag: 'latest', envVars, ...version }], defaultRunOptions: { memoryMbytes: 512 } });
}

async function built(actor) {
    const { id } = await client.actor(actor.id).build('0.0');
    return client.build(id).waitForFinish();
}

function program(where) {
    return PROGRAM.replace('WHERE', where);
}

function dockerfile(directory) {
    return `FROM node:20\nWORKDIR /app\nCOPY ${directory}/main.mjs ./\nCMD ["node", "main.mjs"]\n`;
}

function writeTree(root, files) {
    for (const [name, text] of Object.entries(files)) {
        mkdirSync(dirname(join(root, name)), { recursive: true });
        writeFileSync(join(root, name), text);
    }
}

function repositoryWith(files) {
    const directory = mkdtempSync(join(server.directory, 'repository-'));
    const git = (...args) => execFileSync('git', ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.com', ...args], { cwd: directory });
    git('init', '--quiet', '--initial-branch=main');
    writeTree(directory, files);
    git('add', '--all');
    git('commit', '--quiet', '--message', 'An Actor');
    return directory;
}

async function serve(answer) {
    const site = createServer(answer);
    await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
    site.unref();
    return `http://127.0.0.1:${site.address().port}`;
}

function commandLines() {
    const lines = [];
    for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        try {
            lines.push(readFileSync(`/proc/${id}/cmdline`, 'utf8').replaceAll('\0', ' '));
        } catch {
            // It has ended meanwhile.
        }
    }
    return lines;
}

async function until(isSo) {
    for (const deadline = Date.now() + 300_000; !isSo(); ) {
        assert.ok(Date.now() < deadline, 'it never came');
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}
