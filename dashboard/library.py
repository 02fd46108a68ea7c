"""The prepared workspaces of this server: opened once, shared by every visitor, never changed."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import explainers as ex
from dashboard.compute import Compute, Store
from dashboard.configuration import FOLDERS_VARIABLE
from dashboard.workers.pool import Pool
from dashboard.workers.remote import Remote
from dashboard.workers.starting import starter
from dashboard.workers.terms import Terms, agreed
from dashboard.workspace import (
    Configuration,
    OpenWorkspace,
    find_workspaces,
    open_workspace,
    read_configuration,
)


class Library:
    """Prepared workspaces by folder name."""

    def __init__(self, folders: Iterable[Path], terms: Terms | None = None) -> None:
        self.folders = {path.name: path for path in folders}
        self.terms = terms or Terms()
        self._store = Store()
        self._open: dict[str, tuple[OpenWorkspace, Compute]] = {}
        self._locks = {name: threading.Lock() for name in self.folders}

    def describe(self, name: str) -> Configuration:
        """What the workspace says of itself, without opening its model."""
        return read_configuration(self.folders[name])

    def open(self, name: str) -> tuple[OpenWorkspace, Compute]:
        """The open workspace and who computes for it; raises `ExplainerError` where it does not open."""
        if name not in self.folders:
            raise ex.UnreadableFile(
                f"There is no workspace {name[:80]!r} here; there are {', '.join(self.folders) or 'none'}."
            )
        with self._locks[name]:
            if name not in self._open:
                remote = Remote(Pool(starter(self.terms), self.terms.per_workspace))
                workspace = open_workspace(self.folders[name], remote)
                self._open[name] = (workspace, Compute(remote, self._store))
            return self._open[name]


def assets() -> Path:
    """The prepared workspaces that come with the project: beside the packages, or inside in a wheel."""
    beside = Path(__file__).resolve().parent.parent / "assets"
    inside = Path(__file__).resolve().parent / "assets"
    return (beside if beside.is_dir() else inside) / "workspaces"


@functools.cache
def library() -> Library:
    """The library of this process, from the folders named by `whyboard serve`, else the prepared ones."""
    named = os.environ.get(FOLDERS_VARIABLE, "")
    folders = [Path(part) for part in named.split(os.pathsep) if part] or [assets()]
    return Library(find_workspaces(*folders), agreed())
