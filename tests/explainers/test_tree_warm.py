"""After the warm-up no loop over trees is compiled any more, whatever model and question comes."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

import explainers.trees
from explainers.trees import warm

ROOT = Path(__file__).parents[2]

ASKED = """
import importlib, json, pkgutil
import numpy as np, pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
import explainers as ex
import explainers.trees

from explainers.trees import warm

for step in (*warm.first_steps(), *warm.further_steps()):
    step()
loops = {}
for module in pkgutil.walk_packages(explainers.trees.__path__, "explainers.trees."):
    if ".converting" in module.name:
        continue
    found = importlib.import_module(module.name)
    for name, value in vars(found).items():
        if hasattr(value, "signatures") and value.py_func.__module__ == found.__name__:
            loops[f"{module.name}.{name}"] = value
before = {name: set(loop.signatures) for name, loop in loops.items()}

rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(9000, 4)), columns=list("abcd"))
X.loc[::7, "a"] = np.nan
clean = X.fillna(0.0)
y = (X["b"] + clean["a"] * X["c"] > 0).astype(int)
X["truth"], clean["truth"] = y, y
few = dict(max_iter=5, max_leaf_nodes=12)
models = {
    "boosted": (HistGradientBoostingClassifier(**few).fit(X[list("abcd")], y), X),
    "forest": (RandomForestClassifier(8, max_depth=9).fit(clean[list("abcd")], y), clean),
    "deep": (RandomForestRegressor(4).fit(clean[list("abcd")][:2000], (clean["b"] * clean["c"])[:2000]), clean),
}
try:
    import xgboost
    fitted = xgboost.XGBClassifier(n_estimators=5, max_depth=4).fit(X[list("abcd")], y)
    models["file"] = (ex.load_model(bytes(fitted.get_booster().save_raw("json"))), X)
except ImportError:
    pass
codes = set()
for name, (fitted, frame) in models.items():
    data = ex.Dataset.from_frame(frame, target="truth")
    model = fitted if isinstance(fitted, ex.Model) else ex.Model.wrap(fitted)
    codes.add(model.trees.questions.dtype.name)
    model.trees.predict(np.asarray(frame[list("abcd")], dtype=np.float64))
    model.trees.predict(np.asarray(frame[list("abcd")], dtype=np.float32))
    target = model.classes[1] if model.classes else None
    spaces = ("auto", "probability") if model.space == "probability" else ("auto",)
    asked = [(ex.TreeShap(background=20, space=space), [0]) for space in spaces]
    asked += [(ex.TreeShap(background=20, background_errors=False), range(60))]
    asked += [(ex.TreeShap(background=b, precision=p), rows) for b in (0, 5) for p in ("single", "double") for rows in ([1], range(60))]
    asked += [(ex.TreeShapInteractions(background=b), rows) for b in (0, 5) for rows in ([1], range(60))]
    asked += [(ex.PartialDependence(cases=1), [0]), (ex.PartialDependence(cases=20), range(100)), (ex.PartialDependence(curves=2), range(100)), (ex.PermutationImportance(), None)]
    asked += [(ex.AccumulatedLocalEffects(), range(300)), (ex.InteractionStrength(), range(100))]
    for explainer, rows in asked:
        ex.explain(model, data, explainer, rows, target)
late = {name: [str(s) for s in set(loop.signatures) - before[name]] for name, loop in loops.items()}
never = sorted(name for name, found in before.items() if not found)
print(json.dumps({"late": {n: s for n, s in late.items() if s}, "loops": len(loops), "codes": sorted(codes), "never": never}))
"""


@pytest.mark.slow
def test_nothing_is_compiled_after_the_warm_up() -> None:
    settings = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", ASKED], cwd=ROOT, env=settings, capture_output=True, text=True, timeout=900)  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    said = json.loads(found.stdout.strip().splitlines()[-1])
    assert said["late"] == {}
    assert said["loops"] >= 25
    assert {"uint8", "uint16"} <= set(said["codes"])


def test_each_type_of_codes_is_tried_on_trees_that_have_it() -> None:
    for codes in warm.CODES:
        trees = warm._trees(codes)
        assert trees.questions.codes(warm._rows()).dtype == codes
        assert trees.questions.rank.dtype == codes
    assert np.ptp(warm._trees(np.uint8).predict(warm._rows())[:, 1]) > 0


def test_every_folder_that_holds_machine_code_is_named() -> None:
    for module in pkgutil.walk_packages(explainers.trees.__path__, "explainers.trees."):
        importlib.import_module(module.name)
    holding = {
        Path(value.stats.cache_path)
        for name, module in list(sys.modules.items())
        if name.startswith("explainers.trees.")
        for value in vars(module).values()
        if isinstance(value, Dispatcher)
    }
    assert {folder.parent.name for folder in holding} >= {"trees", "shapley", "interactions", "effects"}
    assert holding <= set(warm.machine_code())


def test_the_note_is_of_these_sources_and_of_the_folder_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert warm.note().parent == tmp_path
    assert not warm.filled()
    warm.note().touch()
    assert warm.filled()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0")
    assert not warm.filled()
