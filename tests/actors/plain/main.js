// Says, pushes, keeps and waits as its input says. Talks to the API by hand, so that nothing has to be installed.
const api = `${process.env.APIFY_API_BASE_URL}v2`;
const headers = { authorization: `Bearer ${process.env.APIFY_TOKEN}`, 'content-type': 'application/json' };
const store = `${api}/key-value-stores/${process.env.ACTOR_DEFAULT_KEY_VALUE_STORE_ID}/records`;

async function send(method, url, body) {
    const answer = await fetch(url, { method, headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
}

const answer = await fetch(`${store}/${process.env.ACTOR_INPUT_KEY}`, { headers });
const input = answer.ok ? await answer.json() : {};
console.log(input.say);
await send('POST', `${api}/datasets/${process.env.ACTOR_DEFAULT_DATASET_ID}/items`, input.items);
await send('PUT', `${store}/OUTPUT`, { said: input.say, task: process.env.ACTOR_TASK_ID });
if (input.wait) {
    // Only the run itself may charge; the test does so in its name.
    await send('PUT', `${store}/TOKEN`, { token: process.env.APIFY_TOKEN });
    setInterval(() => {}, 1000);
} else {
    process.exitCode = input.exitCode;
}
