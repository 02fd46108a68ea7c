"""When a visit is over, all of it goes: Streamlit keeps a lost connection's state until somebody else's is lost.

A visit is a Streamlit session. Its connections pass through here; a while after the last one broke the session is closed,
with its uploads, its media and its state. Whoever holds something for a session (a worker) adds a function to `AT_END`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

#: Called with a session's id, on the server's thread, once that session is over: to be quick about it.
AT_END: list[Callable[[str], None]] = []

_log = logging.getLogger(__name__)


class Visits:
    """Closes each session so many seconds after its connection was lost, unless the visitor came back."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        session = ""

        async def watch(message: Message) -> None:
            nonlocal session
            if not session and message.get("bytes"):
                session = session_in(message["bytes"])
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if session:
                asyncio.get_running_loop().call_later(self._seconds, _close, session)


def session_in(message: bytes) -> str:
    """The session's id in what the server tells the browser first of all; empty in any other message."""
    return str(ForwardMsg.FromString(message).new_session.initialize.session_id)


def _close(session: str) -> None:
    server = runtime.get_instance()
    if server.is_active_session(session):
        return  # came back
    server.close_session(session)
    for told in AT_END:
        try:
            told(session)
        except Exception:
            _log.exception("What was kept for a visit could not be let go of.")
    asyncio.get_running_loop().run_in_executor(None, gc.collect)  # frames and models refer to themselves
