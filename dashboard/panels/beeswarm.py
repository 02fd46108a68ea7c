"""How do the values push? Every case a dot: its SHAP value across, its feature value as colour."""

from __future__ import annotations

import numpy as np

import explainers as ex
from dashboard import policy
from dashboard.export import takeaway
from dashboard.figures.beeswarm import DOTS, beeswarm, drawn
from dashboard.panels.importance import attributed_rows, global_attribution, rows_in_python
from dashboard.panels.panel import Block, Event
from dashboard.selection import Selection
from dashboard.view import View


class Beeswarm:
    """Shapley values of many cases; a dot selects its case. Shares its values with the importance."""

    name = "beeswarm"
    title = "In which direction, case by case?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        shap = global_attribution(view)
        if shap is None:
            return [
                {
                    "id": "beeswarm.chart",
                    "kind": "chart",
                    "area": self.area,
                    "title": self.title,
                    "loading": True,
                    "height": 320,
                }
            ]
        rows = attributed_rows(view, shap)
        figure = beeswarm(
            shap,
            view.schema,
            view.data.matrix[rows],
            rows,
            selected=view.selection.row,
            unit=view.unit_of(shap.space),
        )
        alt = "One dot for each case and feature: right raises, left lowers the prediction"
        chart = {
            "id": "beeswarm.chart",
            "kind": "chart",
            "area": self.area,
            "title": self.title,
            "figure": figure,
            "height": int(figure.layout.height),
            "click": True,
            "alt": alt,
        }
        return [chart | _told(view, shap, rows)]

    def apply(self, event: Event, view: View) -> Selection:
        point = event.get("point")
        row = point[0] if isinstance(point, list) else point
        return view.selection.pick(int(row)) if isinstance(row, (int, float)) else view.selection


def _told(view: View, shap: ex.Attribution, rows: np.ndarray) -> dict[str, str]:
    """What stands under the picture; of many cases the table has the dots, since all values would be megabytes."""
    code = rows_in_python(view, shap)
    if len(rows) <= policy.MOST_CASES:
        return takeaway(shap, rows=code)
    told = takeaway(shap, drawn(shap, rows, view.selection.row), code)
    note = f"{len(rows):,} cases; drawn and in the CSV {DOTS} of each feature, evenly along their order"
    return told | {"footer": f"{note} · {told['footer']}"}
