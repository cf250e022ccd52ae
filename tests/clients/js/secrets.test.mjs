// What runs may know: the SDKs read secret inputs in a run, and limited permissions keep a run to what is its own.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { startPlayhouse } from './playhouse.mjs';

const SCHEMA = {
    title: 'Input',
    type: 'object',
    schemaVersion: 1,
    properties: {
        user: { title: 'User', description: 'Who logs in', type: 'string', editor: 'textfield' },
        password: { title: 'Password', description: 'With what', type: 'string', editor: 'textfield', isSecret: true },
        cookies: { title: 'Cookies', description: 'Or with these', type: 'array', editor: 'json', isSecret: true },
    },
};
const INPUT = { user: 'ada', password: 'hunter2-ünlocks', cookies: [{ name: 'session', value: 's3ss10n' }] };

const programs = {
    'secrets-js': {
        Dockerfile: 'FROM apify/actor-node:24\nCOPY main.mjs ./\nCMD ["node", "main.mjs"]\n',
        'main.mjs': `import { Actor } from 'apify';
            await Actor.init();
            const input = await Actor.getInput();
            console.log('The password is', input.password, 'and the cookie', input.cookies[0].value);
            await Actor.pushData({ input, stored: await Actor.getValue('INPUT') });
            await Actor.exit();`,
    },
    'secrets-python': {
        Dockerfile: 'FROM apify/actor-python:3.13\nCOPY main.py ./\nCMD ["python3", "main.py"]\n',
        'main.py': [
            'import asyncio',
            'from apify import Actor',
            'async def main():',
            '    async with Actor:',
            '        input = await Actor.get_input()',
            '        print("The password is", input["password"], "and the cookie", input["cookies"][0]["value"], flush=True)',
            '        await Actor.push_data({"input": input, "stored": await Actor.get_value("INPUT")})',
            'asyncio.run(main())',
        ].join('\n'),
    },
};

let server;
before(async () => {
    server = await startPlayhouse();
});

for (const [name, files] of Object.entries(programs)) {
    test(`${name} reads in the clear what is stored encrypted`, async () => {
        const actor = await given(name, files);

        const run = await server.client.actor(actor).call(INPUT, { log: null });

        const log = await server.client.run(run.id).log().get();
        assert.equal(run.status, 'SUCCEEDED', log);
        const { items } = await server.client.run(run.id).dataset().listItems();
        assert.deepEqual(items[0].input, INPUT);
        const { value: stored } = await server.client.run(run.id).keyValueStore().getRecord('INPUT');
        assert.deepEqual(items[0].stored, stored);
        assert.equal(stored.user, 'ada');
        assert.match(stored.password, /^ENCRYPTED_VALUE:[A-Za-z0-9+/]{342}==:[A-Za-z0-9+/]+={0,2}$/);
        assert.match(stored.cookies, /^ENCRYPTED_JSON:[0-9a-f]{10}:[A-Za-z0-9+/]{342}==:[A-Za-z0-9+/]+={0,2}$/);
        assert.match(log, /The password is/);
        for (const secret of [INPUT.password, INPUT.cookies[0].value]) assert.ok(!log.includes(secret), log);

        // The same Actor takes what is encrypted already.
        const again = await server.client.actor(actor).call(stored, { log: null });
        const { items: [{ input }] } = await server.client.run(again.id).dataset().listItems();
        assert.deepEqual(input, INPUT);
    });
}

test('a run with limited permissions calls another Actor, keeps a storage, and reads nothing else', async () => {
    const dockerfile = 'FROM apify/actor-node:24\nCOPY main.mjs ./\nCMD ["node", "main.mjs"]\n';
    const program = (body) => `import { Actor } from 'apify'; await Actor.init(); ${body} await Actor.exit();`;
    await given('callee', { Dockerfile: dockerfile, 'main.mjs': program('await Actor.pushData({ answer: 42 });') }, {});
    const caller = await given('caller', {
        Dockerfile: dockerfile,
        'main.mjs': program(`
            const { privateId } = await Actor.getInput();
            const run = await Actor.call('playhouse/callee');
            const { items } = await Actor.apifyClient.dataset(run.defaultDatasetId).listItems();
            const cache = await Actor.openDataset('cache-of-caller');
            await cache.pushData({ at: run.id });
            const refused = await Actor.apifyClient.dataset(privateId).listItems().then(() => null, (error) => error.type);
            await Actor.pushData({ items, cached: (await cache.getData()).items.length, refused });`),
    }, {});
    const mine = await server.client.datasets().getOrCreate('mine');

    for (const cached of [1, 2]) {
        const run = await server.client.actor(caller).call({ privateId: mine.id }, { log: null });

        assert.equal(run.status, 'SUCCEEDED', await server.client.run(run.id).log().get());
        const { items } = await server.client.run(run.id).dataset().listItems();
        assert.deepEqual(items, [{ items: [{ answer: 42 }], cached, refused: 'insufficient-permissions' }]);
    }
});

async function given(name, files, input = SCHEMA) {
    const definition = { actorSpecification: 1, name, version: '0.0', ...(input.type && { input }) };
    const sources = { '.actor/actor.json': JSON.stringify(definition), ...files };
    const sourceFiles = Object.entries(sources).map(([path, content]) => ({ name: path, format: 'TEXT', content }));
    const { id } = await server.client.actors().create({
        name,
        versions: [{ versionNumber: '0.0', buildTag: 'latest', sourceType: 'SOURCE_FILES', sourceFiles }],
    });
    const { id: buildId } = await server.client.actor(id).build('0.0');
    const build = await server.client.build(buildId).waitForFinish();
    assert.equal(build.status, 'SUCCEEDED', await server.client.build(buildId).log().get());
    return id;
}
