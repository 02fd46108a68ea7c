"""What a graph computes from its constants alone has the same value in every run: compute it once, when it is read.

A weight that the file reshapes is then still a weight. It is also a check: onnxruntime does the same as soon as it opens
a file, and a few bytes can ask it for gigabytes. Here every such size is looked at before anything is allocated, and a
constant that cannot be computed here is left to onnxruntime only if its size follows from the shapes in the file.
(onnx's own inference with data_prop=True will not do: it materialises a huge Range itself.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from explainers.loading.limits import Limits
from explainers.onnx.errors import UnsafeOnnx
from explainers.onnx.graph import Data, Graph, Node, Shape
from explainers.onnx.operators import operator_class
from explainers.onnx.sizes import SizeGuard, refuse_giant

OPEN_TURNS = 1000  # of a Scan over an axis whose length the file leaves open: the rows or moments of one run


class Folder:
    """Computes constants of one file, and counts what they and its loops may cost together.

    Args:
        shapes: of all values, where they follow from the inputs' shapes.
    """

    def __init__(self, opset: int, shapes: Mapping[str, Shape], limits: Limits) -> None:
        self.opset = opset
        self.shapes = shapes
        self.limits = limits
        self.bytes = 0
        self.turns = 0

    def folded(self, graph: Graph, around: Mapping[str, Data] | None = None, repeated: int = 1) -> Graph:
        """The graph with all constants, old and new, and only the nodes that depend on an input.

        Args:
            around: constants of the graphs around it. repeated: how often the loops around it run it.

        Raises:
            UnsafeOnnx: a constant is over the size limit or cannot be checked; a loop is endless or over the limit.
        """
        known = {**(around or {}), **graph.constants}
        opaque: set[str] = set()  # constants that onnxruntime could compute and we cannot
        varying = []
        for node in graph.nodes:
            node = self._with_bodies(node, known, repeated)
            reads = [name for name in node.reads if name]
            results = self._evaluated(node, known) if all(name in known for name in reads) else None
            if results is not None:
                known.update(results)
                continue
            if all(name in known or name in opaque for name in reads):
                self._require_stated_size(node)
                opaque.update(node.outputs)
            varying.append(node)
        return dataclasses.replace(graph, nodes=tuple(varying), constants=known)

    def _with_bodies(self, node: Node, known: Mapping[str, Data], repeated: int) -> Node:
        if not node.bodies:
            return node
        inside = repeated * self._turns(node, known)
        if node.op_type != "If":
            self.turns += inside
        if max(inside, self.turns) > self.limits.iterations:
            raise UnsafeOnnx(
                f"The loops of this model run {max(inside, self.turns):,} times; the limit is "
                f"{self.limits.iterations:,} (setting limits.iterations)."
            )
        bodies = {name: self.folded(body, known, inside) for name, body in node.bodies.items()}
        captured = tuple(dict.fromkeys(name for body in bodies.values() for name in body.captured))
        return dataclasses.replace(node, bodies=bodies, captured=captured)

    def _turns(self, node: Node, known: Mapping[str, Data]) -> int:
        if node.op_type == "If":
            return 1
        if node.op_type == "Scan":
            count = node.attributes.get("num_scan_inputs", 0)
            scanned = node.inputs[-count:] if isinstance(count, int) and count else ()
            return max((self._length(name, known) for name in scanned), default=OPEN_TURNS)
        limit = known.get(node.inputs[0]) if node.inputs else None
        if not isinstance(limit, Tensor) or limit.numel() != 1:
            raise UnsafeOnnx(
                f"The model contains {node}, which may never end: how often it runs is not written in the file. "
                "Export it without loops (fixed sequence length, or LSTM and GRU operators)."
            )
        return max(int(limit), 0)

    def _length(self, name: str, known: Mapping[str, Data]) -> int:
        """The longest axis: which of them is scanned does not matter for a bound."""
        shape = known[name].shape if name in known else self.shapes.get(name, ())
        return max((OPEN_TURNS if side is None else int(side) for side in shape), default=OPEN_TURNS)

    def _evaluated(self, node: Node, known: Mapping[str, Data]) -> dict[str, Data] | None:
        """None if it cannot be computed: the node stays, and what is wrong with it is said when the module is made or run."""
        try:
            operator = operator_class(node)(node, known, self.opset, self.limits)
            with SizeGuard(self.limits):
                result = operator()
        except UnsafeOnnx:
            raise
        except Exception:
            return None
        results = dict(zip(node.outputs, result if isinstance(result, tuple) else (result,), strict=False))
        for value in results.values():
            self._count(node, value)
        return results

    def _count(self, node: Node, value: Data) -> None:
        each = value.element_size() if isinstance(value, Tensor) else value.itemsize
        refuse_giant(value.shape, node.op_type, self.limits, each)
        self.bytes += each * (value.numel() if isinstance(value, Tensor) else value.size)
        if self.bytes > self.limits.unpacked_bytes:
            raise UnsafeOnnx(
                f"The constants that this model computes take over {self.limits.unpacked_bytes:,} bytes together, "
                "the limit (setting limits.unpacked_bytes). Export the model with realistic sizes."
            )

    def _require_stated_size(self, node: Node) -> None:
        for name in filter(None, node.outputs):
            if None in self.shapes.get(name, (None,)):
                raise UnsafeOnnx(
                    f"{node} computes a constant whose size cannot be checked here. "
                    "Export the model with constants folded (onnxruntime's offline optimisation does it)."
                )
