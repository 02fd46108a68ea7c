"""The operators that can be evaluated, by ONNX name. To add one: its class, its line here, a conformance run."""

from __future__ import annotations

from explainers.onnx.graph import Node
from explainers.onnx.operators import (
    control,
    indexing,
    linear,
    ml_encoding,
    ml_linear,
    ml_trees,
    normalization,
    pointwise,
    recurrent,
    reduction,
    shaping,
    spatial,
)
from explainers.onnx.operators.operator import Operator
from explainers.onnx.operators.resizing import Resize

OPERATORS: dict[str, type[Operator]] = {
    **dict.fromkeys(pointwise.FUNCTIONS, pointwise.Pointwise),
    **dict.fromkeys(pointwise.ACTIVATIONS, pointwise.ShapedActivation),
    **dict.fromkeys(reduction.REDUCTIONS, reduction.Reduce),
    "ArgMax": reduction.ArgExtreme,
    "ArgMin": reduction.ArgExtreme,
    "AveragePool": spatial.AveragePool,
    "BatchNormalization": normalization.BatchNormalization,
    "Cast": pointwise.Cast,
    "CastLike": pointwise.CastLike,
    "Clip": pointwise.Clip,
    "Concat": shaping.Concat,
    "Constant": shaping.Constant,
    "ConstantOfShape": shaping.ConstantOfShape,
    "Conv": spatial.Conv,
    "ConvTranspose": spatial.ConvTranspose,
    "CumSum": reduction.CumulativeSum,
    "DepthToSpace": shaping.SpaceToDepth,
    "Dropout": pointwise.Dropout,
    "Einsum": linear.Einsum,
    "Expand": shaping.Expand,
    "Flatten": shaping.Flatten,
    "GRU": recurrent.Gru,
    "Gather": indexing.Gather,
    "GatherElements": indexing.GatherElements,
    "GatherND": indexing.GatherND,
    "Gemm": linear.Gemm,
    "GlobalAveragePool": spatial.GlobalPool,
    "GlobalMaxPool": spatial.GlobalPool,
    "GroupNormalization": normalization.GroupNormalization,
    "InstanceNormalization": normalization.InstanceNormalization,
    "LRN": normalization.LocalResponseNormalization,
    "If": control.If,
    "LSTM": recurrent.Lstm,
    "LayerNormalization": normalization.LayerNormalization,
    "LogSoftmax": pointwise.Softmax,
    "Loop": control.Loop,
    "MatMul": linear.MatMul,
    "MaxPool": spatial.MaxPool,
    "Mod": pointwise.Modulo,
    "NonZero": indexing.NonZero,
    "OneHot": indexing.OneHot,
    "Pad": shaping.Pad,
    "RMSNormalization": normalization.RMSNormalization,
    "RNN": recurrent.Rnn,
    "Range": shaping.Range,
    "Reshape": shaping.Reshape,
    "Resize": Resize,
    "Scan": control.Scan,
    "ScatterElements": indexing.ScatterElements,
    "ScatterND": indexing.ScatterND,
    "Shape": shaping.Shape,
    "Size": shaping.Size,
    "Slice": indexing.Slice,
    "Softmax": pointwise.Softmax,
    "SpaceToDepth": shaping.SpaceToDepth,
    "Split": shaping.Split,
    "Squeeze": shaping.Squeeze,
    "Tile": shaping.Tile,
    "TopK": indexing.TopK,
    "Transpose": shaping.Transpose,
    "Trilu": shaping.Triangle,
    "Unsqueeze": shaping.Unsqueeze,
    "Upsample": Resize,
}

ML_OPERATORS: dict[str, type[Operator]] = {
    "ArrayFeatureExtractor": ml_encoding.ArrayFeatureExtractor,
    "Binarizer": ml_encoding.Binarizer,
    "CategoryMapper": ml_encoding.CategoryMapper,
    "FeatureVectorizer": ml_encoding.FeatureVectorizer,
    "Imputer": ml_encoding.Imputer,
    "LabelEncoder": ml_encoding.LabelEncoder,
    "LinearClassifier": ml_linear.LinearClassifier,
    "LinearRegressor": ml_linear.LinearRegressor,
    "Normalizer": ml_linear.Normalizer,
    "OneHotEncoder": ml_encoding.OneHotEncoder,
    "SVMClassifier": ml_linear.SvmClassifier,
    "SVMRegressor": ml_linear.SvmRegressor,
    "Scaler": ml_linear.Scaler,
    "TreeEnsemble": ml_trees.TreeEnsemble,
    "TreeEnsembleClassifier": ml_trees.TreeEnsembleClassifier,
    "TreeEnsembleRegressor": ml_trees.TreeEnsembleRegressor,
    "ZipMap": ml_encoding.ZipMap,
}
ENSEMBLES = frozenset(name for name, kind in ML_OPERATORS.items() if issubclass(kind, ml_trees.Ensemble))
LOOPS = frozenset({"Loop", "Scan"})


def operator_class(node: Node) -> type[Operator]:
    """No operator of ai.onnx.ml has the name of one of the standard; a KeyError for one that is not evaluated."""
    return ML_OPERATORS.get(node.op_type) or OPERATORS[node.op_type]


__all__ = ["ENSEMBLES", "LOOPS", "ML_OPERATORS", "OPERATORS", "Operator", "operator_class"]
