"""Reads the headings of one page."""

from apify import Actor
from bs4 import BeautifulSoup
from httpx import AsyncClient


async def main() -> None:
    """Reads the page that the input names and keeps each of its headings."""
    async with Actor:
        actor_input = await Actor.get_input() or {}
        url = actor_input.get('url')
        if not url:
            raise ValueError('The input names no page: set "url".')

        async with AsyncClient(follow_redirects=True) as client:
            response = await client.get(url)
        soup = BeautifulSoup(response.content, 'lxml')

        headings = [
            {'level': heading.name, 'text': heading.get_text(strip=True)}
            for heading in soup.find_all(['h1', 'h2', 'h3', 'h4', 'h5', 'h6'])
        ]
        Actor.log.info(f'Found {len(headings)} headings on {url}')
        await Actor.push_data(headings)
