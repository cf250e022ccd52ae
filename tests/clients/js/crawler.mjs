// One Crawlee crawler on a queue and a dataset of the server, as a program of its own.
// node crawler.mjs QUEUE DATASET START_URL
import { Actor, log } from 'apify';
import { CheerioCrawler } from 'crawlee';

const [queueName, datasetName, startUrl] = process.argv.slice(2);
log.setLevel(log.LEVELS.ERROR);
await Actor.init();
const requestQueue = await Actor.openRequestQueue(queueName, { forceCloud: true });
const dataset = await Actor.openDataset(datasetName, { forceCloud: true });
const crawler = new CheerioCrawler({
    requestQueue,
    maxRequestRetries: 3,
    maxConcurrency: 10,
    useSessionPool: false,
    sameDomainDelaySecs: 0,
    async requestHandler({ request, $, enqueueLinks }) {
        await dataset.pushData({ url: request.url, title: $('title').text(), retries: request.retryCount });
        await enqueueLinks();
    },
    async failedRequestHandler({ request }) {
        await dataset.pushData({ url: request.url, failed: true, errors: request.errorMessages.length });
    },
});
await crawler.addRequests([startUrl]);
const { requestsFinished, requestsFailed } = await crawler.run();
console.log(JSON.stringify({ requestsFinished, requestsFailed }));
await Actor.exit({ exit: false });
process.exit(0);
