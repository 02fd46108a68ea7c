"""The only asker of values: a store of results in front of whoever computes them, and errors in words.

Everything computed is kept under its `Request`, so panels that ask for the same values share them, and visitors who ask
at the same moment wait for one computation. A prepared workspace's store serves every visitor; an upload's store lives
and dies with its session. Models are never here: an `Engine` answers, and that is a pool of worker processes.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import threading
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

import explainers as ex
from dashboard.checks import Check, Report
from dashboard.costs import MINUTES, Costs, Partial, about, cost_text
from dashboard.early import Early
from dashboard.running import Run, Runs

log = logging.getLogger("whyboard")

#: Bytes of results a store keeps before it drops those not used for longest.
STORE_BYTES = 256 * 2**20

#: The same for the coarser results of what is still computed, or was stopped.
PARTIAL_BYTES = 32 * 2**20


class Store:
    """Results by key, the least recently used dropped first; safe to share between threads."""

    def __init__(self, limit: int = STORE_BYTES) -> None:
        self._limit = limit
        self._items: collections.OrderedDict[Hashable, tuple[Any, int]] = collections.OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any | None:
        """The value, now the most recently used, or ``None``."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def put(self, key: Hashable, value: Any) -> None:
        """Keep a value; drops others until the limit holds."""
        size = size_of(value)
        with self._lock:
            self._bytes += size - self._items.pop(key, (None, 0))[1]
            self._items[key] = (value, size)
            while self._bytes > self._limit and len(self._items) > 1:
                self._bytes -= self._items.popitem(last=False)[1][1]

    def drop(self, key: Hashable) -> None:
        """Forget a value, where there is one."""
        with self._lock:
            self._bytes -= self._items.pop(key, (None, 0))[1]

    def retry(self) -> None:
        """Forget the failures that a second attempt may not meet."""
        with self._lock:
            for key, (value, size) in list(self._items.items()):
                if isinstance(value, Failure) and value.again:
                    del self._items[key]
                    self._bytes -= size


class Passing(ex.ExplainerError):
    """A failure that may be gone in a moment, such as too many visitors: it is never kept."""


class Crashed(ex.ModelFailure):
    """Whoever computed ended on the way. It is kept until the visitor does something: then it is tried once more."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """A computation that ended in an error, kept so that it is shown and not repeated; `again`: not without a click."""

    message: str
    again: bool = False


@dataclasses.dataclass(frozen=True)
class Job:
    """A computation that a page shows as pending: what people call it, how to ask for it, and what it costs where that is much.

    `seconds`: those of one that takes minutes, which waits for what is sooner done; else 0.
    """

    title: str
    key: Hashable
    run: Callable[[ex.Progress], Any]
    cost: str = ""
    seconds: float = 0.0


class Engine(Protocol):
    """Whoever holds models and can be asked; raises only `ExplainerError`, and what progress raises."""

    def explain(self, model: ex.Model, data: ex.Dataset, explainer: ex.Explainer, rows: Any, target: Any, progress: ex.Progress | None) -> ex.Explanation:  # fmt: skip
        """What `explainers.explain` returns."""

    def check_map(self, model: ex.Model, data: ex.Dataset, check: Check, result: ex.Attribution | None, progress: ex.Progress) -> Report:  # fmt: skip
        """What `dashboard.checks.measured` returns."""

    def predict(self, model: ex.Model, data: ex.Dataset, cases: ex.Dataset | None = None) -> np.ndarray:
        """Predictions for all rows, or for other cases with the schema of `data`; ``(n, k)``."""

    def applicable(self, model: ex.Model, data: ex.Dataset) -> Mapping[str, str | None]:
        """For each explainer by name ``None``, or why it does not apply."""


class Compute:
    """Answers requests from the store, or lets them be computed; raises only `ExplainerError`."""

    def __init__(self, engine: Engine, store: Store | None = None) -> None:
        self.engine = engine
        self.store = store or Store()
        self.costs = Costs(engine.predict, self.store)
        self._partials = Store(PARTIAL_BYTES)
        self._runs = Runs()
        self._guard = threading.Lock()
        self._running: dict[Hashable, threading.Lock] = {}

    def ask(self, model: ex.Model, data: ex.Dataset, explainer: ex.Explainer, rows: Any = None, target: Any = None, progress: ex.Progress | None = None, early: Early | None = None) -> Any:  # fmt: skip
        """The result of `explain`; computed at most once for equal requests, where somebody looks on in the parts of `early`.

        Raises `ExplainerError`.
        """
        key = ex.Request.of(model, data, explainer, rows, target)

        def note(done: int, total: int, partial: ex.Explanation | None = None) -> None:
            if partial is not None:
                self.note(key, Partial(partial, done, total))
            if progress is not None:
                progress(done, total, partial)

        def explain(explainer: ex.Explainer, rows: Any, report: ex.Progress | None) -> ex.Explanation:
            where = ex.Provenance(model, data, explainer, rows, target, None)

            def placed(done: int, total: int, partial: ex.Explanation | None = None) -> None:
                assert report is not None
                shown = None if partial is None else dataclasses.replace(partial, provenance=where)
                report(done, total, shown)

            return self.engine.explain(model, data, explainer, rows, target, placed if report else None)

        def make() -> ex.Explanation:
            if early is None or progress is None:
                result = explain(explainer, rows, progress and note)
            else:
                where = ex.Provenance(model, data, explainer, rows, target, None)
                result = dataclasses.replace(early(explain, note), provenance=where)
            self.costs.learn(model, data, result, explainer)
            return result

        found = self.kept(key, make, progress)
        self._partials.drop(key)
        return found

    def note(self, key: Hashable, partial: Partial) -> None:
        """Keep a coarser result, until there is a finer one; it never becomes the result."""
        held = self._partials.get(key)
        if held is None or partial.share >= held.share:
            self._partials.put(key, partial)

    def partial(self, key: Hashable) -> Partial | None:
        """The finest of the coarser results of what is still computed, or was stopped."""
        found: Partial | None = self._partials.get(key)
        return found

    def begin(self, job: Job, who: Hashable) -> Run:
        """Have a job computed aside, or join whoever waits for the same; `who` watches it until they leave."""
        return self._runs.join(job.key, job.run, who)

    def known(self, model: ex.Model, data: ex.Dataset, explainer: ex.Explainer, rows: Any = None, target: Any = None) -> Any | None:  # fmt: skip
        """What the store holds for this request: a result, a `Failure`, or ``None``."""
        return self.store.get(ex.Request.of(model, data, explainer, rows, target))

    def job(self, title: str, model: ex.Model, data: ex.Dataset, explainer: ex.Explainer, rows: Any = None, target: Any = None, early: Early | None = None) -> Job:  # fmt: skip
        """The same request as something to run later with progress, in the parts of `early`."""
        key = ex.Request.of(model, data, explainer, rows, target)
        seconds = self.costs.seconds(model, data, explainer, rows)
        return Job(
            title,
            key,
            lambda progress: self.ask(model, data, explainer, rows, target, progress, early),
            cost_text(explainer, data, rows, seconds),
            seconds if seconds and seconds > MINUTES else 0.0,
        )

    def checking(self, title: str, model: ex.Model, data: ex.Dataset, check: Check, result: ex.Attribution | None) -> Job:  # fmt: skip
        """A check of a map as something to run later with progress."""
        key = ("check", model.digest, model.space, *model.classes, data.digest, check)

        def run(progress: ex.Progress) -> Any:
            return self.kept(
                key, lambda: self.engine.check_map(model, data, check, result, progress), progress
            )

        seconds = self.costs.of_check(model, data, check)
        return Job(title, key, run, about(seconds), seconds if seconds and seconds > MINUTES else 0.0)

    def predict(self, model: ex.Model, data: ex.Dataset, cases: ex.Dataset) -> np.ndarray:
        """Predictions for a few cases with the schema of `data`, ``(m, k)``, not kept."""
        return self.engine.predict(model, data, cases)

    def why_not(self, kind: type[ex.Explainer], model: ex.Model, data: ex.Dataset) -> str | None:
        """Why an explainer does not apply here, in one sentence, or ``None``."""
        key = ("applicable", model.digest, data.digest)
        reasons: Mapping[str, str | None] = self.kept(key, lambda: self.engine.applicable(model, data))
        return reasons[kind.__name__]

    def predictions(self, model: ex.Model, data: ex.Dataset) -> np.ndarray:
        """Predictions for every row of the data, ``(n, k)``."""
        answer = self.kept(("predictions", model.digest, data.digest), lambda: self.costs.opened(model, data))
        assert isinstance(answer, np.ndarray)
        return answer

    def kept(self, key: Hashable, make: Callable[[], Any], progress: ex.Progress | None = None) -> Any:
        """A value from the store, or made now and kept. What is stopped half-way is not kept."""
        found = self.store.get(key)
        if found is None:
            with self._once(key, progress):
                found = self.store.get(key)  # another visitor may have computed it while we waited
                found = _make(key, make, self.store) if found is None else found
        if isinstance(found, Failure):
            raise ex.ExplainerError(found.message)
        return found

    @contextlib.contextmanager
    def _once(self, key: Hashable, progress: ex.Progress | None) -> Iterator[None]:
        """One computation of a key at a time. Waiting can be interrupted."""
        with self._guard:
            turn = self._running.setdefault(key, threading.Lock())
        while not turn.acquire(timeout=0.1):
            if progress is not None:
                progress(0, 1)
        try:
            yield
        finally:
            turn.release()
            with self._guard:
                self._running.pop(key, None)


def _make(key: Hashable, make: Callable[[], Any], store: Store) -> Any:
    try:
        result = make()
    except Passing:
        raise
    except ex.ExplainerError as error:
        result = Failure(str(error), isinstance(error, Crashed))
    except ex.Cancelled:
        raise
    except Exception as error:
        # Values of a case may stand in the message, so it goes to the log without them and never to the page.
        trace = "".join(traceback.format_tb(error.__traceback__))
        log.error("unexpected %s while computing\n%s", type(error).__name__, trace)
        result = Failure(f"This could not be computed: an unexpected {type(error).__name__}. Your data and selection are still here.")  # fmt: skip
    store.put(key, result)
    return result


def size_of(value: Any) -> int:
    """Roughly what a result holds: its arrays and texts, and a little."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, (str, bytes)):
        return len(value) + 64
    if isinstance(value, (tuple, list)):
        return sum(size_of(item) for item in value) + 64
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(size_of(getattr(value, field.name)) for field in dataclasses.fields(value)) + 256
    if isinstance(value, dict):
        return sum(size_of(item) for item in value.values()) + 64
    return 64
