"""How a picture of the data becomes what a model was trained on: size, order of channels, scale, mean and deviation, layout.

It stands in front of the model, so that people see the pictures as they are, explanations are of their pixels, and every method gets it
for free. Torch modules are prepared in torch: gradients go through.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from explainers.errors import InvalidSetting
from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch

    from explainers.model import Model
else:
    torch = lazily("torch")


Order = Literal["as stored", "reversed"]
Layout = Literal["channels first", "channels last"]


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Steps in this order; each is left out where nothing is said of it.

    Attributes:
        size: height and width; pictures are resized bilinearly (pixel centres aligned, no smoothing before).
        order: ``"reversed"`` for a model that was trained on blue, green, red.
        scale: what values are multiplied by: 255 for a model of bytes (data hold 0..1).
        mean, std: taken off each channel, and what it is divided by; one number, or one for each channel in the model's order.
        layout: ``"channels last"`` for a model that takes ``(n, h, w, c)``.
    """

    size: tuple[int, int] | None = None
    order: Order = "as stored"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Layout = "channels first"

    def __post_init__(self) -> None:
        """Raises `InvalidSetting` for what no picture can be given; single numbers, lists and arrays become tuples."""
        for name, words in (("order", Order), ("layout", Layout)):
            if getattr(self, name) not in get_args(words):
                allowed = " or ".join(map(repr, get_args(words)))
                raise InvalidSetting(f"{name}={getattr(self, name)!r} is unknown; it is {allowed}.")
        if self.size is not None:
            object.__setattr__(self, "size", _whole_sides(self.size))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        (scale,) = _numbers("scale", self.scale) or (0.0,)
        if scale == 0 or min(self.std, default=1.0) <= 0:
            raise InvalidSetting(f"scale={self.scale} must not be 0, std={self.std} above 0.")

    def array(self, X: Any) -> np.ndarray:
        """What the model receives for pictures ``(n, c, h, w)``, in numpy.

        Raises `InvalidSetting` where mean or std are of another number of channels.
        """
        x = np.asarray(X, dtype=np.float32)
        self._check(x.shape[1])
        if self.size is not None:
            rows, columns = (_bilinear(old, new) for old, new in zip(x.shape[2:], self.size, strict=True))
            x = np.einsum("yh,nchw,xw->ncyx", rows, x, columns, optimize=True)
        if self.order == "reversed":
            x = x[:, ::-1]
        shift, factor = self._affine(x.shape[1])
        x = np.asarray(x * factor[:, None, None] + shift[:, None, None], dtype=np.float32)
        return np.ascontiguousarray(np.moveaxis(x, 1, 3) if self.layout == "channels last" else x)

    def tensor(self, x: torch.Tensor) -> torch.Tensor:
        """The same in torch, differentiable, on the device of the pictures."""
        self._check(x.shape[1])
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            x = torch.nn.functional.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
        if self.order == "reversed":
            x = x.flip(1)
        shift, factor = (torch.from_numpy(part).to(x)[:, None, None] for part in self._affine(x.shape[1]))
        x = x * factor + shift
        return x.movedim(1, 3) if self.layout == "channels last" else x

    def of(self, model: Model) -> Model:
        """The model behind this preparation; raises `InvalidSetting` for one that is prepared already."""
        if model.preparation is not None:
            raise InvalidSetting("This model is prepared already; prepare the model itself.")
        if self == Preparation():
            return model
        from explainers.wrapping.torch_module import Answers

        module = None if model.module is None else _behind(self, model.module)

        def prepared(predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
            if module is not None and isinstance(predict, Answers):
                return dataclasses.replace(predict, module=module)
            return lambda X: predict(self.array(X))

        raw = model.raw_predictor
        digest = hashlib.sha256(f"{model.digest} {self}".encode()).hexdigest()
        return dataclasses.replace(
            model,
            predictor=prepared(model.predictor),
            raw_predictor=None if raw is None else prepared(raw),
            module=module,
            staged=None,
            inputs=None,
            preparation=self,
            digest=digest,
        )

    def _check(self, channels: int) -> None:
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (0, 1, channels):
                raise InvalidSetting(
                    f"{name} has {len(numbers)} numbers, the pictures have {channels} channels; give one number, or {channels}."
                )

    def _affine(self, channels: int) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
        """What is added after, and what each channel is multiplied by: ``(scale x - mean) / std``."""
        ones = np.ones(channels, np.float32)
        mean, std = (
            ones * np.array(numbers or (default,), np.float32)
            for numbers, default in ((self.mean, 0.0), (self.std, 1.0))
        )
        return np.asarray(-mean / std), np.asarray(np.float32(self.scale) / std)


def _whole_sides(size: Any) -> tuple[int, int]:
    sides = np.asarray(size)
    if sides.shape != (2,) or sides.dtype.kind not in "iu" or sides.min() < 1:
        raise InvalidSetting(
            f"A picture cannot have the size {size!r}; give height and width in pixels, like (224, 224)."
        )
    return int(sides[0]), int(sides[1])


def _numbers(name: str, given: Any) -> tuple[float, ...]:
    """One number or several, all finite."""
    try:
        numbers = np.atleast_1d(np.asarray(given, dtype=np.float64))
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if numbers.ndim != 1 or isinstance(given, str) or not np.isfinite(numbers).all():
        raise InvalidSetting(f"{name}={given!r} must be a finite number, or one for each channel.")
    return tuple(numbers.tolist())


def _bilinear(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Weights of a side's pixels for each new one: linear between their centres, held at the ends."""
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old))), dtype=np.float32)


def _behind(preparation: Preparation, module: torch.nn.Module) -> torch.nn.Module:
    """A module that prepares first; made here, where torch is wanted anyway."""

    class Prepared(torch.nn.Module):
        """What the data hold, prepared, through the model; its layers are called ``model.…``."""

        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """The model's own answer."""
            return self.model(preparation.tensor(x))  # type: ignore[no-any-return]

    return Prepared().train(module.training)
