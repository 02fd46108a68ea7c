"""Plotly's traces and figure without its check of every property, which takes four fifths of a small figure's time.

A slider's every step draws some; the tests run the check that is left out here.
"""

from __future__ import annotations

from functools import partial

import plotly.graph_objects as go

Bar = partial(go.Bar, _validate=False)
Figure = partial(go.Figure, _validate=False)
Heatmap = partial(go.Heatmap, _validate=False)
Scatter = partial(go.Scatter, _validate=False)
Scattergl = partial(go.Scattergl, _validate=False)
Waterfall = partial(go.Waterfall, _validate=False)
