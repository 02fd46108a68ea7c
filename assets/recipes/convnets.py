"""Small picture classifiers in ONNX: one plain architecture that Grad-CAM can read.

Convolutions, normalised while training, and ReLU, then the mean over the last map, one linear layer and a
softmax.  With that head the class activation map is the gradient map, so a test can compute it from the file
alone; and the last map keeps a quarter of the picture's resolution, so that a mark of a few pixels still has
cells of its own.
"""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class SmallNet(nn.Module):
    """Pixels in 0..1 to probabilities; ``pools`` halvings of the picture, two convolutions before each."""

    def __init__(self, classes: int, widths: tuple[int, ...], pools: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for i, width in enumerate(widths):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            if i % 2 == 1 and i // 2 < pools:
                layers.append(nn.MaxPool2d(2))
            before = width
        self.maps = nn.Sequential(*layers)
        self.classify = nn.Linear(before, classes)
        with torch.no_grad():  # classes start out balanced: evidence for one is evidence against the others
            self.classify.weight -= self.classify.weight.mean(0)
            self.classify.bias.zero_()

    def logits(self, images: Tensor) -> Tensor:
        """Class scores before the softmax."""
        return self.classify(self.maps(images).mean((2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, which is what the file's output holds."""
        return self.logits(images).softmax(1)


def fit(
    net: SmallNet,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int,
    rate: float = 3e-3,
    smoothing: float = 0.05,
) -> SmallNet:
    """Train on float pictures (n, c, h, w) in 0..1; on one thread, so that a second run is the same.

    Label smoothing keeps the probabilities away from 0 and 1, where no explanation of a probability has
    anything to show.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x, y = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    order = torch.Generator().manual_seed(0)
    batch = 64
    steps = epochs * (len(x) // batch)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=steps)
    loss = nn.CrossEntropyLoss(label_smoothing=smoothing)
    net.train()
    for _ in range(epochs):
        rows = torch.randperm(len(x), generator=order)
        for k in range(len(x) // batch):
            chosen = rows[k * batch : (k + 1) * batch]
            optimiser.zero_grad()
            loss(net.logits(x[chosen]), y[chosen]).backward()
            optimiser.step()
            schedule.step()
    torch.set_num_threads(threads)
    return net.eval()


def new(classes: int, widths: tuple[int, ...], pools: int, *, seed: int) -> SmallNet:
    """A fresh network whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallNet(classes, widths, pools)


def folded(net: SmallNet) -> SmallNet:
    """The same network with each normalisation folded into its convolution: the file has fewer parts."""
    net = copy.deepcopy(net).eval()
    layers: list[nn.Module] = []
    for layer in net.maps:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = layers.pop()
            assert isinstance(convolution, nn.Conv2d)
            layer = fuse_conv_bn_eval(convolution, layer)
        layers.append(layer)
    net.maps = nn.Sequential(*layers)
    return net


def probabilities(net: SmallNet, images: np.ndarray) -> np.ndarray:
    """Class probabilities (n, k) of float pictures (n, c, h, w) in 0..1."""
    with torch.no_grad():
        return net(torch.from_numpy(images)).numpy()


def class_map(net: SmallNet, images: np.ndarray, target: int) -> np.ndarray:
    """Grad-CAM (n, h, w) before its ReLU: under the mean and one linear layer the gradient is the weight."""
    with torch.no_grad():
        maps = net.maps(torch.from_numpy(images))
        return torch.einsum("k,nkhw->nhw", net.classify.weight[target], maps).numpy()


def export(net: SmallNet, path: Path, shape: tuple[int, int, int]) -> None:
    """Write one ONNX file with a free batch size, without the exporter's notes about where it ran."""
    net = folded(net)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            net,
            (torch.zeros(2, *shape),),
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    proto.doc_string = ""
    del proto.metadata_props[:], proto.graph.metadata_props[:]
    graph = proto.graph
    for part in (*graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString(deterministic=True))
