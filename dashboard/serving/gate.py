"""What stands before Streamlit on every request: who may ask, for what, and what browsers are told with the answer.

Streamlit checks hosts and origins on its WebSocket only, sets no security headers, and looks up the machine's public
address on the network when a foreign page asks; here such a request ends before it gets that far.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

import streamlit
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Streamlit's own addresses that the pages use; the others (metrics, the agent API, whatever comes next) do not exist.
OPEN = ("health", "host-config", "stream", "upload_file/", "bidi-components/")
#: Its log-in, which whyboard does not use: that is the proxy's.
CLOSED = ("auth", "oauth2callback")

#: Tells a visitor's browser apart from others, for links to what was made for that visitor.
COOKIE = "whyboard_visitor"


class Gate:
    """Refuses foreign hosts and origins and closed addresses; names the visitor; sends the security headers."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], prefix: str = "") -> None:
        self._app = app
        self._hosts = tuple(host.lower() for host in hosts)
        self._base = "/" + prefix.strip("/") if prefix.strip("/") else ""
        self._headers = security_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refused:
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self._app(scope, receive, send)
            return
        answer = self._answer(scope, send, visitor(headers))
        if refused:
            status, sentence = refused
            await PlainTextResponse(sentence, status)(scope, receive, answer)
        else:
            await self._app(scope, receive, answer)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Status and sentence, or ``None`` for a request that goes on."""
        if not allowed(headers.get("host"), self._hosts):
            return 403, "This server does not answer to this host name (setting server.allowed_hosts)."
        origin = headers.get("origin")
        if origin is not None and not allowed(urlsplit(origin).netloc, self._hosts):
            return 403, "This request comes from a page of another site (setting server.allowed_hosts)."
        if origin is None and scope["type"] == "websocket":
            return 403, "A page of this server says where it comes from; this request does not."
        section, _, rest = self._path(scope).partition("/")
        if section in CLOSED or (section == "_stcore" and not rest.startswith(OPEN)):
            return 404, "There is nothing here."
        return None

    def _answer(self, scope: Scope, send: Send, known: str | None) -> Send:
        private = self._path(scope).startswith(("media/", "_stcore/"))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if private:
                    headers["cache-control"] = "no-store"
                if known is None and headers.get("content-type", "").startswith("text/html"):
                    headers.append("set-cookie", self._cookie(scope))
            await send(message)

        return answer

    def _path(self, scope: Scope) -> str:
        return str(scope["path"]).removeprefix(self._base).lstrip("/")

    def _cookie(self, scope: Scope) -> str:
        secure = "; Secure" if scope["scheme"] == "https" else ""
        return (
            f"{COOKIE}={secrets.token_urlsafe(32)}; Path={self._base or '/'}; HttpOnly; SameSite=Lax{secure}"
        )


def allowed(host: str | None, hosts: Iterable[str]) -> bool:
    """Whether a Host header, or the host part of an origin, is one of ours, at whatever port."""
    try:
        name = (urlsplit(f"//{host or ''}").hostname or "").rstrip(".")
    except ValueError:
        return False
    return any(name.endswith(own[1:]) if own.startswith("*.") else name == own for own in hosts)


def visitor(headers: Headers) -> str | None:
    """The visitor's cookie."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and len(found.value) >= 32 else None


def security_headers() -> dict[str, str]:
    """The same for every answer; what an answer sets for itself stays."""
    return {
        "Content-Security-Policy": _policy(),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=()",
        "X-Robots-Tag": "noindex",
    }


def _policy() -> str:
    """Everything from this server: a picture or link in a hostile name reaches nobody else.

    Streamlit imports a component's few lines from a ``blob:``, and styles its elements inline.
    """
    scripts = " ".join(["'self'", "blob:", *_inline_scripts()])
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'none'",
            "frame-ancestors 'self'",
        ]
    )


def _inline_scripts() -> list[str]:
    """Hashes of the scripts inside Streamlit's own page, read from the installed one."""
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    texts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", page, flags=re.DOTALL)
    return [f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]
