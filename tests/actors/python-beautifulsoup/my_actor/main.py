"""Reads the titles of pages and of those they link to, with the request queue in plain sight."""

from urllib.parse import urljoin, urlsplit

from apify import Actor, Request
from bs4 import BeautifulSoup
from httpx import AsyncClient


async def main() -> None:
    """Handles requests one by one until the queue is empty."""
    async with Actor:
        actor_input = await Actor.get_input() or {}
        start_urls = [source['url'] for source in actor_input.get('start_urls', [])]
        max_depth = actor_input.get('max_depth', 1)
        if not start_urls:
            Actor.log.info('The input names no page to start from')
            await Actor.exit()

        queue = await Actor.open_request_queue()
        for url in start_urls:
            await queue.add_request(Request.from_url(url, user_data={'depth': 0}))

        async with AsyncClient(follow_redirects=True) as client:
            while request := await queue.fetch_next_request():
                try:
                    response = await client.get(request.url)
                    soup = BeautifulSoup(response.content, 'lxml')
                    depth = int(request.user_data['depth'])
                    if depth < max_depth:
                        for url in links(request.url, soup):
                            await queue.add_request(Request.from_url(url, user_data={'depth': depth + 1}))
                    title = soup.title.get_text(strip=True) if soup.title else None
                    Actor.log.info(f'Read "{title}" at {request.url}')
                    await Actor.push_data({'url': request.url, 'title': title})
                except Exception:
                    Actor.log.exception(f'Cannot read {request.url}')
                finally:
                    await queue.mark_request_as_handled(request)


def links(base: str, soup: BeautifulSoup) -> list[str]:
    """Lists the addresses that a page links to, without fragments."""
    found = (urljoin(base, anchor['href']).split('#')[0] for anchor in soup.find_all('a', href=True))
    return [url for url in found if urlsplit(url).scheme in ('http', 'https')]
