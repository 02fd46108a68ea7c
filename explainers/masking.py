"""What stands in the place of what is taken away: a number, the mean of the data, a blurred picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting
from explainers.lazily import lazily
from explainers.settings import Range

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: What `replacement` is asked for: a number for every input, or a name.
Baseline: TypeAlias = Annotated[float | int, Range(-1e9, 1e9)] | Literal["mean", "blur"]


#: Bytes of a case from which the cases are added up one by one.
LARGE_ROW = 16 * 2**20


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
        return _mean_of(known, rows), f"the mean of {len(rows)} {role}"
    if data.modality != "image":
        raise InvalidSetting(
            f"baseline='blur' needs pictures; these data are of modality {data.modality!r}. Use 'mean'."
        )
    return blurred(cases), "the picture itself, blurred"


def _mean_of(known: np.ndarray, rows: np.ndarray) -> Float[np.ndarray, "1 *shape"]:
    if known[:1].nbytes < LARGE_ROW:
        chosen = known if len(rows) == len(known) else known[rows]
        return np.asarray(chosen.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32))
    total = np.zeros(
        known.shape[1:]
    )  # a copy of some large pictures would be larger than the model's own work
    for row in rows:
        total += known[row]
    total /= len(rows)
    return total[None].astype(np.float32)


#: From how many pixels of σ on a block of pixels is one step of the Gaussian: σ is then 16 blocks at least.
STEPS_OF_SIGMA = 16


def blurred(pictures: Float[np.ndarray, "m c h w"]) -> Float[np.ndarray, "m c h w"]:
    """A Gaussian blur of an eighth of the smaller side (at least one pixel): no detail the size of a patch is left.

    From a side of 256 pixels on it is taken on means of square blocks and enlarged bilinearly: within 0.001 of the picture's range.
    """
    height, width = pictures.shape[2:]
    sigma = max(1.0, min(height, width) / 8)
    block = max(1, int(sigma / STEPS_OF_SIGMA))
    out = np.empty_like(pictures, dtype=np.float32)
    for i in range(len(pictures)):
        for channel in range(pictures.shape[1]):
            plane = torch.tensor(pictures[i, channel], dtype=torch.float32)[None, None]
            out[i, channel] = _smooth(plane, sigma, block)[0, 0].numpy()
    return out


def _smooth(
    plane: Float[torch.Tensor, "1 1 h w"], sigma: float, block: int
) -> Float[torch.Tensor, "1 1 h w"]:
    """Blocks and straight lines between their centres blur by themselves, by a variance of block² / 4 together; the Gaussian does the rest."""
    if block == 1:
        kernel = _gaussian(sigma)
        return _along(_along(plane, kernel, 2), kernel, 3)
    rest = (sigma**2 - (block**2 - 1) / 12 - block**2 / 6) ** 0.5
    kernel = _gaussian(rest / block)
    coarse = _along(_in_blocks(_along(_in_blocks(plane, block, 2), kernel, 2), block, 3), kernel, 3)
    large = torch.nn.functional.interpolate(
        coarse, scale_factor=float(block), mode="bilinear", align_corners=False, recompute_scale_factor=False
    )
    height, width = plane.shape[2:]
    return large[:, :, block : block + height, block : block + width]


def _in_blocks(
    plane: Float[torch.Tensor, "1 1 h w"], block: int, axis: int
) -> Float[torch.Tensor, "1 1 i j"]:
    """Means of blocks along height (2) or width (3), and one more on each side, as the repeated border has it."""
    side, last = plane.shape[axis], plane.narrow(axis, plane.shape[axis] - 1, 1)
    whole = side // block
    shape = (*plane.shape[:axis], whole, block, *plane.shape[axis + 1 :])
    means = [
        plane.narrow(axis, 0, 1),
        plane.narrow(axis, 0, whole * block).reshape(shape).mean(axis + 1),
    ]
    if whole * block < side:
        left = plane.narrow(axis, whole * block, side - whole * block)
        missing = block - left.shape[axis]
        means.append((left.sum(axis, keepdim=True) + missing * last) / block)
    return torch.cat([*means, last], dim=axis)


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
