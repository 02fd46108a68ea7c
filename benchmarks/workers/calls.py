"""Calls through a worker beside the same calls here."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import explainers as ex
from benchmarks.workers import models
from benchmarks.workers.sides import in_turn
from dashboard.workers.pool import Pool
from dashboard.workers.remote import Remote
from dashboard.workers.starting import Starter

ROWS, COLUMNS = 1000, 20
NETWORK = f"{COLUMNS} → 64 → 64 → 2"
BATCHES = 100
HEADS = (
    "what", "there", "p90", "here", "p90", "more, median", "p90", "more", "processor: there", "here", "more",
    "max difference (of)", "n", "target",
)  # fmt: skip


def compared(parent: Starter, repeats: int) -> list[dict[str, Any]]:
    """Predictions: one row, a batch that is sent, a batch that is held, and a hundred batches in one request."""
    layers = models.network(COLUMNS)
    stored: tuple[tuple[str, bytes, dict[str, Any]], ...] = (
        ("ONNX", models.as_onnx(layers), {}),
        ("safetensors", models.as_safetensors(layers), _named(layers)),
        ("torch weights", models.as_torch(layers), _named(layers)),
    )
    return [row for name, content, options in stored for row in _of(parent, name, content, options, repeats)]


def _named(layers: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"architecture": models.architecture(layers), "classes": ("no", "yes")}


def _of(parent: Starter, name: str, content: bytes, options: dict[str, Any], repeats: int) -> list[dict[str, Any]]:  # fmt: skip
    remote, data = Remote(Pool(parent, 1)), models.data(ROWS, COLUMNS)
    there, here = remote.load_model(lambda: content, **options), ex.load_model(content, **options)
    one, sent = data.take([3]), data.with_matrix(data.matrix + 0.5)
    hundred = data.with_matrix(np.tile(data.matrix, (BATCHES, 1)))
    asked = (
        ("one row", "< 2 ms more", one, repeats),
        (f"{ROWS:,} rows, sent", "< 2 ms, < 5 %", sent, repeats),
        (f"{ROWS:,} rows, held", "< 2 ms, < 5 %", None, repeats),
        (f"{BATCHES} × {ROWS:,} rows in one request", "< 5 %", hundred, max(3, repeats // 5)),
    )
    found = []
    for what, target, cases, times in asked:
        ask = partial(remote.predict, there, data, cases)
        alone = partial(here.predict, (data if cases is None else cases).X)
        found.append(in_turn(f"{name}: {what}", target, ask, alone, lambda: remote.pool.pids, times))
    remote.pool.close()
    return found


def explained(parent: Starter, repeats: int) -> list[dict[str, Any]]:
    """Explanations of three cases, reports of progress included: each asks the model many times, in one request."""
    content, data = models.as_onnx(models.network(COLUMNS)), models.data(ROWS, COLUMNS)
    remote = Remote(Pool(parent, 1))
    there, here = remote.load_model(lambda: content), ex.load_model(content)
    rows, found = [0, 1, 2], []
    for explainer in (ex.KernelShap(budget=1024), ex.Lime(samples=5000), ex.IntegratedGradients(steps=64)):
        name = f"{type(explainer).__name__}, {len(rows)} cases"
        ask = partial(remote.explain, there, data, explainer, rows, None, None)
        alone = partial(ex.explain, here, data, explainer, rows)
        found.append(in_turn(name, "< 5 %", _values(ask), _values(alone), lambda: remote.pool.pids, repeats))
    remote.pool.close()
    return found


def _values(explain: Callable[[], Any]) -> Callable[[], np.ndarray]:
    return lambda: np.asarray(explain().values)


def large(parent: Starter, repeats: int) -> list[dict[str, Any]]:
    """Data sets that come back as they were sent: arrays of a megabyte travel in a memory file."""
    remote, found = Remote(Pool(parent, 1)), []
    for size in (1, 16, 64):
        pictures = np.random.default_rng(0).random((size * 4, 1, 256, 256), dtype=np.float32)
        content = _npz(pictures)
        ask = partial(remote.load_dataset, content)
        alone = partial(ex.load_dataset, content)
        found.append(
            in_turn(f"{size} MiB", "", _pixels(ask), _pixels(alone), lambda: remote.pool.pids, repeats)
        )
    remote.pool.close()
    return found


def _pixels(load: Callable[[], ex.Dataset]) -> Callable[[], np.ndarray]:
    return lambda: np.asarray(load().X)


def _npz(pictures: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=pictures)
    return buffer.getvalue()


def rows(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Lines of a table under `HEADS`."""
    return [_row(one) for one in found]


def _row(one: dict[str, Any]) -> list[str]:
    there, here = one["there"], one["here"]
    times = [ms(side["clock"][part]) for side in (there, here) for part in ("median", "p90")]
    return [
        one["name"], *times, ms(one["more"]["median"]), ms(one["more"]["p90"]), f"{one['overhead']:.1%}",
        ms(there["processor"]["median"]), ms(here["processor"]["median"]), f"{one['overhead_processor']:.1%}",
        f"{one['difference']:.1e} ({one['largest']:.2g})", str(one["repeats"]), one["target"],
    ]  # fmt: skip


def ms(seconds: float) -> str:
    """Two digits behind the point where they count."""
    return f"{1000 * seconds:,.2f} ms" if abs(seconds) < 0.1 else f"{1000 * seconds:,.0f} ms"


def verdict(found: Sequence[dict[str, Any]]) -> str:
    """Which targets were missed, in words: by the clock, and whether by processor time too."""
    slow = [_missed(one, 0.002, "more") for one in found if "2 ms" in one["target"]]
    much = [_missed(one, 0.05, "overhead") for one in found if "%" in one["target"]]
    return " ".join(
        f"Over {bound}: {'; '.join(filter(None, missed)) or 'none'}."
        for bound, missed in (("2 ms more per call", slow), ("5 % more", much))
    )


def _missed(one: dict[str, Any], bound: float, what: str) -> str:
    clock, processor = one[what], one[f"{what}_processor"]
    if isinstance(clock, dict):
        clock, processor = clock["median"], processor["median"]
    aside = "" if processor > bound else " (not by processor time)"
    return f"{one['name']}{aside}" if clock > bound else ""
