"""Whether an upload advances: a beat for each part of a request that the Hub takes for the first time, and each answer.

What is sent again after a failure is no advance, so a Hub that breaks off or refuses makes no beats however often it
is tried. Addresses to send a large file to are signed anew each time: what tells one request from another is the path,
and the number of the part.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from huggingface_hub import get_session

Hooks = dict[str, list[Callable[..., None]]]
Request = tuple[str, str, str]


class Pulse:
    """Watches the requests of this process; `beat` is called in any thread."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._sent: dict[Request, int] = {}
        self._answered: set[Request] = set()
        self._watched = _build_watched_stream(self._note_sent)

    def hooks(self) -> Hooks:
        """Return the hooks for the client's HTTP library."""
        return {"request": [self._watch], "response": [self._note_answer]}

    def restart(self) -> None:
        """Forget what was sent: the next commit begins."""
        self._sent.clear()
        self._answered.clear()

    def _watch(self, request: Any) -> None:
        request.stream = self._watched(request.stream, _name(request))

    def _note_sent(self, request: Request, size: int) -> None:
        if size > self._sent.get(request, 0):
            self._sent[request] = size
            self._beat()

    def _note_answer(self, response: Any) -> None:
        request = _name(response.request)
        if response.is_success and request not in self._answered:
            self._answered.add(request)
            self._beat()


def _name(request: Any) -> Request:
    address = request.url
    return request.method, f"{address.host}{address.path}", address.params.get("partNumber", "")


def _build_watched_stream(note: Callable[[Request, int], None]) -> Callable[[Any, Request], Any]:
    """Return a kind of request body that notes what is taken of it, for the HTTP library that the client uses."""
    # httpx, or its successor of another name
    library: Any = import_module(type(get_session()).__module__.partition(".")[0])

    class WatchedStream(library.SyncByteStream):
        def __init__(self, stream: Any, request: Request) -> None:
            self.stream = stream
            self.request = request

        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in self.stream:
                yield chunk
                size += len(chunk)
                note(self.request, size)

        def close(self) -> None:
            self.stream.close()

    return WatchedStream
