// An Actor that is paid per event: its prices, what it charges with the official SDK, and its budget.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { startPlayhouse } from './playhouse.mjs';

const DOCKERFILE = `FROM apify/actor-node:20
COPY package.json ./
RUN npm install --omit=dev --omit=optional --no-audit --no-fund
COPY . ./
CMD ["node", "main.js"]
`;
const PROGRAM = `
import { Actor } from 'apify';
await Actor.init();
const { pages } = await Actor.getInput();
const manager = Actor.getChargingManager();
const prices = manager.getPricingInfo();
const results = [];
for (let page = 0; page < pages; page++) results.push(await Actor.charge({ eventName: 'page' }));
await Actor.pushData([{ n: 1 }, { n: 2 }], 'item');
await Actor.charge({ eventName: 'nothing' });
await Actor.setValue('OUTPUT', { prices, results, counted: manager.getChargedEventCount('page') });
await Actor.exit();
`;
const event = (eventPriceUsd, more = {}) => ({ eventTitle: 'An event', eventDescription: 'What it stands for', eventPriceUsd, ...more });
const pricing = {
    pricingModel: 'PAY_PER_EVENT',
    apifyMarginPercentage: 0,
    minimalMaxTotalChargeUsd: 0.05,
    pricingPerEvent: {
        actorChargeEvents: {
            'apify-actor-start': event(0.01),
            'apify-default-dataset-item': event(0.001),
            page: event(0.1),
            item: { eventTitle: 'Item', eventDescription: 'An item', eventTieredPricingUsd: { FREE: { tieredEventPriceUsd: 0.02 }, GOLD: { tieredEventPriceUsd: 0.01 } } },
        },
    },
};
let client;
let actor;
before(async () => {
    const server = await startPlayhouse();
    client = server.client;
    const files = { Dockerfile: DOCKERFILE, 'main.js': PROGRAM, 'package.json': JSON.stringify({ type: 'module', dependencies: { apify: '^3.7.0' } }) };
    const sourceFiles = Object.entries(files).map(([name, content]) => ({ name, format: 'TEXT', content }));
    actor = await client.actors().create({
        name: 'paid',
        title: 'Paid by the page',
        categories: ['DEVELOPER_TOOLS'],
        isPublic: true,
        versions: [{ versionNumber: '0.0', buildTag: 'latest', sourceType: 'SOURCE_FILES', sourceFiles }],
        defaultRunOptions: { memoryMbytes: 512 },
    });
    await client.actor(actor.id).update({ pricingInfos: [pricing] });
    const { id } = await client.actor(actor.id).build('0.0');
    const build = await client.build(id).waitForFinish();
    assert.equal(build.status, 'SUCCEEDED', await client.log(id).get());
});

test('prices and what was charged are in the run, the events of the server included', async () => {
    const run = await client.actor(actor.id).call({ pages: 2 });

    assert.equal(run.status, 'SUCCEEDED', await client.log(run.id).get());
    assert.deepEqual(run.chargedEventCounts, { 'apify-actor-start': 1, 'apify-default-dataset-item': 2, page: 2, item: 2 });
    assert.equal(run.pricingInfo.pricingModel, 'PAY_PER_EVENT');
    assert.equal(run.pricingInfo.pricingPerEvent.actorChargeEvents.item.eventPriceUsd, 0.02);
    assert.ok(run.usageTotalUsd >= 0.252);
    const { value } = await client.run(run.id).keyValueStore().getRecord('OUTPUT');
    assert.equal(value.prices.isPayPerEvent, true);
    assert.equal(value.prices.perEventPrices.page, 0.1);
    assert.equal(value.counted, 2);
    await assert.rejects(client.run(run.id).charge({ eventName: 'page', count: 1 }), { statusCode: 403 }, 'only the run itself may charge');
});

test('a run that reaches its budget is aborted, and a budget below the least is refused', async () => {
    const run = await client.actor(actor.id).call({ pages: 50 }, { maxTotalChargeUsd: 0.3 });

    assert.equal(run.status, 'ABORTED');
    assert.ok(run.chargedEventCounts.page >= 3 && run.chargedEventCounts.page < 6, JSON.stringify(run.chargedEventCounts));
    assert.equal(run.options.maxTotalChargeUsd, 0.3);
    const start = client.actor(actor.id).start({ pages: 1 }, { maxTotalChargeUsd: 0.01 });
    await assert.rejects(start, { statusCode: 400, type: 'max-total-charge-usd-below-minimum' });
});

test('the store shows the Actor with its price', async () => {
    const { items, total } = await client.store().list({ search: 'paid page', pricingModel: 'PAY_PER_EVENT', category: 'DEVELOPER_TOOLS' });

    assert.equal(total, 1);
    assert.equal(items[0].id, actor.id);
    assert.equal(items[0].currentPricingInfo.pricingModel, 'PAY_PER_EVENT');
    assert.equal(items[0].stats.totalUsers, 1);
    assert.equal((await client.store().list({ pricingModel: 'FREE' })).total, 0);
});
