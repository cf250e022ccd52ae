"""Whatever a client sends, it gets a refusal that tells why, and the server lives on with what it had.

Everything is sent over bare sockets, since no client library would let such requests pass. What is picked by chance is
picked by a fixed seed.
"""

import concurrent.futures
import gzip
import json
import pathlib
import random
import re
import socket
import struct
import time
import urllib.parse
import zlib

import pytest

SEED = 20260831
PATIENCE = 5
BODY_LIMIT = 9_437_184
METHODS = ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH')
REFUSALS = {400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 416}
FORM_OF_A_TYPE = re.compile(r'[a-z0-9]+(-[a-z0-9]+)+')

PAGE = ('offset', 'limit', 'desc')
START = ('build', 'timeout', 'memory', 'maxItems', 'maxTotalChargeUsd', 'restartOnError', 'webhooks', 'forcePermissionLevel')
ITEMS = (
    *PAGE, 'format', 'clean', 'fields', 'omit', 'outputFields', 'unwind', 'flatten', 'view', 'bom', 'delimiter', 'skipEmpty',
    'skipHidden', 'skipHeaderRow', 'skipFailedPages', 'simplified', 'attachment', 'xmlRoot', 'xmlRow', 'feedTitle',
    'feedDescription', 'signature',
)  # fmt: skip
LAST = ('status', 'origin')
LOG = ('stream', 'raw', 'download')

DATASET = (
    ('', 'GET PUT DELETE', ()),
    ('/items', 'GET POST', ITEMS),
    ('/statistics', 'GET', ()),
)
STORE = (
    ('', 'GET PUT DELETE', ()),
    ('/keys', 'GET', ('limit', 'exclusiveStartKey', 'prefix', 'collection', 'signature')),
    ('/records', 'GET', ('prefix', 'collection', 'signature')),
    ('/records/{key}', 'GET PUT POST DELETE', ('attachment', 'signature')),
)
QUEUE = (
    ('', 'GET PUT DELETE', ()),
    ('/head', 'GET', ('limit', 'clientKey')),
    ('/head/lock', 'POST', ('limit', 'lockSecs', 'clientKey')),
    ('/requests', 'GET POST', ('limit', 'exclusiveStartId', 'cursor', 'filter', 'clientKey', 'forefront')),
    ('/requests/batch', 'POST DELETE', ('clientKey', 'forefront')),
    ('/requests/unlock', 'POST', ('clientKey',)),
    ('/requests/{request}', 'GET PUT DELETE', ('clientKey', 'forefront')),
    ('/requests/{request}/lock', 'PUT DELETE', ('lockSecs', 'clientKey', 'forefront')),
)
STORAGES = (('dataset', DATASET), ('key-value-store', STORE), ('request-queue', QUEUE))


def routes():
    """Every path with its methods and the parameters of its query."""
    yield '/v2/actors', 'GET POST', ('my', 'sortBy', *PAGE)
    actor = '/v2/actors/{actor}'
    yield actor, 'GET PUT DELETE', ()
    yield f'{actor}/versions', 'GET POST', ()
    yield f'{actor}/versions/{{version}}', 'GET PUT POST DELETE', ()
    yield f'{actor}/versions/{{version}}/env-vars', 'GET POST', ()
    yield f'{actor}/versions/{{version}}/env-vars/{{variable}}', 'GET PUT POST DELETE', ()
    yield f'{actor}/builds', 'GET POST', ('version', 'tag', 'useCache', 'betaPackages', 'waitForFinish', *PAGE)
    yield f'{actor}/validate-input', 'POST', ('build',)
    yield f'{actor}/runs', 'GET POST', (*START, 'waitForFinish', 'status', 'startedAfter', 'startedBefore', *PAGE)
    yield f'{actor}/run-sync', 'GET POST', (*START, 'outputRecordKey')
    yield f'{actor}/run-sync-get-dataset-items', 'GET POST', (*START, *ITEMS)

    for build in ('/v2/actor-builds/{build}', f'{actor}/builds/{{build}}'):
        yield build, 'GET DELETE', ('waitForFinish',)
        yield f'{build}/abort', 'POST', ()
        yield f'{build}/log', 'GET', LOG
        yield f'{build}/openapi.json', 'GET', ()
    yield f'{actor}/builds/default', 'GET', ('waitForFinish',)
    yield '/v2/actor-builds', 'GET', PAGE

    yield '/v2/actor-runs', 'GET', ('status', 'startedAfter', 'startedBefore', *PAGE)
    yield '/v2/actor-runs/{run}', 'GET PUT DELETE', ('waitForFinish',)
    yield '/v2/actor-runs/{run}/charge', 'POST', ()
    yield f'{actor}/runs/{{run}}', 'GET', ('waitForFinish',)
    yield f'{actor}/runs/last', 'GET', (*LAST, 'waitForFinish')
    for run, more in (('/v2/actor-runs/{run}', ()), (f'{actor}/runs/{{run}}', ()), (f'{actor}/runs/last', LAST)):
        yield f'{run}/abort', 'POST', ('gracefully', *more)
        yield f'{run}/metamorph', 'POST', ('targetActorId', 'build', *more)
        yield f'{run}/reboot', 'POST', more
        if not more:
            yield f'{run}/resurrect', 'POST', ('build', 'timeout', 'memory', 'maxItems', 'maxTotalChargeUsd', 'restartOnError')
        yield f'{run}/log', 'GET', (*LOG, *more)

    for kind, endpoints in STORAGES:
        yield f'/v2/{kind}s', 'GET POST', ('unnamed', 'ownership', 'name', *PAGE)
        prefixes = (f'/v2/{kind}s/{{{kind}}}', f'/v2/actor-runs/{{run}}/{kind}', f'{actor}/runs/last/{kind}')
        for prefix in prefixes:
            for path, methods, query in endpoints:
                yield prefix + path, methods, (*query, *LAST) if '/last/' in prefix else query

    yield '/v2/logs/{run}', 'GET', LOG
    yield '/v2/users/{user}', 'GET', ()
    yield '/v2/users/me', 'GET', ()
    yield '/v2/users/me/usage/monthly', 'GET', ('date',)
    yield '/v2/users/me/limits', 'GET PUT', ()
    yield '/v2/store', 'GET', ('search', 'sortBy', 'category', 'username', 'pricingModel', 'responseFormat', 'offset', 'limit')
    yield '/v2/browser-info', 'GET POST PUT DELETE', ('skipHeaders', 'rawHeaders')
    yield '/v2/tools/encode-and-sign', 'POST', ()
    yield '/v2/tools/decode-and-verify', 'POST', ()


ROUTES = [(path, tuple(methods.split()), query) for path, methods, query in routes()]
WRITES = [(path, method) for path, methods, _ in ROUTES for method in methods if method in ('POST', 'PUT')]
# Of these every body has a meaning.
TAKES_ANYTHING = re.compile(r'/records/|/browser-info$')
# Here the body is the input of a run, and any type will do.
TAKES_INPUT = re.compile(r'/(runs|run-sync|run-sync-get-dataset-items|metamorph)$')
# These look at no body at all.
TAKES_NONE = re.compile(r'/(abort|reboot|resurrect|lock|unlock|builds)$')

BAD_IDS = (
    '', '%20', 'x' * 300, 'x', 'X' * 17, '%C5%BElu%C5%A5', '%F0%9F%92%A9', '%00', 'a%00b', '%2F', 'a%2Fb', '%2E%2E', '..',
    '.', '~', '~x', 'nobody~x', 'X' * 17 + '~x', '~~', '~%00', 'a~b~c', '%ff', '%', '%zz', '%25', '-', '*', ';', ':', '@', '{actor}',
    '99999999999999999999', "'%20OR%201=1--", '0.1.1.1', '-1.0', 'null', 'undefined',
)  # fmt: skip
BAD_VALUES = (
    '-1', '-0', 'NaN', 'Infinity', '-Infinity', '1e400', '1e-400', '1.5', '0x10', '', '%00', '%ff', '%', '9' * 400, 'x' * 3000,
    '18446744073709551616', '-9223372036854775809', '[]', '%5B1%5D', '{}', 'null', 'true', ',', ',,,,', 'a' + ',a' * 500, '..',
    '%F0%9F%92%A9', '%0D%0AX-Injected:%201', '1%201', '2026-02-30', '+010000-01-01T00:00:00Z', '-271821-04-20T00:00:00Z', 'e30', '%22',
    'a/b/c', '__proto__',
)  # fmt: skip

DEPTH = 100_000
# None of these is JSON.
NOT_JSON = {
    'words': b'this is not JSON',
    'truncated object': b'{"a":1',
    'truncated text': b'{"name":"a',
    'truncated escape': b'{"name":"\\u12',
    'invalid UTF-8': b'{"name":"\xff\xfe","url":"\xc0\xaf","uniqueKey":"\xed\xa0\x80"}',
    'NaN': b'{"a":NaN,"url":NaN}',
    'two values': b'{} {}',
    'a trailing comma': b'{"a":1,}',
    'a byte order mark alone': b'\xef\xbb\xbf',
    'zero bytes': b'\0' * 64,
    'open arrays': b'[' * DEPTH,
    'open objects': b'{"a":' * DEPTH,
    'UTF-16': '{"a":1}'.encode('utf-16'),
    'a form': b'a=1&b=2',
}
# These are, but hardly what anybody waits for.
ODD_JSON = {
    'deep arrays': b'[' * DEPTH + b']' * DEPTH,
    'deep objects': b'{"a":' * DEPTH + b'1' + b'}' * DEPTH,
    'deep input': b'{"input":' + b'[' * DEPTH + b']' * DEPTH + b'}',
    'a text': b'"text"',
    'a number': b'5',
    'a large number': b'1e400',
    'null': b'null',
    'true': b'true',
    'an array': b'[]',
    'an array of nulls': b'[null,null]',
    'an array of arrays': b'[[],[]]',
    'duplicate keys': b'{"name":1,"name":"twice","name":null}',
    'lone surrogates': b'{"name":"\\ud800","url":"\\udfff","uniqueKey":"\\ud800","versionNumber":"\\ud800"}',
    'numbers everywhere': b'{"name":1,"title":1,"url":1,"uniqueKey":1,"versions":1,"versionNumber":1,"value":1,"schema":1,"generalAccess":1}',
    'objects everywhere': b'{"name":{},"title":{},"url":{},"uniqueKey":{},"versions":{},"versionNumber":{},"value":{},"encoded":{}}',
    'a long name': b'{"name":"' + b'a' * 100_000 + b'"}',
    'zeros in a name': b'{"name":"a\\u0000b","versionNumber":"\\u0000","value":"\\u0000"}',
}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def error(self):
        return json.loads(self.body)['error']

    @property
    def data(self):
        return json.loads(self.body)['data']


class Connection:
    """A bare connection on which an answer must come in time."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b''

    def close(self):
        self.socket.close()

    def send(self, data):
        """Sends, but listens when the server has said its last word."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def more(self):
        data = self.socket.recv(1 << 18)
        self.buffer += data
        return bool(data)

    def until(self, mark):
        while mark not in self.buffer:
            assert self.more(), f'the connection ended with {self.buffer[:200]!r}'
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def take(self, length):
        pieces, have = [self.buffer], len(self.buffer)
        while have < length:
            data = self.socket.recv(1 << 18)
            assert data, 'the connection ended within a body'
            pieces.append(data)
            have += len(data)
        whole = b''.join(pieces)
        self.buffer = whole[length:]
        return whole[:length]

    def answer(self, method='GET'):
        self.socket.settimeout(PATIENCE)
        lines = self.until(b'\r\n\r\n').decode('latin-1').split('\r\n')
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            name, value = line.split(':', 1)
            headers[name.lower()] = value.strip()
        if method == 'HEAD' or status in (204, 304) or status < 200:
            return Answer(status, headers, b'')
        if headers.get('transfer-encoding') == 'chunked':
            body = b''
            while size := int(self.until(b'\r\n'), 16):
                body += self.take(size)
                assert self.take(2) == b'\r\n'
            self.until(b'\r\n')
        elif 'content-length' in headers:
            body = self.take(int(headers['content-length']))
        else:
            while self.more():
                pass
            body, self.buffer = self.buffer, b''
        return Answer(status, headers, body)

    def is_over(self):
        """Whether the server has hung up."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            pass
        return True


class Sender:
    """Sends what it is told to and looks at every answer."""

    def __init__(self, server):
        url = urllib.parse.urlsplit(server['url'])
        self.address, self.host, self.token, self.pid = (url.hostname, url.port), url.netloc, server['token'], server['pid']
        self.connection = None

    def head(self, method, target, headers=(), token=True, version='1.1'):
        lines = [f'{method} {target} HTTP/{version}', f'Host: {self.host}']
        if token:
            lines.append(f'Authorization: Bearer {self.token}')
        lines += [f'{name}: {value}' for name, value in headers]
        return ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1')

    def send(self, method, target, body=None, headers=(), token=True):
        """One request on a connection that is kept; a target is sent as it is."""
        if body is not None:
            headers = [*headers, ('Content-Length', len(body))]
        data = self.head(method, target, headers, token) + (body or b'')
        if self.connection is None:
            self.connection = Connection(self.address)
        what = f'{method} {target[:300]} {list(headers)} {(body or b"")[:100]!r}'
        try:
            self.connection.send(data)
            answer = self.connection.answer(method)
        except TimeoutError:
            self.drop()
            raise AssertionError(f'no answer within {PATIENCE} s: {what}') from None
        except AssertionError as error:
            self.drop()
            raise AssertionError(f'{error}: {what}') from None
        if answer.headers.get('connection') == 'close':
            self.drop()
        check(answer, method, what)
        return answer

    def drop(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def json(self, method, target, value=None, status=(200, 201)):
        body = None if value is None else json.dumps(value).encode()
        answer = self.send(method, target, body, [('Content-Type', 'application/json')])
        assert answer.status in status, (method, target, answer.status, answer.body)
        return answer.data if answer.body.startswith(b'{"data"') else None

    def memory(self):
        """Resident memory in bytes."""
        status = pathlib.Path(f'/proc/{self.pid}/status').read_text()
        return int(re.search(r'VmRSS:\s+(\d+)', status)[1]) << 10


def check(answer, method, what):
    """An answer below 500, and if it is a refusal, one in the form of the contract."""
    assert 200 <= answer.status < 500, (what, answer.status, answer.body[:500])
    if answer.status < 400:
        return
    assert answer.status in REFUSALS, (what, answer.status)
    assert answer.headers['content-type'].startswith('application/json'), (what, answer.headers)
    if method != 'HEAD':
        body = json.loads(answer.body)
        assert list(body) == ['error'], (what, answer.body)
        error = body['error']
        assert set(error) - {'data'} == {'type', 'message'}, (what, answer.body)
        assert FORM_OF_A_TYPE.fullmatch(error['type']), (what, error)
        assert error['message'] and len(error['message']) < 8 << 10, (what, error['type'], len(error['message']))
        assert not re.search(r'panick|unwrap|src/|\.rs\b|RUST', error['message']), (what, error)
        assert (answer.status == 405) == error['type'].startswith(('method-not-allowed', 'cannot-charge-apify')), (what, error)


class World(Sender):
    """A server with something in it that hostile requests could harm."""

    def __init__(self, server):
        super().__init__(server)
        actor = self.json('POST', '/v2/actors', {
            'name': 'hostile-target',
            'versions': [{
                'versionNumber': '0.1', 'buildTag': 'ready', 'sourceType': 'SOURCE_FILES',
                'sourceFiles': [{'name': 'Dockerfile', 'format': 'TEXT', 'content': 'FROM python:3\nCMD ["python3", "-c", "pass"]\n'}],
                'envVars': [{'name': 'VARIABLE', 'value': 'value'}],
            }],
        })  # fmt: skip
        build = self.json('POST', f'/v2/actors/{actor["id"]}/builds?version=0.1')
        build = self.wait(f'/v2/actor-builds/{build["id"]}')
        assert build['status'] == 'SUCCEEDED', build
        run = self.json('POST', f'/v2/actors/{actor["id"]}/runs?build=ready')
        self.wait(f'/v2/actor-runs/{run["id"]}')
        dataset = self.json('POST', '/v2/datasets?name=hostile')
        store = self.json('POST', '/v2/key-value-stores?name=hostile')
        queue = self.json('POST', '/v2/request-queues?name=hostile')
        self.json('POST', f'/v2/datasets/{dataset["id"]}/items', [{'a': n, 'b': {'c': [n, 'é']}} for n in range(3)])
        self.json('PUT', f'/v2/key-value-stores/{store["id"]}/records/key', {'a': 1})
        for number in range(3):
            url = f'http://example.com/{number}'
            added = self.json('POST', f'/v2/request-queues/{queue["id"]}/requests', {'url': url, 'uniqueKey': url})
        self.ids = {
            'actor': actor['id'], 'version': '0.1', 'variable': 'VARIABLE', 'build': build['id'], 'run': run['id'],
            'dataset': dataset['id'], 'key-value-store': store['id'], 'key': 'key', 'request-queue': queue['id'],
            'request': added['requestId'], 'user': server['userId'],
        }  # fmt: skip

    def wait(self, path):
        while True:
            job = self.json('GET', f'{path}?waitForFinish=4')
            if job['status'] not in ('READY', 'RUNNING', 'ABORTING', 'TIMING-OUT'):
                return job

    def path(self, path, **others):
        return path.format(**{**self.ids, **others})

    def state(self):
        """All that a write could change."""
        ids = self.ids
        totals = [
            self.json('GET', f'/v2/{kind}?limit=1&unnamed=1')['total']
            for kind in ('datasets', 'key-value-stores', 'request-queues', 'actors', 'actor-runs', 'actor-builds')
        ]
        actor = self.json('GET', f'/v2/actors/{ids["actor"]}')
        run = self.json('GET', f'/v2/actor-runs/{ids["run"]}')
        objects = [actor, run]
        for kind in ('dataset', 'key-value-store', 'request-queue'):
            for path in (f'/v2/{kind}s/{ids[kind]}', f'/v2/actor-runs/{ids["run"]}/{kind}'):
                found = self.json('GET', path)
                # Reading leaves its traces in these, and should.
                traces = ('accessedAt', 'stats', 'hadMultipleClients')
                shown = {name: value for name, value in found.items() if name not in traces}
                # Signed addresses are new every time.
                objects.append({name: value for name, value in shown.items() if not name.endswith('PublicUrl')})
        keys = self.json('GET', f'/v2/key-value-stores/{ids["key-value-store"]}/keys')
        return totals, objects, [(item['key'], item['size']) for item in keys['items']]

    def is_still(self, before):
        """Asserts that nothing has changed since."""
        for was, now in zip(before, self.state(), strict=True):
            for one, other in zip(was, now, strict=True):
                assert one == other


@pytest.fixture(scope='module')
def world(server):
    world = World(server)
    yield world
    world.drop()


@pytest.fixture
def chance():
    return random.Random(SEED)


def names_in(path):
    return re.findall(r'{([a-z-]+)}', path)


def test_no_id_of_any_form_is_mistaken_for_another(world, chance):
    before = world.state()
    for path, methods, _ in ROUTES:
        for name in names_in(path):
            for bad in chance.sample(BAD_IDS, 12):
                target = world.path(path, **{name: bad})
                for method in METHODS:
                    # A slash at the end means nothing to POST: this is the collection, and creates.
                    is_collection = method == 'POST' and target.endswith('/')
                    if is_collection or (method in ('POST', 'PUT', 'DELETE') and is_legal(name, bad)):
                        continue
                    body = b'{}' if method in ('POST', 'PUT') else None
                    answer = world.send(method, target, body)
                    if method == 'OPTIONS':
                        assert answer.status == 204, target
                    # What is read may be something else that exists: `/records/` is the ZIP. Changes never are.
                    if method in ('PUT', 'DELETE'):
                        assert answer.status >= 400, (method, target, answer.status, answer.body)
    world.is_still(before)


def is_legal(name, text):
    """Whether a name chosen to be bad is good enough for a record, a variable, or `browser-info`."""
    text = urllib.parse.unquote(text)
    return (name == 'key' and re.fullmatch(r"[\w!\-.'()]{1,256}", text, re.ASCII) and text not in ('.', '..')) or (
        name == 'variable' and text not in ('', '.', '..')
    )


def test_every_parameter_withstands_every_value(world, chance):
    """Writes go to things that do not exist, so that none of them has an effect."""
    nobody = {name: 'X' * 17 for name in world.ids} | {'key': '%00'}
    before = world.state()
    for path, methods, query in ROUTES:
        for method in methods:
            is_read = method == 'GET' and '/run-sync' not in path
            # A collection that creates, too, is asked for names that nothing can have.
            if not is_read and not names_in(path) and not path.endswith('s/me/limits'):
                continue
            target = world.path(path, **({} if is_read else nobody))
            for name in query:
                for value in chance.sample(BAD_VALUES, 9):
                    answer = world.send(method, f'{target}?{name}={value}', b'' if method != 'GET' else None)
                    assert 'x-injected' not in answer.headers, (path, name)
                one, other = chance.sample(BAD_VALUES, 2)
                world.send(method, f'{target}?{name}={one}&{name}={other}&{name}', b'' if method != 'GET' else None)
                world.send(method, f'{target}?{name}[]={one}&{name}%5B0%5D={other}&&=&=1&?&{name}%00=1')
            everything = '&'.join(f'{name}={chance.choice(BAD_VALUES[:30])}' for name in query)
            world.send(method, f'{target}?{everything}', b'' if method != 'GET' else None)
    world.is_still(before)


def test_parameters_that_mean_nothing_are_refused(world):
    for path, methods, query in ROUTES:
        target = world.path(path)
        if 'GET' not in methods or '/run-sync' in path or '/store' == path[3:]:
            continue
        for name in set(query) & {'offset', 'limit', 'desc', 'startedAfter', 'startedBefore', 'clean', 'stream', 'status', 'origin'}:
            answer = world.send('GET', f'{target}?{name}=NaN')
            # An Actor without runs of that kind is not asked for its parameters only if it is not found.
            assert (answer.status, answer.error['type']) == (400, 'invalid-request'), (path, name, answer.body)
        for name in set(query) & {'offset', 'limit'}:
            for value in ('-1', '1.5', '-0.5', 'ten', 'Infinity'):
                assert world.send('GET', f'{target}?{name}={value}').status == 400, (path, name, value)


def test_bodies_that_are_no_json_are_refused_and_change_nothing(world):
    before = world.state()
    for path, method in WRITES:
        if TAKES_ANYTHING.search(path) or TAKES_INPUT.search(path) or TAKES_NONE.search(path):
            continue
        for name, body in NOT_JSON.items():
            for kind in ('application/json', 'text/plain', 'application/json; charset=utf-16', '\xff/;=', None):
                headers = [('Content-Type', kind)] if kind else []
                answer = world.send(method, world.path(path), body, headers)
                assert 400 <= answer.status < 500, (method, path, name, kind, answer.status, answer.body[:300])
                if kind != 'application/json' and name != 'words':
                    break
    world.is_still(before)


def test_odd_bodies_are_answered(world):
    """Some of them may mean something; then they may be taken."""
    nobody = {name: 'X' * 17 for name in world.ids}
    for path, method in WRITES:
        for name, body in (NOT_JSON | ODD_JSON).items():
            world.send(method, world.path(path, **nobody), body, [('Content-Type', 'application/json')])
    before = world.state()
    for path, method in WRITES:
        if TAKES_ANYTHING.search(path) or TAKES_INPUT.search(path) or TAKES_NONE.search(path):
            continue
        for name, body in ODD_JSON.items():
            answer = world.send(method, world.path(path), body, [('Content-Type', 'application/json')])
            if answer.status >= 400 and method != 'PUT':
                continue
            # What was taken may have changed something; that must have been for a reason.
            is_object = body.startswith(b'{')
            assert is_object or '/items' in path or method == 'PUT' or name == 'null', (method, path, name, answer.status)
            before = None
    if before is not None:
        world.is_still(before)


def test_lying_encodings_are_refused_and_change_nothing(world):
    good = json.dumps([{'a': 'b' * 2000}]).encode()
    encoded = gzip.compress(good)
    before = world.state()
    for path, method in WRITES:
        if TAKES_NONE.search(path):
            continue
        target, takes_anything = world.path(path), TAKES_ANYTHING.search(path)
        for coding in ('zstd', 'compress', 'bla', 'gzip, br', 'br,gzip', 'identity, gzip', '*', 'gzip;q=1', 'x-gzip', '\xff'):
            answer = world.send(method, target, encoded, [('Content-Encoding', coding)])
            if path.endswith('browser-info') or '/runs/{run}' in path or path.endswith(('/charge', '/metamorph')):
                continue
            assert answer.status == 415, (method, path, coding, answer.status, answer.body)
            assert answer.error['type'] == 'unsupported-content-encoding'
            if coding.isascii():
                assert answer.error['message'] == f'Content-Encoding "{coding}" is not supported.'
        if takes_anything:
            continue
        for coding, body in (
            ('gzip', good), ('br', good), ('deflate', good), ('gzip', encoded[:-9]), ('gzip', encoded[:12]), ('gzip', encoded[:1]),
            ('gzip', encoded[:40] + b'\0\0\0\0' + encoded[44:]), ('deflate', zlib.compress(good)[:-5]), ('br', b'\0' * 50),
            ('GZIP', encoded + b'rest'), ('deflate', encoded), ('br', encoded), ('identity', encoded),
        ):  # fmt: skip
            answer = world.send(method, target, body, [('Content-Encoding', coding), ('Content-Type', 'application/json')])
            assert 400 <= answer.status < 500, (method, path, coding, body[:20], answer.status, answer.body)
    world.is_still(before)


def bombs():
    """A gigabyte of zeros, in the space of a megabyte."""
    zeros = bytes(16 << 20)
    yield 'gzip', gzip.compress(zeros) * 64
    packer = zlib.compressobj(9)
    start = packer.compress(b'[') + packer.flush(zlib.Z_FULL_FLUSH)
    yield 'deflate', start + (packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)) * 64
    try:
        import brotli
    except ImportError:
        return
    packer = brotli.Compressor(quality=1)
    block = packer.process(zeros) + packer.flush()
    yield 'br', block + b''.join(packer.process(zeros) + packer.flush() for _ in range(63)) + packer.finish()


def test_bombs_are_refused_before_they_go_off(world):
    before, memory = world.state(), world.memory()
    targets = ['/v2/actors', '/v2/datasets/{dataset}/items', '/v2/request-queues/{request-queue}/requests/batch', '/v2/tools/encode-and-sign']
    for coding, bomb in bombs():

        def drop(target):
            sender = Sender({'url': f'http://{world.host}', 'token': world.token, 'pid': world.pid})
            try:
                return sender.send('POST', world.path(target), bomb, [('Content-Encoding', coding)])
            finally:
                sender.drop()

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for answer in pool.map(drop, targets):
                assert (answer.status, answer.error['type']) == (413, 'request-too-large'), (coding, answer.body)
    world.is_still(before)
    assert world.memory() - memory < 64 << 20


def test_a_body_over_the_limit_is_refused_in_the_words_of_the_contract(world):
    before = world.state()
    body = b'[' + b' ' * 10_485_758 + b']'
    for path in ('/v2/datasets/{dataset}/items', '/v2/request-queues/{request-queue}/requests', '/v2/actors', '/v2/actors/{actor}/runs'):
        for sent, headers in ((body, ()), (gzip.compress(body, 1), [('Content-Encoding', 'gzip')])):
            answer = world.send('POST', world.path(path), sent, headers)
            assert (answer.status, answer.error['type']) == (413, 'request-too-large')
            expected = f'The POST payload is too large (limit: {BODY_LIMIT} bytes, actual length: 10485760 bytes).'
            assert answer.error['message'] == expected
    world.is_still(before)


def test_bodies_that_break_off_are_forgotten(world):
    before = world.state()
    valid = {
        '/v2/datasets/{dataset}/items': b'[{"a":1}]',
        '/v2/datasets?name=half': b'{}',
        '/v2/actors': b'{"name":"half-an-actor"}',
        '/v2/request-queues/{request-queue}/requests': b'{"url":"http://half","uniqueKey":"half"}',
        '/v2/key-value-stores/{key-value-store}/records/half': b'{"a":1}',
    }
    for path, body in valid.items():
        target = world.path(path)
        broken = [
            world.head('POST', target, [('Content-Length', len(body) + 1)]) + body,
            world.head('POST', target, [('Content-Length', 1 << 40)]) + body,
            world.head('POST', target, [('Transfer-Encoding', 'chunked')]) + b'%x\r\n%s\r\n' % (len(body), body),
            world.head('POST', target, [('Transfer-Encoding', 'chunked')]) + b'ffff\r\n' + body,
            world.head('POST', target, [('Transfer-Encoding', 'chunked')]) + b'%x\r\n%s\r\nzz\r\n' % (len(body), body),
            world.head('POST', target, [('Transfer-Encoding', 'chunked')]) + b'ffffffffffffffff1\r\n' + body,
        ]
        for data in broken:
            for abruptly in (False, True):
                connection = Connection(world.address)
                connection.send(data)
                if abruptly:
                    # An RST instead of a FIN.
                    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                else:
                    connection.socket.shutdown(socket.SHUT_WR)
                    connection.is_over()
                    if connection.buffer:
                        assert 400 <= int(connection.buffer.split()[1]) < 500, (data, connection.buffer)
                connection.close()
    world.is_still(before)


def one(world, data, method='GET'):
    connection = Connection(world.address)
    try:
        connection.send(data)
        return connection.answer(method)
    finally:
        connection.close()


def test_what_is_hardly_http_is_refused(world):
    token = f'Authorization: Bearer {world.token}\r\n'.encode()
    host = f'Host: {world.host}\r\n'.encode()
    get = b'GET /v2/users/me HTTP/1.1\r\n' + host
    for data in (
        b'\r\n\r\n\r\nnonsense\r\n\r\n',
        b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'\0' * 500,
        b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        b'GET /v2/users/me HTTP/9.9\r\n\r\n',
        b'GET /v2/a b HTTP/1.1\r\n\r\n',
        b'GET v2/users/me HTTP/1.1\r\n' + host + b'\r\n',
        b'GET /v2/\0 HTTP/1.1\r\n' + host + b'\r\n',
        get + b'Broken header\r\n\r\n',
        get + b'A\0B: 1\r\n\r\n',
        get + b'Content-Length: -1\r\n\r\n',
        get + b'Content-Length: 1, 2\r\n\r\n',
        get + b'Content-Length: 99999999999999999999999\r\n\r\n',
        get + b'Transfer-Encoding: gzip\r\n\r\n',
        get + b''.join(b'X-Flood-%d: 1\r\n' % n for n in range(5000)) + b'\r\n',
        get + b'X-Flood: ' + b'a' * (1 << 20) + b'\r\n\r\n',
        b'GET /v2/datasets?' + b'a' * (1 << 20) + b' HTTP/1.1\r\n' + host + b'\r\n',
    ):  # fmt: skip
        connection = Connection(world.address)
        connection.send(data)
        assert connection.is_over()
        # Who sends more than was read when it is over may miss the last word; and HTTP/2 has another tongue.
        if connection.buffer or (len(data) < 1 << 16 and not data.startswith(b'PRI')):
            assert 400 <= int(connection.buffer.split()[1]) < 500, (data[:100], connection.buffer[:200])
        connection.close()
    # A request must not hide in another one's body (RFC 9112, section 6.1).
    smuggled = b'POST /v2/datasets HTTP/1.1\r\n' + host + token + b'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
    before = world.state()[0]
    connection = Connection(world.address)
    connection.send(smuggled + get + token + b'\r\n')
    first = connection.answer()
    connection.close()
    after = world.state()[0]
    assert first.status in (201, 400)
    assert after[0] - before[0] == (first.status == 201) and after[1:] == before[1:]


def test_old_pipelined_and_absolute_requests_are_understood(world):
    auth = [('X', '1')]
    old = one(world, world.head('GET', '/v2/users/me', version='1.0'))
    assert old.status == 200 and old.data['id']

    connection = Connection(world.address)
    count = 60
    requests = [world.head('GET', f'/v2/datasets/{"X" * 17 if n % 2 else world.ids["dataset"]}', auth) for n in range(count)]
    connection.send(b''.join(requests))
    assert [connection.answer().status for _ in range(count)] == [404 if n % 2 else 200 for n in range(count)]
    connection.close()

    # What comes behind a request, be it the line end of old clients or nonsense, does not hold back its answer.
    for behind in (b'\r\n', b'GET /v2/users', b'nonsense\r\n\r\n'):
        assert one(world, world.head('POST', '/v2/tools/encode-and-sign', [('Content-Length', 2)]) + b'{}' + behind).status == 200

    own = one(world, world.head('GET', f'http://{world.host}/v2/users/me'))
    assert (own.status, own.data['id']) == (200, world.ids['user'])
    for request in (
        world.head('GET', 'http://example.com/v2/users/me'),
        world.head('GET', 'http://169.254.169.254/latest/meta-data'),
        world.head('GET', f'http://user:pass@{world.host}@example.com/'),
        world.head('CONNECT', '127.0.0.1:22'),
        world.head('CONNECT', 'example.com:443', [('Proxy-Authorization', 'Basic !!!')]),
        world.head('CONNECT', 'example.com:443', [('Proxy-Authorization', 'Basic YXV0bzo=')]),
    ):
        connection = Connection(world.address)
        connection.send(request)
        answer = connection.answer()
        connection.close()
        assert answer.status in (400, 407), (request, answer.status, answer.body)
    for request in (world.head('OPTIONS', '*'), world.head('BREW', '/v2/datasets'), world.head('get', '/v2/datasets'), world.head('TRACE', '/v2')):
        assert one(world, request).status < 500


def test_no_token_but_the_right_one_opens_anything(world):
    """An open resource may be read by everybody, but nobody with a wrong token is let pass."""
    long = 'x' * 10_000
    wrong = ('Bearer wrong', 'Bearer', 'Bearer ', f'Bearer {long}', f'Basic {world.token}', world.token, '', 'Bearer \xff\xfe', f'Bearer {world.token}x', f'Bearer  {world.token[:-1]}')
    before = world.state()
    for path, methods, _ in ROUTES:
        target = world.path(path)
        is_open = path.endswith(('browser-info', 'decode-and-verify', '/store'))
        for method in (*methods, 'HEAD', 'OPTIONS'):
            if method == 'OPTIONS':
                assert world.send(method, target, token=False).status == 204
                continue
            body = b'{}' if method in ('POST', 'PUT') else None
            without = world.send(method, target, body, token=False)
            if method in ('PUT', 'DELETE', 'POST') and not is_open:
                assert without.status in (401, 403, 404), (method, path, without.status, without.body)
                if without.status == 401:
                    assert without.error == {'type': 'token-not-provided', 'message': 'Authentication token was not provided'}
            for header in wrong:
                answer = world.send(method, target, body, [('Authorization', header)], token=False)
                if not path.endswith('browser-info') and not (method == 'HEAD' and 'GET' not in methods):
                    is_start = method == 'HEAD' and '/run-sync' in path
                    assert answer.status == (405 if is_start else 401), (method, path, header[:20], answer.status, answer.body)
                    if method != 'HEAD':
                        assert answer.error['type'] == 'user-or-token-not-found', (method, path, header[:20])
            if method == 'GET':
                for query in ('token=wrong', 'token=%00', 'token=%ff', f'token={long}'):
                    answer = world.send(method, f'{target}?{query}', token=False)
                    assert path.endswith('browser-info') or answer.status == 401, (path, query[:20], answer.status)
    world.is_still(before)


def test_methods_are_overridden_by_those_that_exist_only(world):
    before = world.state()
    for path, methods, _ in ROUTES:
        target = world.path(path)
        for method in ('BREW', 'PATCH', 'CONNECT', 'OPTIONS', 'TRACE', '%00', 'GET%0D%0A', 'x' * 3000, 'GET,DELETE'):
            answer = world.send('GET', f'{target}?method={method}')
            assert (answer.status, answer.error['type']) == (400, 'invalid-request'), (path, method)
        for method in {'PUT', 'DELETE', 'POST'} - set(methods):
            answer = world.send('GET', f'{target}?method={method}')
            assert answer.status == 405, (path, method, answer.status)
        # What says what it does is not made another thing.
        if 'DELETE' in methods and names_in(path):
            gone = world.path(path, **{names_in(path)[-1]: '%00'})
            assert 400 <= world.send('GET', f'{gone}?method=DELETE').status < 500
            assert 400 <= world.send('GET', f'{target}?method=DELETE', token=False).status < 500
    world.is_still(before)


def test_other_methods_are_refused_in_the_words_of_the_contract(world):
    before = world.state()
    for path, methods, _ in ROUTES:
        allowed = {'OPTIONS', *methods}
        for method in set(METHODS) - allowed:
            if (method == 'HEAD' and 'GET' in methods) or path.endswith('/browser-info'):
                continue
            answer = world.send(method, world.path(path), b'' if method in ('POST', 'PUT', 'PATCH') else None)
            assert answer.status == 405, (method, path, answer.status, answer.body)
            if method == 'HEAD':
                continue
            start, listed = answer.error['message'].split(': ')
            assert start == 'This API end-point can only be accessed using the following HTTP methods'
            assert set(listed.split(',')) == allowed and listed.startswith('OPTIONS,'), (path, listed)
    for path in ('/v2', '/v2/nothing', '/v2/datasets/x/nothing', '/v3/actors', '/V2/actors', '/v2/v2/actors', '/v2/actors/../actors'):
        for method in ('GET', 'POST', 'PUT', 'DELETE'):
            answer = world.send(method, path)
            assert (answer.status, answer.error['type']) == (404, 'page-not-found'), (method, path, answer.body)
    world.is_still(before)


def test_known_refusals_come_word_for_word(world):
    """The messages of `G25` and of the table of the platform's errors."""
    ids = world.ids
    store, dataset, queue = (f'/v2/{kind}s/{ids[kind]}' for kind in ('key-value-store', 'dataset', 'request-queue'))
    actor, run = f'/v2/actors/{ids["actor"]}', f'/v2/actor-runs/{ids["run"]}'
    rights = 'Insufficient permissions for the {}. Make sure you\'re passing a correct API token and that it has the required permissions.'
    for method, target, body, token, status, kind, message in (
        ('PUT', f'{store}/records/a%20b', b'1', True, 400, 'invalid-record-key', 'Record key contains invalid character'),
        ('GET', '/v2/datasets/~', None, True, 400, 'invalid-request', 'Resource name parameter cannot be empty'),
        ('GET', '/v2/actors/nobody~', None, True, 400, 'invalid-request', 'Resource name parameter cannot be empty'),
        ('POST', f'{queue}/requests', b'{"id":"x","url":"http://a","uniqueKey":"a"}', True, 400, 'request-id-invalid', 'Request ID does not correspond to uniqueKey'),
        ('POST', f'{dataset}/items', b'{}', False, 401, 'token-not-provided', 'Authentication token was not provided'),
        ('GET', dataset, None, False, 403, 'insufficient-permissions', rights.format('dataset')),
        ('GET', store, None, False, 403, 'insufficient-permissions', rights.format('key-value store')),
        ('GET', '/v2/key-value-stores/XXXXXXXXXXXXXXXXX', None, True, 404, 'record-not-found', 'Store was not found'),
        ('GET', '/v2/actors/XXXXXXXXXXXXXXXXX', None, True, 404, 'record-not-found', 'Actor was not found'),
        ('GET', '/v2/actor-runs/XXXXXXXXXXXXXXXXX', None, True, 404, 'record-not-found', 'Actor run was not found'),
        ('GET', '/v2/actor-runs?status=DONE', None, True, 400, 'invalid-request', 'Status parameter has an invalid value'),
        ('GET', f'{actor}/runs/last?origin=MARS', None, True, 400, 'invalid-request', 'Origin parameter has an invalid value'),
        ('POST', f'{run}/reboot', b'', True, 403, 'job-finished', 'Actor job is already finished.'),
        ('PATCH', f'{queue}/head/lock', b'', True, 405, 'method-not-allowed', 'This API end-point can only be accessed using the following HTTP methods: OPTIONS,POST'),
        ('PATCH', f'{queue}/head', b'', True, 405, 'method-not-allowed', 'This API end-point can only be accessed using the following HTTP methods: OPTIONS,GET'),
    ):  # fmt: skip
        answer = world.send(method, target, body, token=token)
        found = (answer.status, answer.error['type'], answer.error['message'])
        assert found == (status, kind, message), (method, target)
    for body in (b'[1]', b'5', b'"a"'):
        answer = world.send('POST', '/v2/actors', body)
        assert (answer.status, answer.error['type'], answer.error['message']) == (400, 'invalid-request', 'POST data must be a JSON object'), body


def test_the_server_is_as_it_was(world):
    """Waves of the same bad requests leave nothing behind in memory."""
    deep, bad = ODD_JSON['deep arrays'], b'\xff' * 100_000

    def wave(_):
        sender = Sender({'url': f'http://{world.host}', 'token': world.token, 'pid': world.pid})
        for path, method in WRITES[::3]:
            target = world.path(path, **{name: 'X' * 17 for name in world.ids})
            sender.send(method, target, deep)
            sender.send(method, target, bad, [('Content-Encoding', 'gzip')])
        for _ in range(10):
            # Connections that say nothing at all, or not enough.
            half = Connection(world.address)
            half.send(b'POST /v2/datasets HTTP/1.1\r\nContent-Le')
            half.close()
        sender.drop()

    wave(0)
    memory = world.memory()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(wave, range(8)))
    grown = world.memory() - memory
    assert grown < 64 << 20, f'{grown >> 20} MB'
    started = time.monotonic()
    assert world.json('GET', '/v2/users/me')['id'] == world.ids['user']
    assert time.monotonic() - started < 1
