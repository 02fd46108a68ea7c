"""The prepared workspaces, opened once, and hand-made ones whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dashboard.compute import Compute
from dashboard.library import Library, assets
from dashboard.panels.panel import Page
from dashboard.session import first_selection
from dashboard.view import View
from dashboard.workspace import OpenWorkspace, find_workspaces
from tests.dashboard.in_process import compute


@pytest.fixture(scope="session")
def shelf() -> Library:
    """All prepared workspaces under one store; each is opened at its first use."""
    return Library(find_workspaces(assets()))


@pytest.fixture(scope="session")
def opened(shelf: Library) -> Callable[..., View]:
    """``opened("credit", row=3)``: a look at a prepared workspace, starting from the selection of a visitor."""

    def look(name: str, **fields: Any) -> View:
        workspace, compute = shelf.open(name)
        return View(workspace, first_selection(workspace).change(**fields), compute)

    return look


@pytest.fixture
def look() -> Callable[..., View]:
    """``look(workspace, row=3)``: a look at a hand-made workspace, with a store of its own."""
    stores: dict[str, Compute] = {}

    def look(workspace: OpenWorkspace, **fields: Any) -> View:
        store = stores.setdefault(workspace.key, compute())
        return View(workspace, first_selection(workspace).change(**fields), store)

    return look


@pytest.fixture(scope="session")
def settle() -> Callable[[View, Page], list[dict[str, Any]]]:
    """All blocks of a page once everything that was queued is computed."""

    def settled(view: View, page: Page) -> list[dict[str, Any]]:
        for _ in range(6):
            now = View(view.workspace, view.selection, view.compute)
            blocks = [block for panel in page.panels for block in panel.blocks(now)]
            if not now.pending:
                return blocks
            for job in now.pending:
                job.run(lambda done, total, partial=None: None)
        raise AssertionError("the page asks for something new in every run")

    return settled
