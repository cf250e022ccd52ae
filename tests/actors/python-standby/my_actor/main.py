"""Answers requests while it is on Standby."""

import asyncio
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from apify import Actor


class Handler(BaseHTTPRequestHandler):
    """Greets whoever asks, and echoes what is posted."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
        if 'x-apify-container-server-readiness-probe' in self.headers:
            self.answer(b'ready')
            return
        configuration = Actor.configuration
        self.answer(json.dumps({'runId': configuration.actor_run_id, 'origin': configuration.meta_origin}).encode())

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers['content-length'])))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The server's log is no place for each request."""


async def main() -> None:
    """Serves until the run is stopped."""
    async with Actor:
        with ThreadingHTTPServer(('', Actor.configuration.web_server_port), Handler) as server:
            await asyncio.to_thread(server.serve_forever)
