import { CheerioCrawler } from '@crawlee/cheerio';
import { Actor } from 'apify';

import { router } from './routes.js';

await Actor.init();

const { startUrls = [], maxRequestsPerCrawl = 100 } = (await Actor.getInput()) ?? {};
const proxyConfiguration = await Actor.createProxyConfiguration();

const crawler = new CheerioCrawler({
    proxyConfiguration,
    // Crawlee takes a missing limit for none.
    maxRequestsPerCrawl: maxRequestsPerCrawl || undefined,
    requestHandler: router,
});
await crawler.run(startUrls);

await Actor.exit();
