"""Links to what was made for one visitor: only that visitor's browser can follow them, and only while the visit lasts.

Streamlit serves its media to anybody who has the address, and makes the address from the content; from parts of it above
1 MiB, so that two files may share one. A download therefore carries a name nobody can guess (`dashboard.privacy`), which is
part of what the address is made of; here it is looked up, checked, and replaced by the name a person wants to see.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime

from dashboard.serving.gate import visitor

#: What Streamlit keeps for visitors; its own fonts lie under ``/static/media/``.
_MADE = re.compile(r"(?<!/static)/media/")
_TOKEN = re.compile(r'filename="([0-9a-f]{64})\.bin"')


@dataclasses.dataclass(frozen=True)
class Owner:
    """Whose download it is, and under which name it is saved."""

    visitor: str | None
    session: str
    name: str


class Register:
    """Downloads by token. Written by the pages' threads, read by the server's."""

    def __init__(self, active: Callable[[str], bool] | None = None) -> None:
        self._active = active or session_is_active
        self._owners: dict[str, Owner] = {}
        self._lock = threading.Lock()

    def add(self, token: str, owner: Owner) -> None:
        """Remember a download, and forget those of visits that are over."""
        with self._lock:
            self._owners = {key: one for key, one in self._owners.items() if self._active(one.session)}
            self._owners[token] = owner

    def name_for(self, token: str, visitor: str | None) -> str | None:
        """The name to save under, or ``None`` where this is not this visitor's, or the visit is over."""
        owner = self._owners.get(token)
        if owner is None or visitor is None or owner.visitor != visitor or not self._active(owner.session):
            return None
        return owner.name


def session_is_active(session: str) -> bool:
    """Whether a visit goes on."""
    return runtime.exists() and runtime.get_instance().is_active_session(session)


#: Of this process.
REGISTER = Register()


class Media:
    """Holds back each download that is not for the visitor who asks."""

    def __init__(self, app: ASGIApp, register: Register = REGISTER) -> None:
        self._app = app
        self._register = register

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _MADE.search(scope["path"]):
            await self._app(scope, receive, send)
            return
        asking = visitor(Headers(scope=scope))
        held_back = False

        async def answer(message: Message) -> None:
            nonlocal held_back
            if message["type"] == "http.response.start":
                held_back = not self._pass(message, asking)
            if not held_back:
                await send(message)

        await self._app(scope, receive, answer)
        if held_back:
            await PlainTextResponse("There is nothing here.", 404)(scope, receive, send)

    def _pass(self, start: Message, asking: str | None) -> bool:
        """Whether the answer goes out; its headers are made ready."""
        headers = MutableHeaders(scope=start)
        if "content-disposition" not in headers:
            # The pages show no pictures through Streamlit (a test sees to it); this is the icon.
            return start["status"] >= 300 or headers.get("content-type", "") in ("image/png", "")
        found = _TOKEN.search(headers["content-disposition"])
        name = self._register.name_for(found[1], asking) if found else None
        if name is None:
            return False
        headers["content-disposition"] = f'attachment; filename="{name}"'
        headers["content-security-policy"] = "default-src 'none'; sandbox"
        headers["cache-control"] = "no-store"
        return True
