"""Files for one visitor: the only way in which a page may hand Streamlit something to serve.

Streamlit makes a file's address from its content, or from parts of it above 1 MiB, its type and its name, and serves it to
anybody. Here the name is a keyed digest of the whole content under a secret of this visit: files that differ get addresses
that differ, nobody can work an address out from what a file says, and the same file keeps its address from one run to the
next. `dashboard.serving.media` lets only this visitor follow the link, and gives the file its readable name back.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Literal

import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from dashboard.serving.gate import COOKIE
from dashboard.serving.media import REGISTER, Owner

_SECRET = "download-secret"


def download(
    label: str,
    data: str | bytes | Callable[[], bytes],
    name: str,
    *,
    key: str,
    mime: str = "text/csv",
    kind: Literal["primary", "secondary", "tertiary"] = "secondary",
) -> bool:
    """A button that saves `data` as `name`; whether it was clicked. The link is this visitor's, while the visit lasts.

    Where `data` is a function, it is called once somebody clicks; its file gets another address in each run.
    """
    content = data.encode() if isinstance(data, str) else data
    secret: bytes = st.session_state.setdefault(_SECRET, secrets.token_bytes(32))
    nonce = secrets.token_hex(32) if callable(content) else token(content, secret)
    context = get_script_run_ctx()
    session = context.session_id if context is not None else ""
    REGISTER.add(nonce, Owner(st.context.cookies.get(COOKIE), session, readable(name)))
    return st.download_button(label, content, f"{nonce}.bin", mime, key=key, on_click="ignore", type=kind)


def token(content: bytes, secret: bytes) -> str:
    """What makes an address: 64 hexadecimal digits, of the whole content, under a secret of 32 bytes."""
    return hashlib.blake2b(content, key=secret, digest_size=32).hexdigest()


def readable(name: str) -> str:
    """A file name that is only a file name, whatever it is made from.

    >>> readable('../a "b"\\r\\n.csv')
    'a-b-.csv'
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")
    return plain[-80:] or "whyboard"
