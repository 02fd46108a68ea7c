"""Streamlit's options: private by default, quick, and quiet to look at. The one place for them.

What matters for safety is set here even where it is Streamlit's default, so that no configuration file or environment
variable of the machine, and no later Streamlit, changes it.
"""

from __future__ import annotations

from typing import Any

from dashboard.configuration import Server

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


def options(server: Server | None = None, theme: str | None = None) -> dict[str, Any]:
    """Streamlit's options by name. `theme` forces ``"light"`` or ``"dark"``; by default the browser decides."""
    found = {**_reach(server or Server()), **_CLOSED, **_QUICK, **_LOOK}
    for section, colours in (("light", _LIGHT), ("dark", _DARK)):
        found |= {f"theme.{section}.{name}": value for name, value in colours.items()}
    if theme is not None:
        found["theme.base"] = theme
        found |= {f"theme.{name}": value for name, value in (_DARK if theme == "dark" else _LIGHT).items()}
    return found


def _reach(server: Server) -> dict[str, Any]:
    """Where it listens and for whom. With a named address Streamlit never looks up the machine's public one."""
    return {
        "server.address": server.address,
        "server.port": server.port,
        "server.baseUrlPath": server.prefix.strip("/"),
        "server.allowedHosts": list(server.hosts),
        "server.maxUploadSize": server.upload_mb,
        # `visits` ends a session after `session_seconds`; Streamlit forgets one only while it saves another.
        "server.disconnectedSessionTTL": 2 * server.session_seconds + 60,
        "browser.serverAddress": server.allowed_hosts[0] if server.allowed_hosts else "localhost",
    }


_CLOSED: dict[str, Any] = {
    "global.developmentMode": False,
    "server.enableCORS": True,
    "server.corsAllowedOrigins": [],
    "server.enableXsrfProtection": True,
    "server.xsrfCookieSameSite": "lax",
    "server.trustedUserHeaders": {},
    "server.enableAgentApi": False,
    "server.enableStaticServing": False,
    "server.scriptHealthCheckEnabled": False,
    "client.allowedOrigins": [],  # pages that may control this one from around it; Streamlit's own clouds by default
    "client.showErrorDetails": "none",  # an error's text may hold a patient's values
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "browser.gatherUsageStats": False,
    "logger.enableRich": False,  # it writes a whole exception past the log
    "logger.hideWelcomeMessage": True,  # the command line says where it is
}

_QUICK: dict[str, Any] = {
    "server.headless": True,  # we open the browser ourselves, once the pages are ready
    "server.fileWatcherType": "none",
    # A full collection after every run costs a quarter of a second once torch is imported; `startup.freeze`
    # moves what is imported out of the collector's sight, and Python's own thresholds do the rest.
    "runner.postScriptGC": False,
    "runner.magicEnabled": False,
}

_LOOK: dict[str, Any] = {
    "theme.font": "sans-serif",
    "theme.baseFontSize": 15,
    "theme.baseRadius": "6px",
    "theme.showWidgetBorder": True,
}
