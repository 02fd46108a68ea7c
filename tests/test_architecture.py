"""The structure that import contracts cannot express, read from the syntax trees."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import explainers

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*ROOT.glob("explainers/**/*.py"), *ROOT.glob("dashboard/**/*.py")])


#: Where files are opened that run code, once somebody has said that they trust them.
RUNS_CODE = ("explainers/converting/opening.py", "explainers/loading/programs/")


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file, which nobody changes."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every import of a file: the module, and the names taken from it."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, tuple(alias.name for alias in node.names)


def test_there_are_sources_to_check() -> None:
    assert len(SOURCES) > 60


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if "dashboard" in p.parts], ids=lambda p: str(p.relative_to(ROOT))
)
def test_dashboard_uses_only_the_public_surface(path: Path) -> None:
    for module, names in imports(path):
        assert not module.startswith("explainers."), f"imports {module}; use explainers.__all__"
        if module == "explainers":
            assert set(names) <= set(explainers.__all__)
    tree = parsed(path)
    used = {
        n.attr
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "ex"
    }
    assert used <= set(explainers.__all__)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_catches_everything_or_runs_foreign_code(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
            assert "BaseException" not in ast.unparse(node.type), f"line {node.lineno} catches BaseException"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if path.relative_to(ROOT).as_posix().startswith(RUNS_CODE):
                continue
            assert called not in (
                "eval",
                "exec",
                "pickle.load",
                "pickle.loads",
                "joblib.load",
                "torch.jit.load",
            ), called
            if called == "torch.load":
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("explainers/**/*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_devices_are_chosen_in_one_place(path: Path) -> None:
    if path.name == "device.py":
        return
    text = path.read_text(encoding="utf-8")
    assert "cuda.is_available" not in text
    assert ".cuda()" not in text


def test_only_compute_asks_the_model() -> None:
    """Panels, figures and pages go through `dashboard.compute`, and that through a worker."""
    askers = set()
    for path in ROOT.glob("dashboard/**/*.py"):
        for node in ast.walk(parsed(path)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and ast.unparse(node.func) in ("ex.explain", "model.predict", "which.predict", "model.raw")
            ):
                askers.add(path.name)
    assert askers == {"worker.py", "warming.py"}


def test_every_public_name_exists_and_is_documented() -> None:
    for name in explainers.__all__:
        value = getattr(explainers, name)
        if isinstance(value, type) or callable(value):
            assert value.__doc__, f"{name} has no docstring"


def test_methods_are_registered_once_and_have_a_test() -> None:
    files = {path.stem for path in ROOT.glob("explainers/methods/*.py")} - {"__init__"}
    registered = [kind.__module__.rsplit(".", 1)[1] for kind in explainers.EXPLAINERS]
    assert sorted(registered) == sorted(files)
    for name in files:
        assert (ROOT / "tests" / "explainers" / f"test_{name}.py").exists(), f"{name} has no test file"


def test_programs_are_opened_by_load_model_alone() -> None:
    for path in SOURCES:
        if "programs" in path.parts or path.name == "models.py":
            continue
        for module, names in imports(path):
            assert not module.startswith("explainers.loading.programs"), path
            assert module != "explainers.loading" or "programs" not in names, path
