"""Where the browser gets the host's own scripts and Plotly's JavaScript: from the installed packages, without a network.

Both folders are published through Streamlit's component route, which reads files where they lie (so a read-only
installation, an editable one and a wheel are alike). That route names no lifetime for the browser's cache, so the
loader fetches Plotly with `cache: "force-cache"` from an address that changes with the version: 1.5 MB compressed,
once per browser. Passing the scripts inline instead would send them again with every run.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import plotly
from streamlit.components.v1 import declare_component

WEB = Path(__file__).parent / "web"
PLOTLY_FILE = "plotly.min.js"


def plotly_folder() -> Path:
    """The folder of the installed `plotly` package that holds `plotly.min.js`."""
    folder = Path(str(files("plotly").joinpath("package_data")))
    if not (folder / PLOTLY_FILE).is_file():
        raise FileNotFoundError(
            f"{folder / PLOTLY_FILE}: plotly {plotly.__version__} came without it; reinstall plotly"
        )
    return folder


def publish() -> dict[str, str]:
    """Make both folders reachable in the running server; the addresses, relative to the app's base."""
    host = declare_component("host", path=WEB)
    chart = declare_component("plotly", path=plotly_folder())
    stamp = _stamp()
    return {
        "host": f"component/{quote(host.name)}/host.js?v={stamp}",
        "style": f"component/{quote(host.name)}/host.css?v={stamp}",
        "plotly": f"component/{quote(chart.name)}/{PLOTLY_FILE}?v={plotly.__version__}-{_plotly_size()}",
    }


def loader() -> str:
    """The few lines that are sent inline; everything else is fetched once."""
    return (WEB / "loader.js").read_text(encoding="utf-8")


@cache
def _stamp() -> str:
    digest = hashlib.sha256()
    for path in sorted(WEB.iterdir()):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def _plotly_size() -> int:
    return (plotly_folder() / PLOTLY_FILE).stat().st_size
