"""torch modules: predictions in portions, and the module itself for gradients and layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
import pandas as pd

from explainers.device import on_device, over_chunks
from explainers.explanation import Output, Space
from explainers.lazily import lazily
from explainers.model import Model
from explainers.module_layers import spatial_layers
from explainers.staged import Mixture, Staged
from explainers.wrapping.declared import contradiction, probabilities
from explainers.wrapping.torch_mixtures import answers, begins_linearly

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

_PROBABILITY_LAYERS = ("Softmax", "Sigmoid")

#: Modules that raised on pictures whose channels lie last in memory.
_CHANNELS_FIRST: WeakSet[torch.nn.Module] = WeakSet()


def _same(outputs: np.ndarray) -> np.ndarray:
    return outputs


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What a module answers for rows, which may also be a tensor, and what becomes of that."""

    module: torch.nn.Module
    end: Callable[[np.ndarray], np.ndarray] = _same

    def __call__(self, X: Any) -> np.ndarray:
        """Answers ``(n,)`` or ``(n, k)`` for rows of a data set or a float32 tensor of them on any device."""
        return self.end(forward(self.module, X))


def takes_tensors(model: Model) -> bool:
    """Whether `Model.scores` takes tensors too: whether what the model says is what its module answers."""
    return isinstance(model.predictor, Answers)


def wrap(module: torch.nn.Module, classes: tuple[Any, ...] | None, output: Output) -> Model:
    """A module from float32 rows to ``(n,)`` or ``(n, k)``.

    With `classes` its last layer decides whether it returns probabilities (softmax, sigmoid) or logits, unless
    `output` says so; logits become probabilities in `predict` and stay available as raw scores.
    """
    family = f"torch {type(module).__name__}"
    if classes is None:
        space: Space = "target" if output == "auto" else output
        return Model(
            Answers(module), "regression", space=space, family=family, module=module,
            staged=_in_stages(module, {space: _same}), declared=output,
        )  # fmt: skip
    looks = ends_in_probability(module)
    if output == "probability" or (output == "auto" and looks):
        end = probabilities if output == "probability" else _same
        return Model(
            Answers(module, end),
            "classification",
            classes,
            space="probability",
            family=family,
            module=module,
            staged=_in_stages(module, {"probability": end}),
            declared=output,
        )
    return Model(
        Answers(module, to_probability), "classification", classes, space="probability", family=family,
        raw_predictor=Answers(module, _margins), module=module,
        staged=_in_stages(module, {"probability": to_probability, "raw": _margins}),
        notes=(contradiction("its last layer is a softmax or a sigmoid"),) if looks else (),
        declared=output,
    )  # fmt: skip


def _in_stages(module: torch.nn.Module, ends: dict[str, Any]) -> Staged:
    """Rows as they are, and what becomes of the module's output in each space."""

    def of_mixtures(mixture: Mixture) -> np.ndarray:
        if not begins_linearly(module) or len(mixture) == 0:
            return forward(module, mixture.rows())
        with on_device(module, home_of(module)):
            return answers(module, mixture)  # type: ignore[arg-type]  # a plain sequence, as was just found

    def then(end: Any, first: Any) -> Any:
        return lambda rows: end(first(rows))

    return Staged(
        lambda frame: frame.to_numpy(dtype=np.float64),
        None,
        {space: then(end, lambda rows: forward(module, rows)) for space, end in ends.items()},
        {space: then(end, of_mixtures) for space, end in ends.items()},
    )


def ends_in_probability(module: torch.nn.Module) -> bool:
    """Whether the last leaf module (in the order of definition) is a softmax or a sigmoid."""
    leaves = [child for child in module.modules() if not list(child.children())]
    last = leaves[-1] if leaves else module
    return getattr(last, "op_type", type(last).__name__) in _PROBABILITY_LAYERS


def forward(module: torch.nn.Module, X: Any) -> np.ndarray:
    """The module's own output for rows of a data set (or a tensor of them), in portions, without gradients, on its own device."""
    rows = X if isinstance(X, torch.Tensor) else as_float32(X)
    home, dtype = home_of(module), number_type(module)
    row_bytes = rows[:1].nbytes * 24  # activations of a small network take some ten times its input

    def compute(part: slice) -> np.ndarray:
        with torch.inference_mode():
            piece = rows[part]
            # a copy: a module may begin with an in-place layer
            x = piece.clone() if isinstance(piece, torch.Tensor) else torch.tensor(piece)
            return np.asarray(_answer(module, x.to(home, dtype)).float().cpu().numpy())

    if len(rows) == 0:
        return np.empty((0, 1))
    with on_device(module, home):
        return np.concatenate(over_chunks(compute, len(rows), row_bytes, home))


def number_type(module: torch.nn.Module) -> torch.dtype:
    """The numbers that the module computes with: those of its first weights, float32 where it has none."""
    kinds = (weight.dtype for weight in module.parameters() if weight.is_floating_point())
    return next(kinds, torch.float32)


def _answer(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the module answers to rows that it may change.

    A processor convolves pictures faster where channels lie last in memory. To most modules that is all the same; one that insists
    on the other order (`Tensor.view` does) is asked in that, from then on at once.
    """
    if not _faster_last(module, x):
        return module(x)  # type: ignore[no-any-return]
    try:
        return module(x.clone(memory_format=torch.channels_last))  # type: ignore[no-any-return]
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        answer: torch.Tensor = module(x)
    _CHANNELS_FIRST.add(module)
    return answer


def _faster_last(module: torch.nn.Module, x: torch.Tensor) -> bool:
    if x.ndim != 4 or x.shape[1] == 1 or len(x) == 1 or x.device.type != "cpu":
        return False
    prepared = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return prepared and module not in _CHANNELS_FIRST and bool(spatial_layers(module))


def home_of(module: torch.nn.Module) -> torch.device:
    """Where a module lies: the device of its weights."""
    return next((p.device for p in module.parameters()), None) or next(
        (b.device for b in module.buffers()), torch.device("cpu")
    )


def as_float32(X: Any) -> np.ndarray:
    """Rows as a contiguous float32 array."""
    values = X.to_numpy(dtype=np.float32) if isinstance(X, pd.DataFrame) else X
    return np.ascontiguousarray(values, dtype=np.float32)


def to_probability(logits: np.ndarray) -> np.ndarray:
    """Softmax over columns; a single column is the margin of the second class."""
    if logits.ndim == 1 or logits.shape[1] == 1:
        return np.asarray(torch.sigmoid(torch.from_numpy(np.asarray(logits, dtype=np.float64))).numpy())
    return np.asarray(torch.softmax(torch.from_numpy(np.asarray(logits, dtype=np.float64)), dim=1).numpy())


def _margins(logits: np.ndarray) -> np.ndarray:
    score = logits.reshape(len(logits), -1)
    return np.hstack([-score, score]) if score.shape[1] == 1 else score
