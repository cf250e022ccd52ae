// Which public methods a client package has, and which of them a test has called itself.
import { AsyncLocalStorage } from 'node:async_hooks';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import * as packageOfClient from 'apify-client';

import { actorsDirectory } from './playhouse.mjs';

/** Methods that only the types of the package call private. */
const INTERNAL = ['StreamedLog.streamLog', 'StreamedLog.logStreamChunks', 'StreamedLog.logBufferContent'];

/** As in `ActorClient.get`, sorted. */
export function publicMethods() {
    return [...classes()].flatMap(([name, type]) => methodsOf(type).map((method) => `${name}.${method}`)).filter((method) => !INTERNAL.includes(method)).sort();
}

/** The methods that are called from now on, but not those that the client calls by itself on the way. */
export function watchMethods() {
    const called = new Set();
    const inside = new AsyncLocalStorage();
    for (const [name, type] of classes()) {
        for (const method of methodsOf(type)) {
            const original = type.prototype[method];
            type.prototype[method] = function watched(...args) {
                if (!inside.getStore()) called.add(`${name}.${method}`);
                return inside.run(true, () => original.apply(this, args));
            };
        }
    }
    return called;
}

function classes() {
    return Object.entries(packageOfClient).filter(([name]) => name.endsWith('Client') || name === 'StreamedLog');
}

function methodsOf(type) {
    const own = Object.getOwnPropertyDescriptors(type.prototype);
    return Object.keys(own).filter((name) => name !== 'constructor' && !name.startsWith('_') && typeof own[name].value === 'function');
}

/** The list that is kept, one method in a line. */
export function listedMethods() {
    return readFileSync(new URL('../methods-js.txt', import.meta.url), 'utf8').trim().split('\n');
}

/** The files of an Actor, as a version has them. */
export function sourceFiles(name) {
    const directory = join(actorsDirectory, name);
    const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    return files.map((file) => {
        const path = join(file.parentPath ?? file.path, file.name);
        return { name: path.slice(directory.length + 1), format: 'TEXT', content: readFileSync(path, 'utf8') };
    });
}

/** Makes an Actor of one in the repository, builds it, and returns it. */
export async function givenActor(client, source, name = source) {
    const version = { versionNumber: '0.0', buildTag: 'latest', sourceType: 'SOURCE_FILES', sourceFiles: sourceFiles(source) };
    const actor = await client.actors().create({ name, versions: [version], defaultRunOptions: { build: 'latest', memoryMbytes: 4096, timeoutSecs: 300 } });
    const { id } = await client.actor(actor.id).build('0.0');
    const build = await client.build(id).waitForFinish();
    if (build.status !== 'SUCCEEDED') throw new Error(await client.build(id).log().get());
    return client.actor(actor.id).get();
}
