"""How much a visit may upload: Streamlit takes any number of files for any connection, asked for or not, and keeps them.

A file counts from its first byte until Streamlit lets go of it: removed by the visitor, replaced, or gone with the visit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime

from dashboard.configuration import Server

MB = 2**20
#: What a form adds around a file.
FRAMING = MB

#: ``stored(session, files)``: those of these files that are still held.
Stored = Callable[[str, Sequence[str]], set[str]]


class Uploads:
    """Answers an upload beyond the bounds of its visit before a byte of it is read."""

    def __init__(self, app: ASGIApp, server: Server, visits: int, stored: Stored | None = None) -> None:
        """`visits` full of uploads are as many as the whole server takes."""
        self._app = app
        self._server = server
        self._most = visits * server.upload_mb_per_visitor * MB
        self._stored = stored or _stored
        self._held: dict[str, dict[str, int]] = {}
        self._coming: dict[str, list[int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, found, place = scope.get("path", "").partition("/_stcore/upload_file/")
        if scope["type"] != "http" or scope["method"] != "PUT" or not found:
            await self._app(scope, receive, send)
            return
        session, _, file = place.partition("/")
        headers = Headers(scope=scope)
        # In pieces an upload has any length, whatever it says beside.
        length = "" if "transfer-encoding" in headers else headers.get("content-length", "")
        refused = self._refusal(session, length)
        if refused:
            status, sentence = refused
            await PlainTextResponse(sentence, status, {"Connection": "close"})(scope, receive, send)
        else:
            await self._take(session, file, int(length), (scope, receive, send))

    def _refusal(self, session: str, length: str) -> tuple[int, str] | None:
        bound = self._server
        if not (length.isascii() and length.isdigit()):
            return 411, "The request does not say how long the upload is."
        if int(length) > bound.upload_mb * MB + FRAMING:
            return 413, f"A file may have {bound.upload_mb} MB (setting server.upload_mb)."
        self._forget_what_is_gone()
        sizes = [*self._held.get(session, {}).values(), *self._coming.get(session, [])]
        if len(sizes) >= bound.uploads_per_visitor:
            return 429, (
                f"This visit holds {len(sizes)} uploaded files already, as many as it may "
                "(setting server.uploads_per_visitor). Remove one, or reload the page."
            )
        if sum(sizes) + int(length) > bound.upload_mb_per_visitor * MB:
            return 413, (
                f"All uploads of one visit may have {bound.upload_mb_per_visitor} MB together "
                "(setting server.upload_mb_per_visitor). Remove one, or reload the page."
            )
        if self._total() + int(length) > self._most:
            return (
                503,
                "The server holds as many uploads of its visitors as it may. Try again in some minutes.",
            )
        return None

    async def _take(self, session: str, file: str, length: int, call: tuple[Scope, Receive, Send]) -> None:
        scope, receive, send = call
        kept = False

        async def watch(message: Message) -> None:
            nonlocal kept
            if message["type"] == "http.response.start":
                kept = message["status"] < 300
            await send(message)

        self._coming.setdefault(session, []).append(length)
        try:
            await self._app(scope, receive, watch)
        finally:
            self._coming[session].remove(length)
            if kept and not _dropped(session):
                self._held.setdefault(session, {})[file] = length

    def _forget_what_is_gone(self) -> None:
        for session, files in list(self._held.items()):
            still = self._stored(session, list(files))
            self._held[session] = {file: size for file, size in files.items() if file in still}
        self._held = {session: files for session, files in self._held.items() if files}
        self._coming = {session: sizes for session, sizes in self._coming.items() if sizes}

    def _total(self) -> int:
        return sum(sum(files.values()) for files in self._held.values()) + sum(
            map(sum, self._coming.values())
        )


def _stored(session: str, files: Sequence[str]) -> set[str]:
    return {found.file_id for found in runtime.get_instance().uploaded_file_mgr.get_files(session, files)}


def _dropped(session: str) -> bool:
    """Whether the visit ended while its upload came in: nobody would ever take that away again."""
    if not runtime.exists() or runtime.get_instance().is_active_session(session):
        return False
    runtime.get_instance().uploaded_file_mgr.remove_session_files(session)
    return True


def keep_in_memory(server: Server) -> None:
    """Parse forms without the temporary file that Starlette writes for what is over 1 MB: no upload touches the disk."""
    MultiPartParser.spool_max_size = server.upload_mb * MB + FRAMING
