"""A server in a process of its own, and visitors who speak to it as a browser does, without one."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds; the machine may be busy
START = """
import json, sys
from dashboard.configuration import Server
from dashboard.serving.application import run
run(Server(**json.loads(sys.argv[1])), sys.argv[2])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Served:
    """A running server: its port, its process, and what it wrote so far."""

    port: int
    process: subprocess.Popen[str]
    prefix: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: Any = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body; the headers may say another Host."""
        sent = {name: value.format(port=self.port) for name, value in (headers or {}).items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host="Host" in sent, skip_accept_encoding=True)
            if isinstance(body, bytes):
                sent.setdefault("Content-Length", str(len(body)))
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders()
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was read
                for part in [body] if isinstance(body, bytes) else body or []:
                    connection.send(part)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def healthy(self) -> bool:
        with suppress(OSError):
            return self.ask(f"{self.prefix}/_stcore/health")[::2] == (200, b"ok")
        return False

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@contextmanager
def running(command: list[str], port: int, prefix: str = "", **more: str) -> Iterator[Served]:
    """This command as a server at this port, from its first answer to its end."""
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", **more},
    )  # fmt: skip
    served = Served(port, process, prefix)
    reader = threading.Thread(target=lambda: served.lines.extend(process.stdout or []), daemon=True)
    reader.start()
    try:
        until(lambda: served.healthy() or process.poll() is not None)
        assert process.poll() is None, served.log
        yield served
    finally:
        process.kill()
        process.wait()
        reader.join(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()


def page_server(page: Path, port: int | None = None, **settings: Any) -> Any:
    """A page of the tests behind whyboard's own gate; starts in a second, because it imports no torch."""
    settings["port"] = port or free_port()
    command = [sys.executable, "-c", START, json.dumps(settings), str(page)]
    prefix = settings.get("prefix", "")
    return running(command, settings["port"], f"/{prefix}" if prefix else "")


def until(done: Any, patience: float = PATIENCE) -> None:
    """Wait for something that comes in its own time."""
    end = time.monotonic() + patience
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


class Visitor:
    """A browser's cookies, and one connection: ``shown("do=raise")`` runs the page and gives all it sent."""

    def __init__(self, served: Served, session: str = "") -> None:
        self.served = served
        self.cookies: dict[str, str] = {}
        for path in ("/", "/_stcore/health"):
            self._keep(served.ask(served.prefix + path, headers=self.headers())[1])
        self._open = ExitStack()
        self.socket = self._open.enter_context(
            connect(
                f"ws://localhost:{served.port}{served.prefix}/_stcore/stream",
                origin=f"http://localhost:{served.port}",  # type: ignore[arg-type]
                additional_headers=self.headers(),
                subprotocols=["streamlit", self.cookies["_streamlit_xsrf"], *([session] if session else [])],  # type: ignore[list-item]
                max_size=None,
                open_timeout=PATIENCE,
            )
        )
        self.session = ""

    def _keep(self, answer: http.client.HTTPMessage) -> None:
        for cookie in answer.get_all("set-cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value

    def headers(self) -> dict[str, str]:
        """What this browser sends with every request."""
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def shown(self, query: str = "") -> str:
        """Run the page; everything it sent, as text."""
        asked = BackMsg()
        asked.rerun_script.query_string = query
        self.socket.send(asked.SerializeToString())
        said: list[str] = []
        while True:
            message = ForwardMsg.FromString(self.socket.recv(PATIENCE))  # type: ignore[arg-type]
            said.append(str(message))
            self.session = message.new_session.initialize.session_id or self.session
            if message.WhichOneof("type") == "script_finished":
                return "\n".join(said)

    def link(self, query: str) -> str:
        """The address of the download that the page offers."""
        found = re.search(r'"(/media/[^"]+)"', self.shown(query))
        assert found
        return self.served.prefix + found[1]

    def follow(self, address: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        return self.served.ask(address, headers=self.headers())

    def upload(self, size: int, file: str = "a", method: str = "PUT", **headers: str) -> tuple[int, str]:
        """Send so many bytes as a file of this session; status and sentence."""
        form = (
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.csv"\r\nContent-Type: text/csv\r\n\r\n',
            b"7" * size,
            b"\r\n--x--\r\n",
        )
        sent = {
            **self.headers(),
            "X-Xsrftoken": self.cookies["_streamlit_xsrf"],
            "Content-Type": "multipart/form-data; boundary=x",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        place = f"{self.served.prefix}/_stcore/upload_file/{self.session}/{file}"
        status, _, said = self.served.ask(place, method, sent, b"".join(form) if method == "PUT" else None)
        return status, said.decode()

    def leave(self) -> None:
        self._open.close()
