"""One worker started afresh, without a zygote: ``python -m dashboard.workers.alone TERMS DESCRIPTOR``."""

from __future__ import annotations

import json
import socket
import sys

from dashboard.workers import warming, worker
from dashboard.workers.lock import Bounds, lock
from dashboard.workers.protocol import Channel


def main() -> None:
    """Warm up, lock as far as the system can, serve."""
    order = json.loads(sys.argv[1])
    warming.warm(order["formats"])
    if order["lock"]:
        lock(Bounds(**order["bounds"]), readable=warming.readable())
    warming.use_threads(order["threads"])
    worker.serve(Channel(_end(sys.argv[2])), order["bounds"]["reply_bytes"])


def _end(number: str) -> socket.socket:
    if sys.platform == "win32":  # a socket is handed over as bytes there
        return socket.fromshare(sys.stdin.buffer.read())
    return socket.socket(fileno=int(number))


if __name__ == "__main__":
    main()
