import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { setTimeout } from 'node:timers/promises';

import { Actor } from 'apify';
import { WebSocketServer } from 'ws';

await Actor.init();

const routes = {
    '/': async (request, response) => json(response, { runId: process.env.ACTOR_RUN_ID, origin: process.env.APIFY_META_ORIGIN }),
    '/headers': async (request, response) => json(response, { url: request.url, headers: request.headers }),
    '/echo': async (request, response) => pipeline(request, response),
    '/count': async (request, response) => {
        const hash = createHash('sha256');
        let bytes = 0;
        for await (const chunk of request) {
            hash.update(chunk);
            bytes += chunk.length;
        }
        json(response, { bytes, sha256: hash.digest('hex') });
    },
    '/hold': async (request, response) => {
        await setTimeout(Number(new URL(request.url, 'http://actor').searchParams.get('ms')));
        json(response, { runId: process.env.ACTOR_RUN_ID });
    },
    '/events': async (request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        for (let number = 0; number < 3; number++) {
            response.write(`data: ${number}\n\n`);
            await setTimeout(200);
        }
        response.end();
    },
    '/crash': async () => process.exit(1),
};

const server = createServer(async (request, response) => {
    if (request.headers['x-apify-container-server-readiness-probe']) return response.end('ready');
    const route = routes[new URL(request.url, 'http://actor').pathname];
    if (!route) return response.writeHead(404).end();
    try {
        await route(request, response);
    } catch (error) {
        // A client that went away.
        response.destroy(error);
    }
});
new WebSocketServer({ server }).on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${data}`)));
server.listen(Number(process.env.ACTOR_STANDBY_PORT), () => console.log(`Listening on ${process.env.ACTOR_WEB_SERVER_PORT}`));

function json(response, value) {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
}
