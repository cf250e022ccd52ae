import { Actor } from 'apify';
import axios from 'axios';
import * as cheerio from 'cheerio';

await Actor.init();

const { url } = (await Actor.getInput()) ?? {};
if (!url) throw new Error('The input names no page: set "url".');

const { data: html } = await axios.get(url);
const $ = cheerio.load(html);

const headings = $('h1, h2, h3, h4, h5, h6')
    .toArray()
    .map((heading) => ({ level: heading.tagName.toLowerCase(), text: $(heading).text().trim() }));
console.log(`Found ${headings.length} headings on ${url}`);
await Actor.pushData(headings);

await Actor.exit();
