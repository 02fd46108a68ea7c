"""A copy of a model whose weights are scrambled, layer by layer from the top. The model's own weights are only read.

Matrices and kernels are drawn anew: normal, around 0, with the root mean square of their own entries, so that signals neither die nor
explode on their way. Vectors (biases, the scales of normalisations) and constants that only broadcast have their entries
exchanged. Stored statistics stay.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from explainers.dataset import Dataset
from explainers.errors import NotApplicable
from explainers.gradients.scores import own_space
from explainers.lazily import lazily
from explainers.model import Model
from explainers.wrapping.torch_module import wrap

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: ONNX operators whose constants are sizes and bounds, not weights.
WITHOUT_WEIGHTS = frozenset(
    {"Resize", "Upsample", "Clip", "Pad", "QuantizeLinear", "DequantizeLinear", "Range"}
)


class Scrambled:
    """A model on a deep copy of another's module.

    Attributes:
        model: predicts and has gradients by the copy; classes and spaces are the original's.
        layers: names of the layers that have weights, the last one (the top) first.
    """

    def __init__(self, model: Model, data: Dataset, seed: int, repeat: int) -> None:
        """Raises `NotApplicable` where there is no module, no weight, or the module cannot be copied."""
        original = _module(model)
        space = own_space(model, original, data)
        try:
            module = copy.deepcopy(original)
        except Exception as error:  # whatever a foreign class raises when it is copied
            text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            raise NotApplicable(
                f"The weights are scrambled in a copy, but this module cannot be copied. {text}"
            ) from error
        copied = wrap(module, model.classes or None, space)
        known = {name: getattr(model, name) for name in ("labels", "features", "inputs", "family")}
        self.model = dataclasses.replace(copied, **known)
        self._rng = np.random.default_rng([seed, repeat])
        self._layers = weighted_layers(module)
        self._done: set[int] = set()

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._layers)

    def scramble(self, layers: tuple[str, ...]) -> None:
        """Scramble these layers; weights that several layers share are scrambled once."""
        for name in layers:
            for parameter in self._layers[name]:
                if id(parameter) not in self._done:
                    self._done.add(id(parameter))
                    _scramble(parameter, self._rng)


def weighted_layers(module: torch.nn.Module) -> dict[str, list[torch.nn.Parameter]]:
    """Parameters of each layer that has some, the last defined first; raises `NotApplicable` where there are none."""
    found: dict[str, list[torch.nn.Parameter]] = {}
    for name, child in module.named_modules():
        own = [p for p in child.parameters(recurse=False) if p.is_floating_point() and p.numel()]
        if own and getattr(child, "op_type", "") not in WITHOUT_WEIGHTS:
            found[name or type(child).__name__] = own
    if not found:
        raise NotApplicable("This model's module has no weights that could be scrambled.")
    return dict(reversed(found.items()))


def _module(model: Model) -> torch.nn.Module:
    if model.module is None:
        raise NotApplicable(
            f"Weights are scrambled in a torch module; this model ({model.family}) has none. Open it as torch or ONNX."
        )
    return model.module


def _scramble(parameter: torch.nn.Parameter, rng: np.random.Generator) -> None:
    values = parameter.detach().float().cpu().numpy()
    sides = sum(side > 1 for side in values.shape)
    if values.ndim < 2 or (values.ndim > 2 and sides == 1):
        fresh = rng.permutation(values.ravel()).reshape(values.shape)
    else:
        fresh = rng.normal(0.0, float(np.sqrt(np.mean(values**2, dtype=np.float64))), values.shape)
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.asarray(fresh, dtype=np.float32)))
