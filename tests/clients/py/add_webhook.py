"""What an Actor does to hear of its own end: add_webhook.py URL, with the environment of a run."""

import asyncio
import sys

from apify import Actor, Webhook


async def main(url: str) -> None:
    async with Actor(exit_process=False):
        await Actor.add_webhook(Webhook(event_types=['ACTOR.RUN.SUCCEEDED'], request_url=url))


asyncio.run(main(sys.argv[1]))
