"""Linear models, support vector machines and scaling of ai.onnx.ml: all with gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from explainers.onnx.errors import UnsafeOnnx
from explainers.onnx.graph import Data
from explainers.onnx.operators.classes import Labels, both_classes, post_transform, regressed, transformed
from explainers.onnx.operators.operator import Attributes, Operator

MOST_TURNS = 100


def real(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.float()


class MlOperator(Operator):
    """Base: numbers that the file writes as attributes become weights or buffers, as constants do elsewhere."""

    coefficients: Tensor
    rho: Tensor
    support_vectors: Tensor
    prob_a: Tensor
    prob_b: Tensor

    def hold(self, attributes: Attributes, name: str, shape: tuple[int, ...] | None = None) -> Tensor | None:
        values = attributes.values(name)
        if values is None or not values.numel():
            return None
        try:
            shaped = values.float().reshape(shape or (-1,))
        except RuntimeError as error:
            raise UnsafeOnnx(
                f"{attributes.node} holds {values.numel()} {name}, which do not fit its shape {shape}: it is damaged. "
                "Export the model again."
            ) from error
        self._hold(name, shaped)
        return shaped


class LinearClassifier(MlOperator):
    """Labels, and scores x @ coefficients + intercepts as probabilities."""

    max_outputs = 2

    def configure(self, attributes: Attributes) -> None:
        attributes.ignore("multi_class")
        self.labels = Labels(attributes)
        self.how = post_transform(attributes)
        intercepts = self.hold(attributes, "intercepts")
        rows = len(self.labels) if intercepts is None else intercepts.numel()
        if self.hold(attributes, "coefficients", (rows, -1)) is None:
            attributes.refuse("no coefficients")

    def compute(self, x: Tensor) -> tuple[Data, Tensor]:
        scores = real(x) @ self.coefficients.mT + getattr(self, "intercepts", 0.0)
        if scores.shape[1] == 1 and len(self.labels) == 2:
            both = both_classes(scores, self.how, is_share=True)
            return self.labels.at((scores.detach()[:, 0] > 0).long()), both
        answer = transformed(scores, self.how)
        return self.labels.of(answer), answer


class LinearRegressor(MlOperator):
    """x @ coefficients + intercepts."""

    def configure(self, attributes: Attributes) -> None:
        self.how = post_transform(attributes)
        targets = attributes.integer("targets", 1)
        self.hold(attributes, "intercepts", (targets,))
        if self.hold(attributes, "coefficients", (targets, -1)) is None:
            attributes.refuse("no coefficients")

    def compute(self, x: Tensor) -> Tensor:
        return regressed(real(x) @ self.coefficients.mT + getattr(self, "intercepts", 0.0), self.how)


class Scaler(MlOperator):
    """(x - offset) * scale, one of each for every column or one for all."""

    statistics = frozenset({"offset", "scale"})

    def configure(self, attributes: Attributes) -> None:
        self.hold(attributes, "offset")
        self.hold(attributes, "scale")

    def compute(self, x: Tensor) -> Tensor:
        return (real(x) - getattr(self, "offset", 0.0)) * getattr(self, "scale", 1.0)


class Normalizer(Operator):
    """Each row divided by its largest value, its sum of absolute values, or its length."""

    def configure(self, attributes: Attributes) -> None:
        self.norm = attributes.text("norm", "MAX")
        if self.norm not in ("MAX", "L1", "L2"):
            attributes.refuse(f"norm={self.norm}")

    def compute(self, x: Tensor) -> Tensor:
        values = real(x)
        if self.norm == "MAX":
            size = values.amax(-1, keepdim=True)
        else:
            size = torch.linalg.vector_norm(values, int(self.norm[1]), -1, keepdim=True)
        return values / torch.where(size == 0, torch.ones_like(size), size)


class SupportVectors(MlOperator):
    """Base: a kernel between rows and support vectors."""

    def kernel(self, attributes: Attributes) -> None:
        self.kind = attributes.text("kernel_type", "LINEAR")
        if self.kind not in ("LINEAR", "POLY", "RBF", "SIGMOID"):
            attributes.refuse(f"kernel_type={self.kind}")
        self.gamma, self.shift, self.degree = ((attributes.numbers("kernel_params") or []) + [0.0] * 3)[:3]

    def likeness(self, x: Tensor, vectors: Tensor) -> Tensor:
        if self.kind == "RBF":
            squares = x.square().sum(1)[:, None] + vectors.square().sum(1) - 2 * x @ vectors.mT
            return torch.exp(-self.gamma * squares.clamp(min=0))
        product = x @ vectors.mT
        if self.kind == "LINEAR":
            return product
        scaled = self.gamma * product + self.shift
        return scaled**self.degree if self.kind == "POLY" else torch.tanh(scaled)


class SvmRegressor(SupportVectors):
    """Kernels with the support vectors, weighted and summed."""

    def configure(self, attributes: Attributes) -> None:
        self.kernel(attributes)
        self.how = post_transform(attributes)
        self.one_class = bool(attributes.integer("one_class", 0))
        supports = attributes.integer("n_supports", 0)
        self.hold(attributes, "rho", (1,))
        self.hold(attributes, "coefficients", (supports or -1,))
        if supports:
            self.hold(attributes, "support_vectors", (supports, -1))
        else:
            attributes.ignore("support_vectors")
            self.kind = "LINEAR"
        if not hasattr(self, "coefficients") or not hasattr(self, "rho"):
            attributes.refuse("no coefficients")

    def compute(self, x: Tensor) -> Tensor:
        vectors = getattr(self, "support_vectors", None)
        if vectors is None:
            score = real(x) @ self.coefficients + self.rho
        else:
            score = self.likeness(real(x), vectors) @ self.coefficients + self.rho
        if self.one_class:
            return torch.where(score > 0, 1.0, -1.0)[:, None]
        return regressed(score[:, None], self.how)


class SvmClassifier(SupportVectors):
    """One margin for each pair of classes; probabilities by coupling the pairs' (Wu, Lin and Weng 2004), as libsvm does."""

    max_outputs = 2

    def configure(self, attributes: Attributes) -> None:
        self.kernel(attributes)
        self.labels = Labels(attributes)
        self.how = post_transform(attributes)
        counts = attributes.integers("vectors_per_class") or []
        k, total = len(self.labels), sum(counts)
        if not total:
            self.hold(attributes, "coefficients", (max(k, 1), -1))
            attributes.refuse("no support vectors")
        if len(counts) != k or min(counts) < 0:
            raise UnsafeOnnx(
                f"{attributes.node} counts support vectors for other classes: it is damaged. Export it again."
            )
        self.starts = [sum(counts[:i]) for i in range(k + 1)]
        pairs = k * (k - 1) // 2
        self.hold(attributes, "rho", (pairs,))
        self.hold(attributes, "support_vectors", (total, -1))
        self.hold(attributes, "coefficients", (k - 1, total))
        self.is_probability = self.hold(attributes, "prob_a", (pairs,)) is not None
        self.hold(attributes, "prob_b", (pairs,))
        if not self.is_probability:
            attributes.refuse("votes instead of probabilities")

    def compute(self, x: Tensor) -> tuple[Data, Tensor]:
        likeness = self.likeness(real(x), self.support_vectors)
        k = len(self.labels)
        shares = x.new_zeros((len(x), k, k), dtype=likeness.dtype)
        votes = torch.zeros(len(x), k, device=x.device)
        pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
        for position, (i, j) in enumerate(pairs):
            mine, theirs = (slice(self.starts[c], self.starts[c + 1]) for c in (i, j))
            margin = self.rho[position] + likeness[:, mine] @ self.coefficients[j - 1, mine]
            margin = margin + likeness[:, theirs] @ self.coefficients[i, theirs]
            votes[:, i] += margin.detach() > 0
            votes[:, j] += margin.detach() <= 0
            share = torch.sigmoid(-(margin * self.prob_a[position] + self.prob_b[position]))
            share = share.clamp(1e-7, 1 - 1e-7)
            shares = (
                shares + _at(i, j, k, x) * share[:, None, None] + _at(j, i, k, x) * (1 - share)[:, None, None]
            )
        return self.labels.of(votes), transformed(_coupled(shares), self.how)


def _at(i: int, j: int, k: int, like: Tensor) -> Tensor:
    place = torch.zeros(k, k, device=like.device)
    place[i, j] = 1.0
    return place


def _coupled(shares: Tensor) -> Tensor:
    """p (n, k) that minimises the sum over pairs of (shares[j, i] p_i - shares[i, j] p_j)², with sum 1.

    Stopped where libsvm and onnxruntime stop, well before the minimum.
    """
    k = shares.shape[-1]
    quadratic = -shares * shares.mT + torch.diag_embed(shares.square().sum(-2))
    p = torch.full_like(shares[:, 0], 1 / k)
    for _ in range(max(MOST_TURNS, k)):
        slope = (quadratic @ p[..., None])[..., 0]
        value = (p * slope).sum(-1, keepdim=True)
        active = (slope - value).abs().amax(-1, keepdim=True) >= 0.005 / k
        if not bool(active.any()):
            break
        moved = p
        for t in range(k):
            step = (value - slope[:, t : t + 1]) / quadratic[:, t, t, None]
            moved = moved + step * functional.one_hot(torch.tensor(t), k).to(p)
            value = (value + step * (step * quadratic[:, t, t, None] + 2 * slope[:, t : t + 1])) / (
                1 + step
            ) ** 2
            slope = (slope + step * quadratic[:, t]) / (1 + step)
            moved = moved / (1 + step)
        p = torch.where(active, moved, p)
    return p
