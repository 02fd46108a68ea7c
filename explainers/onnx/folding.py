"""What a graph computes from its constants alone has the same value in every run: compute it once, when it is read.

A weight that the file reshapes is then still a weight. It is also a check: onnxruntime does the same as soon as it opens
a file, and a few bytes can ask it for gigabytes. Here every such size is looked at before anything is allocated.
(onnx's own inference with data_prop=True will not do: it materialises a huge Range itself.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from explainers.onnx.errors import UnsafeOnnx
from explainers.onnx.graph import Node
from explainers.onnx.operators import OPERATORS
from explainers.onnx.refusal import refuse_giant


def fold_constants(
    nodes: Iterable[Node], constants: Mapping[str, Tensor], opset: int
) -> tuple[tuple[Node, ...], dict[str, Tensor]]:
    """The nodes that depend on an input, and all constants, old and new.

    Raises:
        UnsafeOnnx: a constant is over the size limit.
    """
    known = dict(constants)
    varying = []
    for node in nodes:
        results = _evaluated(node, known, opset) if all(n in known for n in node.inputs if n) else None
        if results is None:
            varying.append(node)
        else:
            known.update(results)
    return tuple(varying), known


def _evaluated(node: Node, known: Mapping[str, Tensor], opset: int) -> dict[str, Tensor] | None:
    """None if it cannot be computed: the node stays, and what is wrong with it is said when the module is made or run."""
    try:
        result = OPERATORS[node.op_type](node, known, opset)()
    except UnsafeOnnx:
        raise
    except Exception:
        return None
    results = dict(zip(node.outputs, result if isinstance(result, tuple) else (result,), strict=False))
    for value in results.values():
        refuse_giant(tuple(value.shape), node.op_type)
    return results
