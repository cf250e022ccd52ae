// Every format that the official JavaScript client downloads.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { startPlayhouse } from './playhouse.mjs';

const items = [
    { n: 1, text: 'A, "x" <&>\nžluť', geo: { lat: 1.5 }, tags: ['p', 'q'], nul: null, '#hidden': true },
    { n: 2, text: '=1+1', ok: false },
    {},
];

let dataset;
before(async () => {
    const { client } = await startPlayhouse();
    const { id } = await client.datasets().getOrCreate('formats');
    dataset = client.dataset(id);
    await dataset.pushItems(items);
});

test('json', async () => {
    assert.deepEqual(JSON.parse(await dataset.downloadItems('json')), items);
});

test('jsonl', async () => {
    const lines = (await dataset.downloadItems('jsonl')).toString().split('\n');
    assert.equal(lines.pop(), '');
    assert.deepEqual(lines.map((line) => JSON.parse(line)), items);
});

test('csv', async () => {
    const text = (await dataset.downloadItems('csv', { clean: true, delimiter: ';' })).toString();
    assert.equal(
        text,
        '\uFEFF"geo/lat";"n";"nul";"ok";"tags/0";"tags/1";"text"\n1.5;1;;;"p";"q";"A, ""x"" <&>\nžluť"\n;2;;false;;;"=1+1"\n',
    );
});

test('html', async () => {
    const text = (await dataset.downloadItems('html', { fields: ['n', 'text'], limit: 1 })).toString();
    assert.equal(text, '<table><tr><th>n</th><th>text</th></tr><tr><td>1</td><td>A, &quot;x&quot; &lt;&amp;&gt;\nžluť</td></tr></table>');
});

test('xml', async () => {
    const text = (await dataset.downloadItems('xml', { fields: ['tags', 'nul'], limit: 1, xmlRoot: 'all', xmlRow: 'one' })).toString();
    assert.match(text, /^<\?xml [^>]*\?>\s*<all>\s*<one>\s*<tags>p<\/tags>\s*<tags>q<\/tags>\s*<nul\/>\s*<\/one>\s*<\/all>\s*$/);
});

test('rss', async () => {
    const text = (await dataset.downloadItems('rss')).toString();
    assert.match(text, /<rss version="2\.0"/);
    assert.equal(text.match(/<item\b/g).length, items.length);
});

test('xlsx', async () => {
    const bytes = await dataset.downloadItems('xlsx');
    assert.ok(Buffer.isBuffer(bytes));
    assert.equal(bytes.subarray(0, 4).toString('latin1'), 'PK\u0003\u0004');
    assert.ok(bytes.includes('xl/worksheets/sheet1.xml'));
});
