"""The explainer: a frozen dataclass of settings that maps a problem to a result.

Its fields do four jobs: the settings form in the dashboard, the cache key, the reproduction line under a panel,
and the default configuration. A constructor without arguments is always valid; no explainer inherits from another.
"""

from __future__ import annotations

import abc
import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting
from explainers.explanation import Explanation, Reference
from explainers.lazily import lazily
from explainers.model import Model
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import validate

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

Need = Literal["gradients", "layers", "attention", "trees", "raw", "truth", "several rows"]


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A target of its own kind: why this output and not that one. What is explained is the difference of their scores.

    `target` may be ``None``: the predicted class of each case (of two classes the positive one).
    """

    target: Any
    against: Any

    def __str__(self) -> str:
        return f"{self.target} and not {self.against}"


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What `explain` was asked, with every name resolved.

    Attributes:
        model: the model.
        data: the reference for statistics, schema and background.
        cases: the ``m`` cases to explain.
        target: as the caller said it: ``None``, ``"all"``, a label or an index, or a `Contrast`.
        background: reference cases given by the caller, or ``None``: then `reference_cases` draws them.
        device: where to compute.
        half: whether modules whose gradients are taken compute in bfloat16 where torch holds that sound (autocast).
    """

    model: Model
    data: Dataset
    cases: Dataset
    target: Any
    background: Dataset | None
    device: torch.device
    half: bool = False

    @cached_property
    def predictions(self) -> np.ndarray:
        """What the model says of the cases, ``(m, k)``, in the model's own space."""
        return self.model.predict(self.cases.X)

    @property
    def all_outputs(self) -> bool:
        """Whether every output is wanted."""
        return isinstance(self.target, str) and self.target == "all" and "all" not in self.model.classes

    @cached_property
    def outputs(self) -> int:
        """How many outputs the model has; where no classes tell, it is asked for one case."""
        if self.model.classes:
            return len(self.model.classes)
        if "predictions" in self.__dict__ or len(self.cases) < 2:
            return int(self.predictions.shape[1])
        return int(self.model.predict(self.cases.take([0]).X).shape[1])

    @cached_property
    def targets(self) -> np.ndarray:
        """The output explained for each case, ``(m,)``: the only one, the positive class, or the predicted class."""
        m, k = len(self.cases), self.outputs
        wanted = self.target.target if isinstance(self.target, Contrast) else self.target
        if wanted is not None and not self.all_outputs:
            return np.full(m, self.model.output_of(wanted, k), dtype=np.int64)
        if k == 1:
            return np.zeros(m, dtype=np.int64)
        if k == 2 and self.model.classes:
            return np.ones(m, dtype=np.int64)
        return np.asarray(self.predictions.argmax(axis=1), dtype=np.int64)

    @property
    def undecided(self) -> bool:
        """Whether predicted classes are explained that nobody has asked for yet; any scores of the cases tell them too.

        In half precision they might tell others.
        """
        wanted = self.target is None and len(self.model.classes) > 2 and not self.half
        return wanted and not {"targets", "predictions"} & self.__dict__.keys()

    def decide(self, targets: np.ndarray) -> None:
        """Take the predicted classes ``(m,)`` from scores that were computed anyway; where they are known nothing changes."""
        if self.undecided:
            self.__dict__["targets"] = targets  # where the cached property would keep them

    @cached_property
    def against(self) -> int | None:
        """The output that a `Contrast` takes off; raises `InvalidSetting` where it is what is explained."""
        if not isinstance(self.target, Contrast):
            return None
        against = self.model.output_of(self.target.against, self.outputs)
        same = np.flatnonzero(self.targets == against)
        if len(same):
            raise InvalidSetting(
                f"Nothing tells {self.target.against!r} from itself: it is what is explained of {len(same)} of {len(self.cases)} "
                f"cases. Name another class on one side of the contrast."
            )
        return against

    @property
    def targets_or_all(self) -> np.ndarray | None:
        """The output explained for each case, ``(m,)``, or ``None`` where all outputs are wanted."""
        return None if self.all_outputs else self.targets

    @property
    def target_labels(self) -> tuple[Any, ...]:
        """The labels of what is explained: one for each case, or one for each output."""
        names = self.model.classes or tuple(range(self.outputs))
        if self.all_outputs:
            return names
        against = self.against
        if against is not None:
            return tuple(Contrast(names[target], names[against]) for target in self.targets)
        labels = np.empty(len(names), dtype=object)
        labels[:] = names
        return tuple(labels[self.targets].tolist())

    def of_targets(self, values: np.ndarray) -> np.ndarray:
        """From ``(m, …, k)`` the wanted output of each case, ``(m, …)``; unchanged where all are wanted."""
        if self.all_outputs:
            return values
        if self.against is not None:
            values = np.asarray(values - values[..., [self.against]])
        if len(values) and (self.targets == self.targets[0]).all():
            return np.asarray(values[..., self.targets[0]]).copy()
        index = self.targets.reshape(-1, *([1] * (values.ndim - 1)))
        return np.take_along_axis(values, index, axis=-1)[..., 0]

    def error_of_targets(self, values: np.ndarray) -> np.ndarray:
        """Like `of_targets` for errors; of a contrast the sum of both, which theirs is at most."""
        if self.against is None:
            return np.asarray(np.abs(self.of_targets(values)))
        index = self.targets.reshape(-1, *([1] * (values.ndim - 1)))
        own = np.take_along_axis(np.abs(values), index, axis=-1)[..., 0]
        return np.asarray(own + np.abs(values[..., self.against]))

    def reference_cases(self, size: int, seed: int) -> Dataset:
        """The background: the caller's, or a seeded sample of the training rows (of all rows where unknown)."""
        if self.background is not None:
            return self.background
        return self.data.reference(size, seed)

    def reference(self, background: Dataset, space: str) -> Reference:
        """How the background is described in the result."""
        roles = set(np.unique(background.role))
        role = roles.pop() if len(roles) == 1 else "mixed"
        note = "may include training rows" if role == "unknown" else ""
        return Reference(len(background), role, space, note)


class Explainer(abc.ABC):
    """A method of explanation. Subclasses are frozen dataclasses; `__post_init__` may only validate.

    Class facts:
        title: how people call it. question: what it answers, in plain words. scope: one case, or the data set.
        needs: abilities of the model or the data. modalities: what it works on. returns: the kind of result.
        paper: where it comes from.
        default_role: the rows explained when none are named: ``"test"`` where training rows would flatter.
        contrasts: whether it explains a `Contrast`: its values follow the scores linearly, or from their gradient.
    """

    title: ClassVar[str]
    question: ClassVar[str]
    scope: ClassVar[Literal["case", "data"]]
    needs: ClassVar[frozenset[Need]] = frozenset()
    modalities: ClassVar[tuple[Modality, ...]] = ("table",)
    returns: ClassVar[type[Explanation]]
    paper: ClassVar[str]
    default_role: ClassVar[str | None] = None
    contrasts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        validate(self)

    @abc.abstractmethod
    def explain(self, problem: Problem, progress: Progress) -> Explanation:
        """Compute; called by `explainers.explain`, which adds timing and provenance."""

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """Rows that the model is asked at most to explain so many cases of `data`; ``None`` where that is not known before."""
        return None

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:  # noqa: ARG003  for those who override it
        """A further reason against this model and these data, beyond `needs` and `modalities`."""
        return None


_LACKS = {
    "gradients": "Needs gradients; this model ({family}) has none.",
    "layers": "Needs a convolutional layer; this model ({family}) has none.",
    "attention": "Needs attention that can be seen (a transformer in torch or ONNX); this model ({family}) has none.",
    "trees": "Needs a tree model; this is {family}.",
    "raw": "Needs raw scores; this model ({family}) gives none.",
}


def why_not(explainer: Explainer | type[Explainer], model: Model, data: Dataset) -> str | None:
    """The sentence shown beside a disabled choice, or ``None`` where the explainer applies."""
    kind = explainer if isinstance(explainer, type) else type(explainer)
    if data.modality not in kind.modalities:
        return f"Explains {' and '.join(kind.modalities)} data; these are of modality {data.modality}."
    for need in sorted(kind.needs):
        if need == "truth" and data.y is None:
            return "Needs the true outcome; these data have no target column."
        if need == "several rows" and len(data) < 2:
            return "Needs at least two cases; these data have one."
        if need in _LACKS and need not in model.abilities:
            return _LACKS[need].format(family=model.family) + _because(model)
    return kind.why_not_here(model, data)


def _because(model: Model) -> str:
    """What loading said of missing gradients, such as the operator of an ONNX file that stops them."""
    if "gradients" in model.abilities:
        return ""
    return "".join(f" {note}" for note in model.notes if "gradient methods do not" in note)


def resolve_space(space: str, model: Model, preferred: str | None = None) -> str:
    """The space for ``"auto"`` (what `predict` returns, or `preferred`), or the one asked for.

    Raises `InvalidSetting` where the model does not have it.
    """
    if space == "auto":
        return preferred or model.space
    if space == "raw" and "raw" not in model.abilities:
        raise InvalidSetting(f"This model ({model.family}) has no raw score; use space='auto'.")
    if space == "probability" and model.space != "probability":
        raise InvalidSetting(f"This model ({model.family}) gives no probabilities; use space='auto'.")
    return space
