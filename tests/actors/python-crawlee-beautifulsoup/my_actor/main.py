"""Follows the links of a site with Crawlee."""

from apify import Actor
from crawlee.crawlers import BeautifulSoupCrawler, BeautifulSoupCrawlingContext


async def main() -> None:
    """Crawls from the pages that the input names."""
    async with Actor:
        actor_input = await Actor.get_input() or {}
        start_urls = [source['url'] for source in actor_input.get('start_urls', [])]
        if not start_urls:
            Actor.log.info('The input names no page to start from')
            await Actor.exit()

        crawler = BeautifulSoupCrawler(max_requests_per_crawl=actor_input.get('max_requests_per_crawl', 50))

        @crawler.router.default_handler
        async def handle(context: BeautifulSoupCrawlingContext) -> None:
            soup = context.soup
            title = soup.title.get_text(strip=True) if soup.title else None
            context.log.info(f'Read "{title}" at {context.request.url}')
            headings = [heading.get_text(strip=True) for heading in soup.find_all('h1')]
            await context.push_data({'url': context.request.url, 'title': title, 'h1s': headings})
            await context.enqueue_links()

        await crawler.run(start_urls)
