"""A result as one file of HTML: it opens without a server, fetches nothing, and runs two scripts, both ours.

Texts are escaped, figures travel as JSON that holds no `<`, and the page's own policy names the two scripts by their
digests, so that even a text which had slipped through could neither run nor load anything.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable
from functools import cache

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from dashboard.figures.frame import figure_dict
from dashboard.figures.plain import plain_text

#: Characters of a paragraph.
LONGEST = 4000

_STYLE = "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
_DRAW = """
for (const source of document.querySelectorAll("script[type='application/json']")) {
  const place = document.createElement("div");
  source.before(place);
  const figure = JSON.parse(source.textContent);
  Plotly.newPlot(place, figure.data, figure.layout, { displayModeBar: false, displaylogo: false });
}
"""


def standalone(title: str, parts: Iterable[str | go.Figure]) -> str:
    """The page: a title, then paragraphs and figures in order. Figures are those of `dashboard.figures`."""
    said = plain_text(title, 200)
    body = "\n".join(_figure(part) if isinstance(part, go.Figure) else _paragraph(part) for part in parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">\n'
        f"<title>{html.escape(said)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(said)}</h1>\n{body}\n<script>{get_plotlyjs()}</script>\n<script>{_DRAW}</script>\n</body>\n</html>\n"
    )


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(plain_text(text, LONGEST))}</p>"


def _figure(figure: go.Figure) -> str:
    packed = json.dumps(figure_dict(figure), cls=PlotlyJSONEncoder, allow_nan=False)
    return f'<script type="application/json">{packed.replace("<", chr(92) + "u003c")}</script>'


@cache
def _policy() -> str:
    """Nothing from anywhere; two scripts. WebGL traces compile their shaders' callers, and Plotly writes styles."""
    ours = " ".join(f"'sha256-{_digest(script)}'" for script in (get_plotlyjs(), _DRAW))
    return (
        f"default-src 'none'; script-src {ours} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
