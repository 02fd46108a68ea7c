"""On what terms workers run: what they may use, for how long, and how they are locked."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

from dashboard.configuration import settings

Profile = Literal["auto", "strict", "plain"]


@dataclasses.dataclass(frozen=True)
class Terms:
    """What the operator allows a worker; see ``[workers]`` in the settings.

    `profile`: ``"auto"`` locks as far as the system can, ``"strict"`` puts bubblewrap around it as well, ``"plain"``
    is a process of its own without a lock. `formats`: those enabled that can run code.
    """

    memory_gib: float = 4.0
    reply_mb: int = 256
    open_seconds: float = 60.0
    predict_seconds: float = 30.0
    explain_seconds: float = 120.0
    idle_minutes: float = 10.0
    per_workspace: int = 2
    open_ahead: int = 8
    at_most: int = 16
    profile: Profile = "auto"
    formats: tuple[str, ...] = ()
    threads: int = dataclasses.field(default_factory=lambda: min(4, os.cpu_count() or 1))

    @property
    def locked(self) -> bool:
        """Whether a lock is wanted."""
        return self.profile != "plain"

    @property
    def reply_bytes(self) -> int:
        """Bytes of arrays in one message."""
        return self.reply_mb * 2**20

    def order(self) -> dict[str, object]:
        """What a new worker is told of them. Processor time is bounded by the clock of whoever waits."""
        bounds = {
            "memory_bytes": int(self.memory_gib * 2**30),
            "cpu_seconds": 0,
            "reply_bytes": self.reply_bytes,
            "open_files": 32,
        }
        return {"threads": self.threads, "lock": self.locked, "bounds": bounds, "formats": self.formats}


def agreed() -> Terms:
    """The terms in the settings of this process."""
    return Terms(**settings().workers.model_dump(), formats=settings().formats.allow)
