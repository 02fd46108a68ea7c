"""Networks shaped like ResNet-50 and ResNet-18, a small one, and pictures, all from seeds: nothing is downloaded.

Weights are random; the statistics of the batch normalisations are those of a few pictures, so that scores and slopes are of usual size. The small
one learns for a moment where the bright spot is.
Each ReLU is a module of its own and not in place: some of the peers can do no others.
"""

from __future__ import annotations

import torch
from torch import nn

#: Steps of the small network's training.
STEPS = 60

#: Outputs of all networks; blocks of the four stages.
CLASSES, DEEP, SHALLOW = 10, (3, 4, 6, 3), (2, 2, 2, 2)


class Block(nn.Module):
    """A residual block: three convolutions with a narrow one in the middle, or two."""

    def __init__(self, before: int, width: int, stride: int, narrow: bool) -> None:
        super().__init__()
        after = 4 * width if narrow else width
        shape = [(before, width, 1, 1), (width, width, 3, stride), (width, after, 1, 1)]
        if not narrow:
            shape = [(before, width, 3, stride), (width, width, 3, 1)]
        steps: list[nn.Module] = []
        for i, (a, b, kernel, step) in enumerate(shape):
            steps += [nn.ReLU()] if i else []
            steps += [nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False), nn.BatchNorm2d(b)]
        self.branch = nn.Sequential(*steps)
        self.short: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.short = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, c, h, w)`` to the next width."""
        out: torch.Tensor = self.relu(self.short(x) + self.branch(x))
        return out


def resnet(blocks: tuple[int, ...], narrow: bool, seed: int = 0) -> nn.Sequential:
    """ResNet-50's shape with ``(DEEP, True)``, ResNet-18's with ``(SHALLOW, False)``; in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        stages, before = nn.Sequential(), 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            for i in range(count):
                stages.append(Block(before, width, 2 if stage and not i else 1, narrow))
                before = 4 * width if narrow else width
        end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES)]
        return _settled(nn.Sequential(nn.Sequential(*stem), stages, *end))


def small(seed: int = 0) -> nn.Sequential:
    """Three convolutions and a dense layer, for what asks the network ten thousand times; it tells the place of the spot."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        for a, b in ((3, 16), (16, 32), (32, 64)):
            parts += [
                nn.Conv2d(a, b, 3, padding=1, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, CLASSES))
    return _taught(_settled(net)).eval()


def _taught(net: nn.Sequential) -> nn.Sequential:
    """A few steps on fresh pictures whose class is the column of the spot."""
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(STEPS):
        x, left = spotted(64, 32, 1000 + step)
        loss = nn.functional.cross_entropy(net(x), (left * CLASSES // 25).clamp(max=CLASSES - 1))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return net


def _settled(net: nn.Sequential) -> nn.Sequential:
    """Give the batch normalisations the statistics of some pictures."""
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain average over the calls
    net.train()
    with torch.no_grad():
        for seed in (100, 101):
            net(pictures(8, 64, seed))
    return net.eval()


def pictures(n: int, side: int, seed: int = 0) -> torch.Tensor:
    """Float32 ``(n, 3, side, side)`` of mean 0 and variance 1: smooth patches of colour, and a bright spot."""
    return spotted(n, side, seed)[0]


def spotted(n: int, side: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, and the column at which the spot of each begins."""
    random = torch.Generator().manual_seed(seed)
    found = torch.zeros(n, 3, side, side)
    for cells in (4, 8, 16):
        coarse = torch.randn(n, 3, cells, cells, generator=random)
        found += nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    size = side // 4
    corners = torch.randint(0, side - size + 1, (n, 2), generator=random)
    for i, (top, left) in enumerate(corners.tolist()):
        found[i, :, top : top + size, left : left + size] += 2
    mean, spread = found.mean(dim=(1, 2, 3), keepdim=True), found.std(dim=(1, 2, 3), keepdim=True)
    return (found - mean) / spread, corners[:, 1]
