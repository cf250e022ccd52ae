// Schedules through the official JavaScript client.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { startPlayhouse } from './playhouse.mjs';

let client;
let actor;
before(async () => {
    ({ client } = await startPlayhouse());
    const sourceFiles = [{ name: 'Dockerfile', format: 'TEXT', content: 'FROM node:20\nCMD ["node", "-e", "1"]\n' }];
    const version = { versionNumber: '0.0', buildTag: 'latest', sourceType: 'SOURCE_FILES', sourceFiles };
    const defaultRunOptions = { build: 'latest', memoryMbytes: 128, timeoutSecs: 300 };
    actor = await client.actors().create({ name: 'nothing', versions: [version], defaultRunOptions });
    const build = await client.build((await client.actor(actor.id).build('0.0')).id).waitForFinish();
    assert.equal(build.status, 'SUCCEEDED', build.statusMessage);
});

test('a schedule is created, found, changed, listed and deleted', async () => {
    const task = await client.tasks().create({ actId: actor.id, name: 'my-task' });
    const actions = [
        { type: 'RUN_ACTOR', actorId: actor.id, runInput: { body: '{"a":1}', contentType: 'application/json' }, runOptions: { build: 'latest', timeoutSecs: 60, memoryMbytes: 128 } },
        { type: 'RUN_ACTOR_TASK', actorTaskId: task.id, input: { b: 2 } },
    ];
    const given = { name: 'first', title: 'First', cronExpression: '0 3 * * 1-5', timezone: 'Europe/Prague', isEnabled: true, isExclusive: true, description: 'Text', notifications: { email: true }, actions };

    const schedule = await client.schedules().create(given);
    for (const [field, value] of Object.entries({ ...given, actions: undefined })) {
        if (field !== 'actions') assert.deepEqual(schedule[field], value, field);
    }
    assert.deepEqual(schedule.actions.map(({ id, ...action }) => action), actions);
    assert.ok(schedule.nextRunAt > new Date() && schedule.lastRunAt === null);
    assert.deepEqual(await client.schedule(schedule.id).get(), schedule);
    assert.deepEqual(await client.schedule(schedule.id).getLog(), []);

    const changed = await client.schedule(schedule.id).update({ isEnabled: false, actions: [schedule.actions[1]] });
    assert.deepEqual([changed.isEnabled, changed.nextRunAt, changed.title], [false, null, 'First']);
    assert.deepEqual(changed.actions, [schedule.actions[1]]);

    const second = await client.schedules().create({ name: 'second', cronExpression: '@daily' });
    assert.deepEqual([second.isEnabled, second.timezone, second.actions], [false, 'UTC', []]);
    const listed = await client.schedules().list({ desc: true, limit: 1 });
    assert.deepEqual([listed.total, listed.items[0].name], [2, 'second']);
    const names = [];
    for await (const item of client.schedules().list()) names.push(item.name);
    assert.deepEqual(names, ['first', 'second']);

    await assert.rejects(client.schedules().create({ cronExpression: 'often' }), { statusCode: 400, type: 'cron-expression-invalid' });
    await assert.rejects(client.schedules().create({ name: 'first', cronExpression: '@daily' }), { statusCode: 409, type: 'schedule-name-not-unique' });
    await client.schedule(schedule.id).delete();
    await client.schedule(second.id).delete();
    assert.equal(await client.schedule(schedule.id).get(), undefined);
});

test('a schedule that is due runs its Actor within a second and says so', async () => {
    const schedule = await client.schedules().create({
        name: 'often', cronExpression: '*/10 * * * * *', isEnabled: true, actions: [{ type: 'RUN_ACTOR', actorId: actor.id }],
    });

    let runs;
    do {
        await new Promise((resolve) => setTimeout(resolve, 100));
        runs = await client.actor(actor.id).runs().list();
    } while (runs.total === 0);
    const run = await client.run(runs.items[0].id).waitForFinish();

    assert.equal(run.status, 'SUCCEEDED');
    assert.deepEqual([run.meta.origin, run.meta.scheduleId], ['SCHEDULER', schedule.id]);
    assert.equal(new Date(run.meta.scheduledAt).getTime(), schedule.nextRunAt.getTime());
    assert.ok(run.startedAt - schedule.nextRunAt < 1000, `${run.startedAt.toISOString()}`);
    const after = await client.schedule(schedule.id).get();
    assert.ok(after.lastRunAt >= schedule.nextRunAt && after.nextRunAt > schedule.nextRunAt);
    const log = await client.schedule(schedule.id).getLog();
    assert.deepEqual([log[0].message, log[0].level], ['Schedule invoked', 'INFO']);
    await client.schedule(schedule.id).delete();
});
