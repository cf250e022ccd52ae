// Starts the real binary on throw-away data, and points the official tools at it.
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { ApifyClient } from 'apify-client';

const here = fileURLToPath(new URL('.', import.meta.url));
export const binary = process.env.PLAYHOUSE_BIN ?? join(here, '../../../target/debug/playhouse');
export const actorsDirectory = join(here, '../../actors');

/** Starts a server; it is stopped when the tests of the file are done. `args` replace the usual throw-away data directory. */
export async function startPlayhouse(args = ['--ephemeral'], listen = '127.0.0.1:0') {
    const directory = mkdtempSync(join(tmpdir(), 'playhouse-test-'));
    const readyFile = join(directory, 'ready.json');
    const child = spawn(binary, ['serve', '--driver', 'process', '--listen', listen, '--ready-file', readyFile, ...args], {
        stdio: ['ignore', 'ignore', process.env.PLAYHOUSE_TEST_LOG ? 'inherit' : 'ignore'],
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const ready = await whenReady(readyFile, child);
    const server = {
        ...ready,
        process: child,
        directory,
        client: new ApifyClient({ baseUrl: ready.url, publicBaseUrl: ready.url, token: ready.token, maxRetries: 0 }),
        anonymous: new ApifyClient({ baseUrl: ready.url, maxRetries: 0 }),
        async stop(signal = 'SIGTERM') {
            child.ref();
            child.kill(signal);
            await ended;
        },
    };
    // The test runner ends when nothing holds it; then the server goes, too.
    child.unref();
    process.once('exit', () => {
        child.kill('SIGTERM');
        rmSync(directory, { recursive: true, force: true });
    });
    return server;
}

async function whenReady(file, child) {
    const deadline = Date.now() + 120_000;
    while (!existsSync(file)) {
        if (child.exitCode !== null) throw new Error(`the server ended with code ${child.exitCode}`);
        if (Date.now() > deadline) throw new Error('the server did not get ready');
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return JSON.parse(readFileSync(file, 'utf8'));
}

/** The `apify` CLI with a home of its own, pointed at `server`; `more` is added to its environment. */
export function cliFor(server, more = {}) {
    const home = mkdtempSync(join(server.directory, 'home-'));
    const program = join(here, '../node_modules/.bin/apify');
    const env = {
        PATH: process.env.PATH,
        HOME: home,
        APIFY_CLIENT_BASE_URL: server.url,
        APIFY_CONSOLE_URL: server.consoleUrl,
        APIFY_DISABLE_KEYRING: '1',
        APIFY_CLI_DISABLE_TELEMETRY: '1',
        APIFY_CLI_SKIP_UPDATE_CHECK: '1',
        NO_COLOR: '1',
        CI: '1',
        ...more,
    };
    return async (args, { cwd = home } = {}) => {
        try {
            const options = { cwd, env, maxBuffer: 64 << 20, timeout: 600_000 };
            const { stdout, stderr } = await promisify(execFile)(program, args, options);
            return { code: 0, stdout, stderr };
        } catch (error) {
            return { code: error.code, stdout: error.stdout, stderr: error.stderr };
        }
    };
}

/**
 * A site of `pages` pages, each linking to the next two; every seventh page fails twice before it answers, and every
 * fiftieth never does until the site is mended. Counts what it was asked for.
 */
export async function startSite(pages) {
    const hits = new Map();
    let mended = false;
    const site = createServer((request, response) => {
        const number = Number(new URL(request.url, 'http://site').pathname.slice(1) || 0);
        const hit = (hits.get(number) ?? 0) + 1;
        hits.set(number, hit);
        if (!(number < pages)) return response.writeHead(404).end();
        if ((isBroken(number) && !mended) || (number % 7 === 6 && hit <= 2)) return response.writeHead(500).end('try again');
        const links = [2 * number + 1, 2 * number + 2].filter((next) => next < pages).map((next) => `<a href="/${next}">${next}</a>`);
        response.writeHead(200, { 'content-type': 'text/html' });
        response.end(`<!doctype html><title>Page ${number}</title><h1>Page ${number}</h1>${links.join(' ')}`);
    });
    await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
    site.unref();
    const mend = () => {
        mended = true;
    };
    return { url: `http://127.0.0.1:${site.address().port}`, hits, mend };
}

/** Leaves only, so that a page that never answers hides no others: those beyond half of the pages have no links. */
export function isBroken(number) {
    return number >= 150 && number % 50 === 0;
}

/** A target that thanks for whatever it is told, and remembers it by path. */
export async function startSink() {
    const told = new Map();
    const sink = createServer(async (request, response) => {
        const pieces = [];
        for await (const piece of request) pieces.push(piece);
        const text = Buffer.concat(pieces).toString();
        const { method, url, headers } = request;
        told.set(url, [...(told.get(url) ?? []), { method, headers, text, body: text && JSON.parse(text) }]);
        response.end('thanks');
    });
    await new Promise((resolve) => sink.listen(0, '127.0.0.1', resolve));
    sink.unref();
    /** Waits until so much was told at a path. */
    const until = async (path, count) => {
        while ((told.get(path)?.length ?? 0) < count) await new Promise((resolve) => setTimeout(resolve, 20));
        return told.get(path);
    };
    return { url: `http://127.0.0.1:${sink.address().port}`, until };
}
