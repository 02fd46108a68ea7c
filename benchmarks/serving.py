"""A `whyboard demo` in a process of its own, and a Chromium to look at it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SIZE = {"width": 1440, "height": 900}


class Server:
    """The running process, its address, and when it was started (seconds of the system's clock)."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "dashboard.cli", "demo", "--no-browser", "--port", str(port)]
        self.started = time.time()
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    def wait(self, seconds: float = 60) -> None:
        """Until it answers; raises where it ended or takes too long."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                raise RuntimeError(f"The server ended with {self.process.returncode} before it answered.")
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=2),
            ):
                return
            time.sleep(0.02)
        raise RuntimeError(f"The server did not answer within {seconds:.0f} s.")

    def stop(self) -> None:
        """End it, kindly at first."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def served() -> Iterator[Server]:
    """A fresh server on a free port, answering."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = Server(port)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def chromium(path: str = "/usr/bin/chromium") -> Iterator[Any]:
    """The system's Chromium under Playwright, without a window."""
    from playwright.sync_api import sync_playwright

    if not shutil.which(path):
        raise SystemExit(f"There is no browser at {path}; install Chromium, or name another with --browser.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
