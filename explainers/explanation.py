"""What explainers return: frozen values with numpy arrays on the CPU. Drawing is never their method."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np
import pandas as pd

Space = Literal["probability", "raw", "target"]

#: What may be declared of a model's own answers; ``"auto"``: it is found out.
Output = Literal["auto", "probability", "raw", "target"]
E = TypeVar("E", bound="Explanation")

if TYPE_CHECKING:
    CaseValues = Any  # who draws tables knows that they are one array
else:
    #: Values of cases: one array, or for texts, which have as many words as they like, one array each.
    CaseValues = np.ndarray | tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Reference:
    """What values are compared with: how many cases, of which role, in which space."""

    cases: int
    role: str
    space: str
    note: str = ""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Explanation:
    """Base of all results.

    Attributes:
        names: what the values belong to: feature names, channels, positions.
        diagnostics: what the method knows of itself: exact or estimated, evaluations, seconds, device, gaps.
        provenance: enough to repeat it: digests, explainer, rows, target, versions, time.
    """

    names: tuple[str, ...]
    diagnostics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    KINDS: ClassVar[dict[str, type[Explanation]]] = {}

    def __init_subclass__(cls) -> None:
        Explanation.KINDS[cls.__name__] = cls

    def __repr__(self) -> str:
        """One line: what is in it, arrays by their shapes, and what made it; `to_frame` has the numbers."""
        base = {field.name for field in dataclasses.fields(Explanation)}
        held = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in base}
        told = [f"{name}={_short(value)}" for name, value in held.items() if value is not None]
        made = self.provenance.get("explainer")
        return f"{type(self).__name__}({', '.join(told)}{f'; by {made}' if made else ''})"

    def to_frame(self) -> pd.DataFrame:
        """A table in long form, for a CSV."""
        raise TypeError(f"{type(self).__name__} has no table form.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; `from_dict` gives an equal result back."""
        fields = {f.name: _pack(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"kind": type(self).__name__, **fields}

    @classmethod
    def from_dict(cls: type[E], packed: Mapping[str, Any]) -> E:
        """The result that `to_dict` wrote down; raises ``ValueError`` where it is another kind."""
        kind = Explanation.KINDS.get(str(packed.get("kind")))
        if kind is None or not issubclass(kind, cls):
            raise ValueError(f"This holds {packed.get('kind')!r}, not a {cls.__name__}.")
        fields = {name: _unpack(value) for name, value in packed.items() if name != "kind"}
        return kind(**fields)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Attribution(Explanation):
    """How much each feature, pixel or token of each case contributed.

    Attributes:
        values: signed, never rescaled. Tables ``(m, d)``, images ``(m, c, h, w)`` or ``(m, 1, h, w)``; of texts one
            array ``(words,)`` each, whose words are ``diagnostics["tokens"]``. With ``target="all"`` a last axis ``k``.
        base_value, output: ``(m,)``, or ``(m, k)`` for all outputs, in `space`. For methods without a reference
            the base value is NaN.
        targets: the label of the output explained for each case; for ``"all"`` the labels of all outputs.
        standard_error: like `values`; error of the computation, ``None`` where exact or deterministic.
        background_error: like `values`; what another draw of reference cases would change; ``None`` without one.
        reference: what the values are compared with; ``None`` where there is no reference.
    """

    values: CaseValues
    base_value: np.ndarray
    output: np.ndarray
    space: str
    targets: tuple[Any, ...]
    standard_error: CaseValues | None = None
    background_error: CaseValues | None = None
    reference: Reference | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row per case and name (and output): value and both errors. Of texts one row per case and word."""
        if isinstance(self.values, tuple):
            return self._of_words()
        if self.values.ndim not in (2, 3) or self.values.shape[1] != len(self.names):
            flat = self.values.reshape(len(self.values), -1)
            cases, places = np.indices(flat.shape)
            return pd.DataFrame({"case": cases.ravel(), "place": places.ravel(), "value": flat.ravel()})
        index = np.indices(self.values.shape)
        table: dict[str, Any] = {
            "case": index[0].ravel(),
            "feature": np.array(self.names, dtype=object)[index[1].ravel()],
        }
        if self.values.ndim == 3:
            table["output"] = np.array(self.targets, dtype=object)[index[2].ravel()]
        table["value"] = self.values.ravel()
        for name in ("standard_error", "background_error"):
            error = getattr(self, name)
            table[name] = np.nan if error is None else error.ravel()
        return pd.DataFrame(table)

    def _of_words(self) -> pd.DataFrame:
        tokens = self.diagnostics.get("tokens") or [("",) * len(text) for text in self.values]
        rows = [(case, place, word) for case, text in enumerate(tokens) for place, word in enumerate(text)]
        table = pd.DataFrame(rows, columns=["case", "place", "word"])
        if self.base_value.ndim == 2:
            outputs = pd.DataFrame({"output": np.array(self.targets, dtype=object)})
            table = table.merge(outputs, how="cross")
        for name in ("values", "standard_error", "background_error"):
            found = getattr(self, name)
            numbers = np.nan if found is None else np.concatenate([np.empty(0), *map(np.ravel, found)])
            table["value" if name == "values" else name] = numbers
        return table


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Importance(Explanation):
    """One number per feature for a whole data set; `metric` says in words what the number is."""

    values: np.ndarray
    metric: str
    standard_error: np.ndarray | None = None
    background_error: np.ndarray | None = None
    reference: Reference | None = None
    groups: tuple[tuple[str, ...], ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """One row per feature."""
        error = np.nan if self.standard_error is None else self.standard_error
        return pd.DataFrame({"feature": list(self.names), "importance": self.values, "standard_error": error})


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PairAttribution(Explanation):
    """How much each feature of each case contributed alone, and each pair of features together.

    Attributes:
        values: signed, ``(m, d, d)``, with ``target="all"`` a last axis ``k``; symmetric: a pair's joint contribution is
            split equally between its two entries, and the diagonal is what remains for a feature alone. Row `i` sums to
            the feature's whole contribution, all values to output less base value.
        base_value, output: ``(m,)``, or ``(m, k)`` for all outputs, in `space`.
        targets: the label of the output explained for each case; for ``"all"`` the labels of all outputs.
        reference: what the values are compared with; ``None`` where there is no reference.
    """

    values: np.ndarray
    base_value: np.ndarray
    output: np.ndarray
    space: str
    targets: tuple[Any, ...]
    reference: Reference | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row per case and feature alone or pair (and output); a pair has the sum of both its entries."""
        first, second = np.triu_indices(len(self.names))
        both = np.where(first == second, 1.0, 2.0).reshape(-1, *[1] * (self.values.ndim - 3))
        found = self.values[:, first, second] * both
        index = np.indices(found.shape)
        names = np.array(self.names, dtype=object)
        table: dict[str, Any] = {
            "case": index[0].ravel(),
            "feature": names[first][index[1].ravel()],
            "with": np.where(first == second, "", names[second])[index[1].ravel()],
        }
        if found.ndim == 3:
            table["output"] = np.array(self.targets, dtype=object)[index[2].ravel()]
        return pd.DataFrame({**table, "value": found.ravel()})


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Interaction(Explanation):
    """How much pairs of features act together, for a whole data set.

    Attributes:
        values: symmetric ``(d, d)``: a share from 0 of the joint effect of each pair; on the diagonal that of each
            feature with all others.
        strength: the same in units of the prediction, ``(d, d)``.
        space: the scale of the predictions.
        targets: the label of the output for each case.
    """

    values: np.ndarray
    strength: np.ndarray
    space: str
    targets: tuple[Any, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per feature with all others, and per pair."""
        first, second = np.triu_indices(len(self.names))
        names = np.array(self.names, dtype=object)
        return pd.DataFrame(
            {
                "feature": names[first],
                "with": np.where(first == second, "all others", names[second]),
                "share": self.values[first, second],
                "strength": self.strength[first, second],
            }
        )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Effect(Explanation):
    """What the prediction does when one feature moves: one entry per feature in `names`.

    Attributes:
        grids: values of the feature (codes), ``(g,)`` each.
        mean: mean prediction over the cases at each grid value, ``(g,)`` each.
        curves: one curve per case, ``(m, g)`` each.
        standard_error: of the mean over cases, ``(g,)`` each.
        space: the scale of the predictions.
        targets: the label of the output for each case.
    """

    grids: tuple[np.ndarray, ...]
    mean: tuple[np.ndarray, ...]
    curves: tuple[np.ndarray, ...]
    standard_error: tuple[np.ndarray, ...]
    space: str
    targets: tuple[Any, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per feature and grid value."""
        parts = [
            pd.DataFrame({"feature": name, "at": grid, "mean": mean, "standard_error": error})
            for name, grid, mean, error in zip(
                self.names, self.grids, self.mean, self.standard_error, strict=True
            )
        ]
        return (
            pd.concat(parts, ignore_index=True)
            if parts
            else pd.DataFrame(columns=["feature", "at", "mean", "standard_error"])
        )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Counterfactuals(Explanation):
    """What the model would need to see to decide otherwise: for each case some changed copies, best first.

    Attributes:
        original: codes of the cases, ``(m, d)``.
        changed: codes of the suggestions, ``(m, q, d)``; rows of NaN where fewer than `q` were found.
        found: how many suggestions each case has, ``(m,)``.
        output: prediction of each suggestion, ``(m, q)``; NaN where there is none.
        before: prediction of each case, ``(m,)``.
        wanted: the output looked for, a label or a text like ``"at least 0.5"``.
        distance: standardised change of each suggestion, ``(m, q)``.
    """

    original: np.ndarray
    changed: np.ndarray
    found: np.ndarray
    output: np.ndarray
    before: np.ndarray
    wanted: str
    distance: np.ndarray
    space: str
    targets: tuple[Any, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per case, suggestion and changed feature."""
        rows = []
        for case, count in enumerate(self.found):
            for rank in range(int(count)):
                now, then = self.original[case], self.changed[case, rank]
                moved = ~((now == then) | (np.isnan(now) & np.isnan(then)))
                rows += [
                    (case, rank, self.names[j], now[j], then[j], self.output[case, rank])
                    for j in np.flatnonzero(moved)
                ]
        return pd.DataFrame(rows, columns=["case", "suggestion", "feature", "now", "then", "output"])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Visualizations(Explanation):
    """What units of a model respond to most: pictures made for them, and beside them the real ones they respond to most.

    Attributes:
        names: the units: classes, channels, or places in a channel.
        pictures: made pictures in the values of the data, ``(k, s, c, h, w)``: for each of `k` units `s` of them, from as many
            starts.
        activation, start: the response to each of them, and to what it was at the start, ``(k, s)`` in `space`.
        history: the response at each step, to the picture as it was moved for that step, ``(k, s, t)``; NaN at steps to come.
        examples, example_activation: positions among the explained cases of those with the highest response, best first, and
            the response, ``(k, e)``.
        space: the scale of the responses: that of the score, or ``"activation"`` for channels.
        targets: the labels of the outputs; of channels the names.
    """

    pictures: np.ndarray
    activation: np.ndarray
    start: np.ndarray
    history: np.ndarray
    examples: np.ndarray
    example_activation: np.ndarray
    space: str
    targets: tuple[Any, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per unit and picture, made or real; `picture` is the number of the start, or the position of the case."""
        made = [
            (name, "made", number, self.start[unit, number], self.activation[unit, number])
            for unit, name in enumerate(self.names)
            for number in range(self.activation.shape[1])
        ]
        real = [
            (name, "real", int(case), np.nan, value)
            for unit, name in enumerate(self.names)
            for case, value in zip(self.examples[unit], self.example_activation[unit], strict=True)
        ]
        return pd.DataFrame(
            [*made, *real], columns=["unit", "kind", "picture", "activation at start", "activation"]
        )


def _short(value: Any) -> str:
    """An array or a long sequence by its size, anything else as it prints."""
    if isinstance(value, np.ndarray):
        return f"<{' × '.join(map(str, value.shape))}>"
    if isinstance(value, tuple | list) and len(value) > 4:
        return f"<{len(value)}>"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_short, value))}{',' * (len(value) == 1)})"
    return repr(value)


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return {"__list__": [_pack(v) for v in value.tolist()]}
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"__array__": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Reference):
        return {"__reference__": dataclasses.asdict(value)}
    if isinstance(value, tuple):
        return {"__tuple__": [_pack(v) for v in value]}
    if isinstance(value, list):
        return [_pack(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _pack(v) for k, v in value.items()}
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(v) for v in value]
    if not isinstance(value, Mapping):
        return value
    if "__array__" in value:
        array = np.frombuffer(base64.b64decode(value["__array__"]), dtype=np.dtype(value["dtype"]))
        return array.reshape(value["shape"]).copy()
    if "__reference__" in value:
        return Reference(**value["__reference__"])
    if "__tuple__" in value:
        return tuple(_unpack(v) for v in value["__tuple__"])
    if "__list__" in value:
        return _objects([_unpack(v) for v in value["__list__"]])
    return {k: _unpack(v) for k, v in value.items()}


def _objects(values: list[Any]) -> np.ndarray:
    """An array of objects; arrays in it stay apart, whatever their shapes."""
    if not any(isinstance(value, np.ndarray) for value in values):
        return np.array(values, dtype=object)
    found = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        found[i] = value
    return found
