"""Starts the real binary on throw-away data."""

import json
import os
import pathlib
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get('PLAYHOUSE_BIN', str(ROOT / 'target/debug/playhouse'))


@pytest.fixture(scope='session')
def server():
    """A running server: `url`, `token`, `userId`."""
    with tempfile.TemporaryDirectory(prefix='playhouse-test-') as directory:
        ready = pathlib.Path(directory) / 'ready.json'
        command = [BINARY, 'serve', '--driver', 'process', '--ephemeral', '--listen', '127.0.0.1:0', '--ready-file', str(ready)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            while not ready.exists():
                assert process.poll() is None, f'the server ended with code {process.returncode}'
                assert time.monotonic() < deadline, 'the server did not get ready'
                time.sleep(0.02)
            yield json.loads(ready.read_text())
        finally:
            process.terminate()
            process.wait(600)
