// What an Actor does to hear of its own end: node add-webhook.mjs URL, with the environment of a run.
import { Actor } from 'apify';

await Actor.addWebhook({ eventTypes: ['ACTOR.RUN.SUCCEEDED', 'ACTOR.RUN.FAILED'], requestUrl: process.argv[2], idempotencyKey: process.env.ACTOR_RUN_ID });
process.exit(0);
