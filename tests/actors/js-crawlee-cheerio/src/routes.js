import { createCheerioRouter } from '@crawlee/cheerio';

export const router = createCheerioRouter();

router.addDefaultHandler(async ({ $, request, enqueueLinks, pushData, log }) => {
    const title = $('title').text().trim();
    log.info(`Read "${title}"`, { url: request.loadedUrl });
    await pushData({ url: request.loadedUrl, title });
    await enqueueLinks();
});
