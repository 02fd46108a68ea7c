"""The whole server as one ASGI application, through Streamlit's public `App`, and the call that runs it."""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from dashboard.configuration import Server, settings
from dashboard.serving import log
from dashboard.serving.addresses import keep_addresses
from dashboard.serving.gate import Gate
from dashboard.serving.media import Media
from dashboard.serving.options import options
from dashboard.serving.tiles import TilesServed
from dashboard.serving.uploads import Uploads, keep_in_memory
from dashboard.serving.visits import Visits

SCRIPT = Path(__file__).resolve().parent.parent / "app.py"

FAILED = (
    "Something went wrong in whyboard; your data and your selection are still here. "
    "The server's log says where. Reload the page to go on."
)


def application(server: Server, script: Path = SCRIPT) -> st.App:
    """Streamlit's application behind the gate."""
    return st.App(
        script,
        middleware=[
            Middleware(Gate, hosts=server.hosts, prefix=server.prefix),
            Middleware(Uploads, server=server, visits=settings().workers.at_most),
            Middleware(Media),
            Middleware(TilesServed, prefix=server.prefix),
            Middleware(Visits, seconds=server.session_seconds),
        ],
        on_script_error=_tell,
    )


def run(server: Server, script: Path = SCRIPT, theme: str | None = None) -> None:
    """Serve until a signal ends it; this process writes no core file, no temporary file and no value to its log."""
    no_core_dumps()
    log.without_values()
    keep_in_memory(server)
    keep_addresses()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again, once all is closed
    with contextlib.suppress(KeyboardInterrupt):
        application(server, script).run(config=options(server, theme))


def no_core_dumps() -> None:
    """Neither as a file nor to a program that collects them, which the size limit does not stop."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/coredump_filter").write_text("0", encoding="ascii")


def _tell(_: Exception) -> bool:
    st.error(FAILED, icon=":material/error:")
    return True
