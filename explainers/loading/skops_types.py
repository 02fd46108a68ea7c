"""Types that a skops file may hold beyond those that skops trusts itself. Reviewed here, never read from an upload.

Each is a plain container of numbers and settings: making one runs no code of the file's choosing. Two kinds of
content could still harm: tables that native code follows without looking (`skops_archive` and `skops_parts` check
those), and functions, of which only the named, harmless ones are here. Whoever adds a type: read its
``__setstate__``, ``__reduce__`` and what its methods call first.
"""

from __future__ import annotations

LOSSES = (
    "HalfTweedieLossIdentity", "HalfTweedieLoss", "HalfSquaredError", "HalfPoissonLoss", "HalfGammaLoss",
    "HalfBinomialLoss", "HalfMultinomialLoss", "AbsoluteError", "PinballLoss", "HuberLoss", "ExponentialLoss",
)  # fmt: skip
LINKS = ("IdentityLink", "LogLink", "LogitLink", "HalfLogitLink", "MultinomialLogit", "Interval")
KERNELS = (
    "ConstantKernel", "WhiteKernel", "RBF", "Matern", "RationalQuadratic", "ExpSineSquared", "DotProduct", "Sum",
    "Product", "Exponentiation", "Hyperparameter",
)  # fmt: skip
DISTANCES = (
    "EuclideanDistance", "ManhattanDistance", "ChebyshevDistance", "MinkowskiDistance", "SEuclideanDistance",
    "HammingDistance", "CanberraDistance", "BrayCurtisDistance",
)  # fmt: skip
SPLITTERS = (
    "KFold", "StratifiedKFold", "GroupKFold", "StratifiedGroupKFold", "RepeatedKFold", "RepeatedStratifiedKFold",
    "ShuffleSplit", "StratifiedShuffleSplit", "TimeSeriesSplit",
)  # fmt: skip
SCORES = ("f_classif", "f_regression", "chi2", "r_regression")

TRUSTED = frozenset(
    {
        "collections.OrderedDict",
        "functools.partial",  # only of check_array, see `skops_archive`
        "numpy.dtype",
        "scipy.interpolate._bsplines.BSpline",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._mutual_info.mutual_info_regression",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.preprocessing._label.LabelBinarizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils.validation.check_array",
        "sklearn.utils._bunch.Bunch",
        *(f"sklearn._loss.link.{name}" for name in LINKS),
        *(f"sklearn._loss.loss.{name}" for name in LOSSES),
        *(f"sklearn.feature_selection._univariate_selection.{name}" for name in SCORES),
        *(f"sklearn.gaussian_process.kernels.{name}" for name in KERNELS),
        *(f"sklearn.metrics._dist_metrics.{name}{bits}" for name in DISTANCES for bits in ("", "32", "64")),
        *(f"sklearn.model_selection._split.{name}" for name in SPLITTERS),
    }
)
