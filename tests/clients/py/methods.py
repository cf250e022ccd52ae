"""Which public methods the client package has, which of them a test calls itself, and one manner for both of its clients."""

import inspect
import pathlib
import sys

import apify_client
from apify_client import _resource_clients, _status_message_watcher, _streamed_log

HERE = pathlib.Path(__file__).resolve().parent


def classes():
    """The clients of both kinds, and what follows a run for them."""
    for module in (apify_client, _resource_clients, _streamed_log, _status_message_watcher):
        for name, kind in vars(module).items():
            if inspect.isclass(kind) and name.removesuffix('Async').endswith(('Client', 'StreamedLog', 'Watcher')):
                yield name, kind


def methods_of(kind):
    return [name for name, member in inspect.getmembers(kind) if callable(member) and not name.startswith('_')]


def public_methods():
    """As in `ActorClient.get`, sorted."""
    return sorted({f'{name}.{method}' for name, kind in classes() for method in methods_of(kind)})


def listed_methods():
    """The list that is kept. It names the methods of the blocking clients; the others have the same."""
    listed = (HERE.parent / 'methods-py.txt').read_text().split()
    asynchronous = [method.replace('.', 'Async.') for method in listed]
    return sorted(listed + asynchronous)


def watch_methods():
    """The methods that are called from now on, but not those that the client calls by itself on the way."""
    called = set()
    for name, kind in list(classes()):
        for method in methods_of(kind):
            # Most classes have their methods from themselves, some from a base class that several share.
            owner = next(base for base in kind.__mro__ if method in vars(base))
            original = vars(owner)[method]
            watched = _watched(called, f'{name}.{method}', getattr(original, '__func__', original))
            setattr(kind, method, classmethod(watched) if isinstance(original, classmethod) else watched)
    return called


def _watched(called, name, original):
    def watched(*args, **kwargs):
        caller = sys._getframe(1).f_globals.get('__name__', '')
        if not caller.startswith('apify_client'):
            called.add(name)
        return original(*args, **kwargs)

    return watched


class Awaited:
    """A blocking client in the manner of the asynchronous one, so that one test is for both."""

    def __init__(self, target):
        self._target = target

    def __getattr__(self, name):
        member = getattr(self._target, name)
        return (lambda *args, **kwargs: adapted(member(*args, **kwargs))) if callable(member) else member

    def __await__(self):
        yield from ()
        return self


class Ready:
    """A result that is there: a value, something to iterate over, or something to enter."""

    def __init__(self, value):
        self._value = value

    def __await__(self):
        yield from ()
        return self._value

    async def __aiter__(self):
        for value in self._value:
            yield value

    async def __aenter__(self):
        return self._value.__enter__()

    async def __aexit__(self, *error):
        return self._value.__exit__(*error)


def adapted(value):
    is_client = type(value).__module__.startswith('apify_client._resource_clients')
    is_follower = type(value).__name__ in ('StreamedLog', 'StatusMessageWatcher')
    return Awaited(value) if is_client or is_follower else Ready(value)


async def body_of(response):
    """All of a streamed answer."""
    try:
        return await response.aread()
    except Exception:
        return response.read()
