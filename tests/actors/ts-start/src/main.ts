import { Actor } from 'apify';
import axios from 'axios';
import * as cheerio from 'cheerio';

interface Input {
    url: string;
}

interface Heading {
    level: string;
    text: string;
}

await Actor.init();

const input = await Actor.getInput<Input>();
if (!input) throw new Error('The input names no page: set "url".');

const { data: html } = await axios.get<string>(input.url);
const $ = cheerio.load(html);

const headings: Heading[] = $('h1, h2, h3, h4, h5, h6')
    .toArray()
    .map((heading) => ({ level: heading.tagName.toLowerCase(), text: $(heading).text().trim() }));
console.log(`Found ${headings.length} headings on ${input.url}`);
await Actor.pushData(headings);

await Actor.exit();
