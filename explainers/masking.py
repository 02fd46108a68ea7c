"""What stands in the place of what is taken away: a number, the mean of the data, a blurred picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting
from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

Fill = Literal["mean", "blur"]


def replacement(
    baseline: float | int | str, cases: np.ndarray, data: Dataset, known: np.ndarray
) -> tuple[np.ndarray, str]:
    """Values ``(1, …)`` shared by all cases or ``(m, …)`` of their own, and the same in words.

    `known` are the inputs of all of `data`, in the form of `cases`; their mean is over training rows where those are
    known. Raises `InvalidSetting` for a blur of what is no picture.
    """
    if not isinstance(baseline, str):
        return np.full((1, *cases.shape[1:]), baseline, dtype=np.float32), f"every input at {baseline:g}"
    if baseline == "mean":
        train = data.rows("train")
        rows, role = (train, "training cases") if len(train) else (np.arange(len(known)), "cases")
        chosen = known if len(rows) == len(known) else known[rows]
        return chosen.mean(axis=0, dtype=np.float64, keepdims=True).astype(
            np.float32
        ), f"the mean of {len(rows)} {role}"
    if data.modality != "image":
        raise InvalidSetting(
            f"baseline='blur' needs pictures; these data are of modality {data.modality!r}. Use 'mean'."
        )
    return blurred(cases), "the picture itself, blurred"


def blurred(pictures: Float[np.ndarray, "m c h w"]) -> Float[np.ndarray, "m c h w"]:
    """A Gaussian blur of an eighth of the smaller side (at least one pixel): no detail the size of a patch is left."""
    height, width = pictures.shape[2:]
    kernel = _gaussian(max(1.0, min(height, width) / 8))
    out = np.empty_like(pictures, dtype=np.float32)
    for i in range(len(pictures)):
        planes = torch.from_numpy(pictures[i : i + 1].astype(np.float32)).transpose(0, 1)
        out[i] = _along(_along(planes, kernel, 2), kernel, 3).transpose(0, 1)[0].numpy()
    return out


def _gaussian(sigma: float) -> Float[torch.Tensor, " r"]:
    at = torch.arange(-int(3 * sigma + 0.5), int(3 * sigma + 0.5) + 1, dtype=torch.float32)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    return weights / weights.sum()


def _along(
    planes: Float[torch.Tensor, "c 1 h w"], kernel: Float[torch.Tensor, " r"], axis: int
) -> Float[torch.Tensor, "c 1 h w"]:
    """Convolve along height (2) or width (3); the border is repeated, so a uniform picture stays as it is."""
    reach = len(kernel) // 2
    border = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
    return torch.nn.functional.conv2d(
        torch.nn.functional.pad(planes, border, mode="replicate"), kernel.reshape(shape)
    )
