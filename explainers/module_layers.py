"""Which layers a torch module has, as far as its submodules tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


def spatial_layers(module: torch.nn.Module) -> list[str]:
    """Names of the two-dimensional convolutions of a module, in order; ONNX nodes count by their operator."""
    return [
        name
        for name, child in module.named_modules()
        if isinstance(child, torch.nn.Conv2d) or getattr(child, "op_type", "") == "Conv"
    ]


def may_attend(module: torch.nn.Module) -> bool:
    """Whether a module has layers of attention, in ONNX a softmax that a product uses, or code of one's own, of which only a run tells."""
    for child in module.modules():
        if isinstance(child, torch.nn.MultiheadAttention):
            return True
        known = type(child).__module__.startswith(("torch.nn.", "explainers.onnx."))
        own = getattr(child, "attends", None)
        if own() if callable(own) else not known:
            return True
    return False
