"""`explain`: the one way to ask for an explanation, and `Request`, the key of everything computed."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from explainers.dataset import Dataset, positions
from explainers.device import pick
from explainers.errors import InvalidSetting, NotApplicable, SchemaMismatch
from explainers.explainer import Contrast, Explainer, Problem, why_not
from explainers.model import Model
from explainers.progress import Progress, silent
from explainers.registry import EXPLAINERS
from explainers.version import __version__, versions

Rows: TypeAlias = Sequence[Any] | np.ndarray | Dataset | pd.DataFrame | None


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked, by content: equal requests have equal answers, in every process that shares the digests."""

    explainer: Explainer
    model: str
    data: str
    rows: tuple[int, ...] | str | None
    target: Any
    background: str | None
    outputs: tuple[Any, ...] = ()
    version: str = __version__

    @classmethod
    def of(
        cls,
        model: Model,
        data: Dataset,
        explainer: Explainer,
        rows: Rows = None,
        target: Any = None,
        background: Dataset | None = None,
    ) -> Request:
        """The request of a call of `explain` with the same arguments."""
        which: tuple[int, ...] | str | None
        rows = _encoded(data, rows)
        if isinstance(rows, Dataset):
            which = rows.digest
        else:
            which = None if rows is None else tuple(int(i) for i in rows)
        background_digest = None if background is None else background.digest
        outputs = (model.space, *model.classes)  # a file's digest does not say how its outputs are named
        return cls(explainer, model.digest, data.digest, which, target, background_digest, outputs)


def explain(
    model: Model | object,
    data: Dataset | object,
    explainer: Explainer | type[Explainer],
    rows: Rows = None,
    target: Any = None,
    *,
    background: Dataset | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    progress: Progress | None = None,
) -> Any:
    """Explain cases of `data` (or other cases with its schema) with one explainer.

    Args:
        model: the model.
        data: always the reference for statistics, schema and background.
        explainer: an instance with its settings.
        rows: positions, or a `Dataset` of cases with the same schema, or a DataFrame of them (which has at least the
            features' columns, in any order), or ``None`` for all rows.
        target: a class label, an output index where there are no classes, ``"all"``, or ``None``: the only output,
            the positive class of two, else each row's predicted class. ``Contrast("cat", "dog")`` asks why the one and not the
            other, of explainers that can (`Explainer.contrasts`).
        background: reference cases; by default a seeded sample of the training rows of `data`.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        precision: ``"bfloat16"``: modules whose gradients are taken compute with 8 bits of precision where torch holds that sound, faster on
            a GPU. The first case is explained in float32 too, and ``diagnostics["cosine_to_float32"]`` says how alike they are.
        progress: called between chunks; what it raises stops the computation and passes through.

    Returns:
        The explainer's kind of result (`Explainer.returns`).

    Raises:
        NotApplicable: the explainer cannot explain this model (see `why_not`).
        ExplainerError: a row, target, setting or background that does not fit, or a model that fails.
    """
    if not isinstance(model, Model):
        raise InvalidSetting(
            f"The model must be wrapped first: Model.wrap(model); got {type(model).__name__}."
        )
    if not isinstance(data, Dataset):
        raise InvalidSetting(f"The data must be a Dataset: Dataset.from_frame(…); got {type(data).__name__}.")
    if isinstance(explainer, type):
        raise InvalidSetting(f"Pass an instance: {explainer.__name__}(), not the class.")
    reason = why_not(explainer, model, data)
    if reason:
        raise NotApplicable(f"{type(explainer).__name__}: {reason}")
    rows = _encoded(data, rows)
    cases = _cases(data, explainer, rows)
    if not len(cases):
        raise InvalidSetting("There are no cases to explain; the rows named are none.")
    problem = Problem(
        model=model,
        data=data,
        cases=cases,
        target=target,
        background=None if background is None else _compatible(background, data),
        device=pick(device),
        half=_half(explainer, precision),
    )
    if not (target is None or problem.all_outputs):
        _known_target(model, explainer, target)
    started = time.perf_counter()
    result = explainer.explain(problem, progress or silent)
    seconds = time.perf_counter() - started
    known = {**result.diagnostics, "seconds": seconds, "device": str(problem.device)}
    if problem.half:
        known |= {"precision": precision, "cosine_to_float32": _cosine(explainer, problem, result)}
    return dataclasses.replace(
        result,
        diagnostics=known,
        provenance=Provenance(model, data, explainer, rows, target, background),
    )


def _half(explainer: Explainer, precision: str) -> bool:
    """Whether to compute in bfloat16; raises where that says nothing."""
    if precision not in ("float32", "bfloat16"):
        raise InvalidSetting(f"precision is 'float32' or 'bfloat16'; got {precision!r}.")
    if precision == "bfloat16" and "gradients" not in explainer.needs:
        raise NotApplicable(
            f"{type(explainer).__name__} takes no gradients: its model answers in its own precision. Leave precision out."
        )
    return precision == "bfloat16"


def _cosine(explainer: Explainer, problem: Problem, result: Any) -> float | None:
    """Between the values of the first case and those in float32; ``None`` without values."""
    if not isinstance(getattr(result, "values", None), np.ndarray):
        return None
    one = dataclasses.replace(problem, cases=problem.cases.take([0]), half=False)
    exact: Any = explainer.explain(one, silent)
    plain, found = (
        np.asarray(values[0], dtype=np.float64).ravel() for values in (exact.values, result.values)
    )
    norms = np.linalg.norm(plain) * np.linalg.norm(found)
    return float(plain @ found / norms) if norms else float(np.array_equal(plain, found))


def cost(model: Model, data: Dataset, explainer: Explainer, rows: Rows = None) -> int | None:
    """Rows that the model is asked at most for `explain` with the same arguments, without asking any.

    ``None`` where the explainer does not know before. `diagnostics["evaluations"]` of the result says how many it were. Raises
    `ExplainerError` for rows that do not fit.
    """
    if rows is None:
        preferred = data.rows(explainer.default_role) if explainer.default_role else ()
        return explainer.evaluations(model, data, len(preferred) or len(data))
    if not isinstance(rows, (Dataset, pd.DataFrame)):
        rows = positions(rows, len(data))
    return explainer.evaluations(model, data, len(rows))


def _encoded(data: Dataset, rows: Rows) -> Sequence[Any] | np.ndarray | Dataset | None:
    """A frame of cases under the schema of `data`; anything else as it is."""
    if not isinstance(rows, pd.DataFrame):
        return rows
    if data.modality != "table":
        raise SchemaMismatch(
            f"The rows are a DataFrame, the data of modality {data.modality}; pass a Dataset."
        )
    return Dataset.from_frame(rows, schema=data.schema)


def _cases(data: Dataset, explainer: Explainer, rows: Rows) -> Dataset:
    if isinstance(rows, Dataset):
        return _compatible(rows, data)
    if rows is not None:
        return data.take(positions(rows, len(data)))
    preferred = data.rows(explainer.default_role) if explainer.default_role else np.empty(0, np.int64)
    return data.take(preferred) if len(preferred) else data


def _compatible(cases: Dataset, data: Dataset) -> Dataset:
    """`cases` under the schema of `data`; only names and values are checked, the schema is taken from `data`."""
    if cases.schema is data.schema:
        return cases
    if cases.modality != data.modality:
        raise SchemaMismatch(f"The cases are of modality {cases.modality}, the data of {data.modality}.")
    if data.modality != "table":
        if cases.schema.shape != data.schema.shape:
            raise SchemaMismatch(f"The cases have shape {cases.schema.shape}, the data {data.schema.shape}.")
        return cases
    if "matrix" in cases.__dict__ and cases.schema.features is data.schema.features:
        X, codes = cases.X, cases.matrix  # encoded by the same features
    else:
        codes = data.schema.encode(cases.X)
        X = data.schema.decode(codes)
    found = dataclasses.replace(cases, X=X, schema=data.schema)
    found.__dict__["matrix"] = codes  # what encoding them again would give
    return found


def _known_target(model: Model, explainer: Explainer, target: Any) -> None:
    """Refuse a wrong label before any work is done; an index is checked once the outputs are known."""
    if isinstance(target, Contrast) and not explainer.contrasts:
        able = ", ".join(kind.__name__ for kind in EXPLAINERS if kind.contrasts)
        raise NotApplicable(
            f"{type(explainer).__name__} explains one output, not a contrast of two; these can: {able}."
        )
    sides = (target.target, target.against) if isinstance(target, Contrast) else (target,)
    if model.classes:
        for side in sides:
            if side is not None:
                model.output_of(side, len(model.classes))


class Provenance(Mapping[str, Any]):
    """Where a result comes from; digests are computed when first read, so that `explain` stays fast."""

    KEYS = ("explainer", "target", "time", "versions", "model", "data", "rows", "background")

    def __init__(
        self,
        model: Model,
        data: Dataset,
        explainer: Explainer,
        rows: Rows,
        target: Any,
        background: Dataset | None,
    ) -> None:
        self._call = (model, data, explainer, rows, target, background)
        self._time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    @cached_property
    def _request(self) -> Request:
        return Request.of(*self._call)

    def __getitem__(self, key: str) -> Any:
        if key not in self.KEYS:
            raise KeyError(key)
        if key == "explainer":
            return repr(self._call[2])
        if key == "target":
            return self._call[4]
        if key == "time":
            return self._time
        if key == "versions":
            return versions()
        value = getattr(self._request, key)
        return list(value) if isinstance(value, tuple) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self.KEYS)

    def __len__(self) -> int:
        return len(self.KEYS)

    def __repr__(self) -> str:
        return repr(dict(self))


def applicable(model: Model, data: Dataset) -> list[tuple[type[Explainer], str | None]]:
    """Every registered explainer with ``None``, or with the reason why it does not apply here."""
    return [(kind, why_not(kind, model, data)) for kind in EXPLAINERS]
