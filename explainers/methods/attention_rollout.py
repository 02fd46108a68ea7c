"""Attention rollout: how the tokens of a transformer reach its answer, through all layers of attention.

    A_l = r I + (1 - r) mean_heads(P_l), rows scaled to 1        R = A_L … A_2 A_1        (variant "rollout")
    A_l = mean_heads( (∂S_target/∂P_l ⊙ P_l)⁺ )        R ← R + A_l R, from R = I        (variant "gradient")

P_l (heads, t, t) are the probabilities of layer l, r the share of the residual connection (`residual`). What the answer's token
has of each input token is a row of R (in the second variant of R - I): that of the class token, which stands first, or the
mean over all tokens where there is none. The patches of a picture lie on a grid: ``diagnostics["map"]`` holds
``(m, 1, rows, columns)``, and `values` resized bilinearly to the picture. Of a sequence there is one value for each step, ``(m, t, 1)``.

Attention is seen wherever it is computed: torch's layers with or without their weights, `scaled_dot_product_attention`, a
softmax and a product in one's own code or in an ONNX file. Attention in windows is refused, as far as its shape tells it.

Abnar and Zuidema 2020, arXiv 2005.00928; Chefer, Gur and Wolf 2021, arXiv 2103.15679. Cost: one forward pass per case, with
"gradient" also a backward pass to the first layer's attention (with ``target="all"`` one per output).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.device import on_device, over_chunks
from explainers.errors import ExplainerError, InvalidSetting
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.gradients.default_layer import token_grid
from explainers.gradients.differentiate import each_slope
from explainers.gradients.inputs import module_inputs
from explainers.gradients.result import attribution
from explainers.gradients.scores import Score, differentiable
from explainers.gradients.targets import Targets
from explainers.lazily import lazily
from explainers.model import Model
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace

if TYPE_CHECKING:
    import torch

    from explainers.gradients.attention import AttentionLayer
else:
    torch = lazily("torch")

#: Tokens that may stand before the patches: a class token, and others such as registers.
MOST_EXTRA = 8

#: Stands beside every picture of this method.
CAUTIONS = {
    "rollout": "Attention rollout is the same for every class: it shows where tokens look, not what speaks for the target.",
    "gradient": "Attention is a part of the model only: what its other layers do with the tokens is not in these values.",
}

#: Why a model was refused, by the shape of a case: finding out costs a pass.
_REFUSED: WeakKeyDictionary[Model, dict[tuple[int, ...], str | None]] = WeakKeyDictionary()


@dataclass(frozen=True)
class AttentionRollout(Explainer):
    """What reaches the answer's token through attention: pictures ``(m, 1, h, w)``, sequences ``(m, t, 1)``; never negative.

    `head` (how heads become one) and `residual` (the share of a token that passes by the attention) are of the rollout only.
    """

    variant: Literal["rollout", "gradient"] = "rollout"
    head: Literal["mean", "max", "min"] = "mean"
    residual: Annotated[float | int, Range(0.0, 1.0)] = 0.5
    space: ScoreSpace = "auto"

    title: ClassVar[str] = "Attention rollout"
    question: ClassVar[str] = "Which parts reach the answer through the transformer's attention?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"attention", "gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("image", "sequence")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Abnar, Zuidema: Quantifying Attention Flow in Transformers, ACL 2020, arXiv 2005.00928; Chefer, Gur, Wolf: Generic "
        "Attention-model Explainability, ICCV 2021, arXiv 2103.15679"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Values of the target, or of all outputs, which are alike without gradients."""
        from explainers.gradients.attention import attention_layers

        inputs = module_inputs(problem.model, problem.cases.X)
        with differentiable(problem, self.space) as score:
            first = torch.tensor(inputs[:1], device=problem.device)
            layers = attention_layers(lambda: score(first))
            extra = _extra(layers[0].tokens, inputs.shape[1:])
            rows, scores = self._rows(score, layers, extra, inputs, problem, progress)
        values, coarse = _placed(rows, inputs.shape[1:], all_outputs=problem.all_outputs)
        diagnostics = {
            "exact": True,
            "evaluations": len(inputs),
            "layers": len(layers),
            "tokens": layers[0].tokens,
            "read at": "class token" if extra else "mean over all tokens",
            "map": coarse,
            "notes": (CAUTIONS[self.variant],),
        }
        names = ("picture",) if inputs.ndim == 4 else None
        return attribution(problem, score, values, scores, diagnostics, names=names)

    def _rows(
        self,
        score: Score,
        layers: tuple[AttentionLayer, ...],
        extra: int,
        inputs: np.ndarray,
        problem: Problem,
        progress: Progress,
    ) -> tuple[Float[np.ndarray, "m e p"], Float[np.ndarray, "m k"]]:
        """What the answer's token has of each patch or step, for the target (``e`` = 1) or of all outputs (``e = k``), and all scores."""
        targets = Targets(problem, score)

        def compute(part: slice) -> tuple[np.ndarray, np.ndarray]:
            x = torch.tensor(inputs[part], device=problem.device)
            if self.variant == "gradient":
                found, scores = _relevance(score, layers, extra, x, partial(targets.of, part))
            else:
                joint, scores = self._joint(score, layers, x)
                targets.of(part, scores)
                alike = scores.shape[1] if problem.all_outputs else 1
                found = _answering(joint, extra)[:, None].expand(-1, alike, -1)
            return found.cpu().numpy(), scores.detach().cpu().numpy()

        matrices = sum(4 * layer.heads * layer.tokens**2 for layer in layers)
        size = inputs[:1].nbytes * 48 + 6 * matrices
        found, scores = zip(*over_chunks(compute, len(inputs), size, problem.device, progress), strict=True)
        return np.concatenate(found), np.concatenate(scores)

    def _joint(
        self, score: Score, layers: tuple[AttentionLayer, ...], x: torch.Tensor
    ) -> tuple[Float[torch.Tensor, "n t t"], Float[torch.Tensor, "n k"]]:
        """The product over the layers, multiplied as they are computed."""
        from explainers.gradients.attention import Attending

        one = torch.eye(layers[0].tokens, device=x.device)
        joint = one.expand(len(x), -1, -1)

        def see(_place: int, matrix: torch.Tensor) -> torch.Tensor:
            nonlocal joint
            heads = matrix.float()
            fused = heads.mean(1) if self.head == "mean" else getattr(torch, f"a{self.head}")(heads, 1)
            mixed = self.residual * one + (1 - self.residual) * fused
            joint = mixed / mixed.sum(-1, keepdim=True).clamp(min=1e-30) @ joint
            return matrix

        with torch.no_grad(), Attending(layers, len(x), see):
            scores = score(x)
        return joint, scores

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:
        """One case is run, once for each model and shape, to see whether and over what it attends."""
        if model.module is None:
            return None
        known = _REFUSED.setdefault(model, {})
        shape = data.schema.shape or ()
        if shape not in known:
            known[shape] = _refusal(model, data)
        return known[shape]


def _relevance(
    score: Score,
    layers: tuple[AttentionLayer, ...],
    extra: int,
    x: torch.Tensor,
    targets: Callable[[torch.Tensor], torch.Tensor | None],
) -> tuple[Float[torch.Tensor, "n e p"], Float[torch.Tensor, "n k"]]:
    """The answering row of R - I for each output. To each probability a zero is added, at which the score is differentiated: one leaf for all layers."""
    from explainers.gradients.attention import Attending

    sizes = [layer.heads * layer.tokens**2 for layer in layers]
    zeros = torch.zeros(len(x), sum(sizes), device=x.device, requires_grad=True)
    parts = torch.split(zeros, sizes, dim=1)
    seen: list[torch.Tensor] = []

    def see(place: int, matrix: torch.Tensor) -> torch.Tensor:
        seen.append(matrix.detach().float())
        return matrix + parts[place].reshape(matrix.shape).to(matrix.dtype)

    with Attending(layers, len(x), see):
        scores = score(x)
    one = torch.eye(layers[0].tokens, device=x.device)
    found = []
    for slopes in each_slope(scores, zeros, targets(scores)):
        joint = one.expand(len(x), -1, -1)
        for matrix, slope in zip(seen, torch.split(slopes, sizes, dim=1), strict=True):
            joint = joint + torch.relu(slope.reshape(matrix.shape) * matrix).mean(1) @ joint
        found.append(_answering(joint - one, extra))
    return torch.stack(found, dim=1), scores


def _answering(joint: Float[torch.Tensor, "n t t"], extra: int) -> Float[torch.Tensor, "n p"]:
    """The class token's row, or the mean of all rows, without the tokens that stand before those of the case."""
    row: torch.Tensor = joint[:, 0, extra:] if extra else joint.mean(1)
    return row


def _extra(tokens: int, shape: tuple[int, ...]) -> int:
    """How many tokens stand before those of the case; raises `InvalidSetting` where they do not cover it."""
    if len(shape) == 2:
        if 0 <= tokens - shape[0] <= MOST_EXTRA:
            return tokens - shape[0]
        raise InvalidSetting(
            f"The model attends over {tokens} tokens; the sequences have {shape[0]} steps, and there is one value for each. "
            "Use a method for any network, such as IntegratedGradients or Occlusion."
        )
    for skipped in range(MOST_EXTRA):
        grid = token_grid(tokens - skipped, (shape[1], shape[2])) if tokens - skipped > 1 else None
        if grid is not None:
            return tokens - grid[0] * grid[1]
    raise InvalidSetting(
        f"The model attends over {tokens} tokens, which are no grid of patches of a picture of {shape[1]} × {shape[2]} (with at most "
        f"{MOST_EXTRA} tokens before them). Use a method for any network, such as IntegratedGradients or Occlusion."
    )


def _placed(
    rows: Float[np.ndarray, "m e p"], shape: tuple[int, ...], *, all_outputs: bool
) -> tuple[np.ndarray, np.ndarray]:
    """In the shape of the data, and as computed: ``(m, 1, h, w)`` and the grid, or ``(m, t, 1)`` twice; all outputs on a last axis."""
    if len(shape) == 2:
        steps = _outputs_last(rows[:, :, :, None], all_outputs=all_outputs)
        return steps, steps
    grid = token_grid(rows.shape[2], (shape[1], shape[2])) or (1, 1)
    maps = rows.reshape(*rows.shape[:2], *grid)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(maps), size=shape[1:], mode="bilinear", align_corners=False
    ).numpy()
    return tuple(_outputs_last(found[:, :, None], all_outputs=all_outputs) for found in (large, maps))  # type: ignore[return-value]  # two


def _outputs_last(values: np.ndarray, *, all_outputs: bool) -> np.ndarray:
    """From ``(m, e, …)`` to ``(m, …, e)``, or to ``(m, …)`` of the only one."""
    return np.ascontiguousarray(np.moveaxis(values, 1, -1) if all_outputs else values[:, 0])


def _refusal(model: Model, data: Dataset) -> str | None:
    """The sentence of what is wrong; ``None`` also where the model fails, which it says itself when it is explained."""
    from explainers.gradients.attention import attention_layers

    module = model.module
    assert module is not None
    home = next((p.device for p in module.parameters()), torch.device("cpu"))
    try:
        first = torch.tensor(module_inputs(model, data.take([0]).X), device=home)
        with on_device(module, home):
            layers = attention_layers(lambda: module(first))
        _extra(layers[0].tokens, tuple(first.shape[1:]))
    except InvalidSetting as error:
        return str(error)
    except (ExplainerError, RuntimeError, ValueError, TypeError):
        return None
    return None
