"""Tiles of a large picture for one visitor: only that visitor's browser gets them, and only while the visit lasts.

What a page shows in tiles is lent under a token that nobody can guess, and looked up under it together with the visitor's cookie.
A tile is made at the moment it is asked for; nothing of it is kept, here or by a browser's cache on disk.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import gzip
import re
import secrets
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.serving.gate import visitor
from dashboard.serving.media import session_is_active

if TYPE_CHECKING:  # figures take long to import, and the server starts without them
    from dashboard.figures.tiles import Tiles

#: Pictures and maps lent to a visit at a time: a case's picture, and the map shown large now and before.
AT_MOST = 3

#: Bytes that all of them may hold on to.
MOST_BYTES = 512 * 2**20

#: Tiles made at the same moment.
TOGETHER = 2

_ADDRESS = re.compile(
    r"/tiles/(?P<token>[0-9a-f]{64})/(?:about|(?P<level>\d{1,2})/(?P<column>\d{1,4})/(?P<row>\d{1,4}))"
)
_NOTHING = "There is nothing here."


@dataclasses.dataclass(frozen=True)
class Loan:
    """What is lent, to whom, and under which key a page finds it again."""

    visitor: str
    session: str
    key: Hashable
    tiles: Tiles


class Shelf:
    """Loans by token, the newest last. Written by the pages' threads, read by the server's."""

    def __init__(self, active: Callable[[str], bool] = session_is_active, most: int = MOST_BYTES) -> None:
        self._active, self._most = active, most
        self._loans: collections.OrderedDict[str, Loan] = collections.OrderedDict()
        self._lock = threading.Lock()

    def lend(self, visitor: str, session: str, key: Hashable, make: Callable[[], Tiles]) -> str:
        """The token under which this visitor gets the tiles; the same while they are lent under the same key."""
        with self._lock:
            mine = [token for token, loan in self._loans.items() if loan.session == session]
            for token in mine:
                if self._loans[token].key == key and self._loans[token].visitor == visitor:
                    self._loans.move_to_end(token)
                    return token
            for token in mine[: max(0, len(mine) + 1 - AT_MOST)]:
                del self._loans[token]
            token = secrets.token_hex(32)
            self._loans[token] = Loan(visitor, session, key, make())
            self._keep_within()
            return token

    def find(self, token: str, visitor: str | None) -> Tiles | None:
        """The tiles, or ``None`` where they are not this visitor's, or no longer lent."""
        loan = self._loans.get(token)
        if loan is None or visitor is None or not secrets.compare_digest(loan.visitor, visitor):
            return None
        return loan.tiles if self._active(loan.session) else None

    def forget(self, session: str) -> None:
        """Take back what a visit has."""
        with self._lock:
            for token in [token for token, loan in self._loans.items() if loan.session == session]:
                del self._loans[token]

    def _keep_within(self) -> None:
        held = sum(loan.tiles.nbytes for loan in self._loans.values())
        while held > self._most and len(self._loans) > 1:
            held -= self._loans.popitem(last=False)[1].tiles.nbytes


#: Of this process.
SHELF = Shelf()


class TilesServed:
    """Answers requests for tiles; all others go on."""

    def __init__(self, app: ASGIApp, shelf: Shelf = SHELF, prefix: str = "") -> None:
        self._app, self._shelf = app, shelf
        self._base = "/" + prefix.strip("/") if prefix.strip("/") else ""
        self._turn = asyncio.Semaphore(TOGETHER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", "")).removeprefix(self._base)
        if scope["type"] != "http" or not path.startswith("/tiles/"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        found = _ADDRESS.fullmatch(path) if scope["method"] == "GET" else None
        tiles = self._shelf.find(found["token"], visitor(headers)) if found else None
        answer: Response = PlainTextResponse(_NOTHING, 404)
        if found and tiles:
            place = None if found["level"] is None else [int(found[n]) for n in ("level", "column", "row")]
            async with self._turn:
                answer = await run_in_threadpool(
                    _answer, tiles, place, "gzip" in headers.get("accept-encoding", "")
                )
        answer.headers["cache-control"] = "no-store"
        await answer(scope, receive, send)


def _answer(tiles: Tiles, place: list[int] | None, zipped: bool) -> Response:
    try:
        content = tiles.about() if place is None else tiles.tile(*place)
    except LookupError:
        return PlainTextResponse(_NOTHING, 404)
    kind = "application/json" if place is None else tiles.kind
    if kind == "image/png" or not zipped:
        return Response(content, media_type=kind)
    return Response(gzip.compress(content, 1), media_type=kind, headers={"content-encoding": "gzip"})
