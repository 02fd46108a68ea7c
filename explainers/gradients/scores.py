"""The score that is differentiated: the module's own output, in the columns and the space that were asked for.

Columns are those of `Model.predict`. A module with one output for two classes gets its second column from the first:
``[-z, z]`` for a logit, ``[1 - p, p]`` for a probability. Spaces:

- ``"auto"``: what the module returns, with nothing appended: ``"raw"`` for logits, ``"probability"`` after a softmax or
  sigmoid, ``"target"`` for a regression.
- ``"raw"``: the logit; of a module that ends in a softmax or sigmoid the value that goes into it.
- ``"probability"``: of a module that returns logits, their softmax (sigmoid for a single one).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.device import on_device
from explainers.errors import ExplainerError, InvalidSetting, ModelFailure, NotApplicable
from explainers.explainer import Problem
from explainers.explanation import Space
from explainers.gradients.capture import last_call
from explainers.gradients.inputs import module_inputs
from explainers.lazily import lazily
from explainers.model import Model
from explainers.wrapping.declared import probabilities
from explainers.wrapping.torch_module import ends_in_probability, number_type

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Where p (1 - p), the slope of a sigmoid, is below this, a gradient of the probability is next to nothing.
SATURATED = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """A function from float32 inputs ``(n, …)`` to scores ``(n, k)`` that torch can differentiate.

    Attributes:
        model, module: the model, and its module on the device of the computation.
        own: the space of what the module returns.
        space: the space of the scores.
        against: an output that is taken off all of them, where a contrast is explained.
        half: whether the module computes in bfloat16 where torch holds that sound.
    """

    model: Model
    module: torch.nn.Module
    own: str
    space: str
    against: int | None = None
    half: bool = False

    @property
    def kind(self) -> tuple[Any, ...]:
        """What a pass depends on beside the module's parts: spaces and number types."""
        return self.own, self.space, self.half, str(number_type(self.module))

    @property
    def decides(self) -> bool:
        """Whether the highest score is the predicted class: before a sigmoid scores differ that are one probability behind it."""
        return not (self.own == "probability" and self.space == "raw")

    def __call__(self, x: torch.Tensor) -> Float[torch.Tensor, "n k"]:
        """Scores; raises `ModelFailure` when the module raises or answers another shape or NaN."""
        if self.own == "probability" and self.space == "raw":
            return self._columns(self._before_probability(x), len(x))
        answer = self._ask(x)
        if self.own == "raw" and self.space == "probability":
            answer = answer.reshape(len(x), -1)
            answer = torch.sigmoid(answer) if answer.shape[1] == 1 else torch.softmax(answer, dim=1)
        return self._columns(answer, len(x))

    def _ask(self, x: torch.Tensor) -> torch.Tensor:
        try:
            with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.half):
                # a module that begins with an in-place layer changes its copy
                answer = self.module(x.to(number_type(self.module), copy=True))
        except (ExplainerError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            raise ModelFailure(
                f"The model raised an error for {len(x)} cases of shape {tuple(x.shape[1:])}. {text}"
            ) from error
        if not isinstance(answer, torch.Tensor):
            raise ModelFailure(
                f"The model answered {type(answer).__name__}, not one tensor. Wrap a module that returns its scores."
            )
        return answer

    def _columns(self, answer: torch.Tensor, count: int) -> Float[torch.Tensor, "n k"]:
        if answer.ndim not in (1, 2) or len(answer) != count:
            raise ModelFailure(
                f"The model answered shape {tuple(answer.shape)} for {count} cases; expected ({count},) or ({count}, k)."
            )
        scores = answer.reshape(count, -1).float()
        if self.model.declared == self.space == self.own == "probability":
            probabilities(scores.detach().cpu().numpy())
        if not torch.isfinite(scores).all():
            raise ModelFailure(
                f"The model answered NaN or infinity for some of {count} cases. Check missing values in the data."
            )
        classes = len(self.model.classes)
        if classes == 2 and scores.shape[1] == 1:
            scores = torch.cat([1 - scores if self.space == "probability" else -scores, scores], dim=1)
        if classes and scores.shape[1] != classes:
            raise ModelFailure(f"The model has {classes} classes but answered {scores.shape[1]} outputs.")
        return scores if self.against is None else scores - scores[:, [self.against]]

    def _before_probability(self, x: torch.Tensor) -> torch.Tensor:
        """What goes into the last softmax or sigmoid, which must be the module's very last step."""
        leaf = [child for child in self.module.modules() if not list(child.children())][-1]
        with last_call(leaf) as call:
            answer = self._ask(x)
        before, after = call.argument, call.output
        same = before is not None and after is not None and after.numel() == answer.numel() == before.numel()
        if (
            before is None
            or after is None
            or not same
            or not torch.equal(after.reshape(answer.shape), answer)
        ):
            raise InvalidSetting(
                f"The value before the last {type(leaf).__name__} cannot be had: the model goes on after it. Use space='auto'."
            )
        return before.reshape(answer.shape)


@contextlib.contextmanager
def differentiable(problem: Problem, space: str) -> Iterator[Score]:
    """The score of a problem, ready to be differentiated; modes, devices and flags are put back at the end."""
    model = problem.model
    if model.module is None:
        raise NotApplicable(f"Needs gradients; this model ({model.family}) has none.")
    with (
        on_device(model.module, problem.device) as module,
        _recurrent_layers(module, problem.device),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        own = own_space(model, module, problem.data)
        yield Score(model, module, own, resolved(space, own, model, module), problem.against, problem.half)


def own_space(model: Model, module: torch.nn.Module, data: Dataset) -> Space:
    """The space of what the module itself returns.

    Raw scores beside a last layer that is a softmax leave it open (the layer may be called earlier): the first case tells.
    """
    if model.raw_predictor is None:
        return model.space
    if model.space != "probability" or not ends_in_probability(module):
        return "raw"
    first = data.take([0])
    x = torch.tensor(module_inputs(model, first.X), device=next(module.parameters(), torch.empty(0)).device)
    answer = Score(model, module, "probability", "probability")(x).detach().cpu().numpy()
    return "probability" if np.allclose(answer, model.predict(first.X), atol=1e-4) else "raw"


def resolved(space: str, own: str, model: Model, module: torch.nn.Module) -> str:
    """The space for ``"auto"``, or the one asked for; raises `InvalidSetting` where it cannot be had."""
    if space in ("auto", own):
        return own
    if space == "probability" and own == "raw" and model.classes:
        return space
    if space == "raw" and own == "probability" and ends_in_probability(module):
        return space
    raise InvalidSetting(
        f"This model ({model.family}) returns the space {own!r} and {space!r} cannot be had; use space='auto'."
    )


def saturation_notes(scores: np.ndarray, space: str) -> tuple[str, ...]:
    """A warning where probabilities are so near to 0 or 1 that their gradients nearly vanish."""
    if space != "probability":
        return ()
    flat = np.abs(scores * (1 - scores)).reshape(len(scores), -1) < SATURATED
    count = int(flat.any(axis=1).sum())
    if count == 0:
        return ()
    return (
        f"The probability is saturated for {count} of {len(scores)} cases, so its gradient nearly vanishes; space='raw' shows more.",
    )


def _recurrent_layers(
    module: torch.nn.Module, device: torch.device
) -> contextlib.AbstractContextManager[None]:
    """cuDNN refuses the backward pass of recurrent layers in eval mode; torch's own kernels do not."""
    if device.type == "cuda" and any(isinstance(child, torch.nn.RNNBase) for child in module.modules()):
        return torch.backends.cudnn.flags(enabled=False)
    return contextlib.nullcontext()
