"""How the server is set up: private by default, quick, and quiet to look at. The one place for Streamlit's options."""

from __future__ import annotations

from typing import Any

ADDRESS = "127.0.0.1"
PORT = 8501
UPLOAD_MB = 100

#: Folders to publish, separated as in PATH; set by `whyboard serve`, read by the app.
FOLDERS_VARIABLE = "WHYBOARD_WORKSPACES"

_LIGHT = {
    "primaryColor": "#6B5CA5",
    "backgroundColor": "#FFFFFF",
    "secondaryBackgroundColor": "#F5F6F7",
    "textColor": "#1F2933",
    "borderColor": "#E3E6E8",
}
_DARK = {
    "primaryColor": "#A79BE0",
    "backgroundColor": "#14181B",
    "secondaryBackgroundColor": "#1C2226",
    "textColor": "#E6E9EB",
    "borderColor": "#2C3439",
}


def options(address: str = ADDRESS, port: int = PORT, theme: str | None = None) -> dict[str, Any]:
    """Streamlit's options by name. `theme` forces ``"light"`` or ``"dark"``; by default the browser decides."""
    found: dict[str, Any] = {
        "server.address": address,
        "server.port": port,
        "server.headless": True,  # we open the browser ourselves, once the pages are ready
        "server.fileWatcherType": "none",
        "server.maxUploadSize": UPLOAD_MB,
        "server.disconnectedSessionTTL": 30,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": "localhost" if address == ADDRESS else address,
        "client.showErrorDetails": "none",  # an error's text may hold a patient's values
        "client.toolbarMode": "minimal",
        # A full collection after every run costs a quarter of a second once torch is imported; `startup.freeze`
        # moves what is imported out of the collector's sight, and Python's own thresholds do the rest.
        "runner.postScriptGC": False,
        "runner.magicEnabled": False,
        "theme.font": "sans-serif",
        "theme.baseFontSize": 15,
        "theme.baseRadius": "6px",
        "theme.showWidgetBorder": True,
    }
    for section, colours in (("light", _LIGHT), ("dark", _DARK)):
        found |= {f"theme.{section}.{name}": value for name, value in colours.items()}
    if theme is not None:
        found["theme.base"] = theme
        found |= {f"theme.{name}": value for name, value in (_DARK if theme == "dark" else _LIGHT).items()}
    return found
