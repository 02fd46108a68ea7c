"""Requests that the web server must refuse, and files that must not be confused: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Stands for a patient's value: neither the log nor the browser may ever show it.
SECRET = "Erika-Mustermann-creatinine-190"

#: What the module's server is started with.
SETTINGS = {
    "upload_mb": 2,
    "uploads_per_visitor": 3,
    "upload_mb_per_visitor": 4,
    "session_seconds": 2,
}


@dataclass(frozen=True)
class Asked:
    """One request, and how it is answered.

    `says` stands in the answer; `{port}` in a header is the server's port.
    """

    name: str
    path: str
    status: int
    says: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)


NOTHING = "There is nothing here."
HOST = "does not answer to this host name"
ORIGIN = "a page of another site"

REQUESTS = (
    Asked("foreign host", "/", 403, HOST, headers={"Host": "clinic.evil.example:{port}"}),
    Asked("foreign host, health", "/_stcore/health", 403, HOST, headers={"Host": "evil.example"}),
    Asked("foreign host behind our name", "/", 403, HOST, headers={"Host": "localhost@evil.example"}),
    Asked("foreign host that begins like ours", "/", 403, HOST, headers={"Host": "localhost.evil.example"}),
    Asked("no host", "/", 403, HOST, headers={"Host": ""}),
    Asked("our host at another port", "/_stcore/health", 200, "ok", headers={"Host": "127.0.0.1:1"}),
    Asked("foreign origin", "/_stcore/health", 403, ORIGIN, headers={"Origin": "http://evil.example"}),
    Asked("an origin without a name", "/_stcore/health", 403, ORIGIN, headers={"Origin": "null"}),
    Asked("our origin", "/_stcore/health", 200, "ok", headers={"Origin": "http://localhost:{port}"}),
    Asked("metrics", "/_stcore/metrics", 404, NOTHING),
    Asked("metrics, written otherwise", "/_stcore/%6detrics?families=x", 404, NOTHING),
    Asked("metrics with a slash", "/_stcore/metrics/", 404, NOTHING),
    Asked("the agent's description", "/_stcore/agent/openapi.json", 404, NOTHING),
    Asked("the agent's interface", "/_stcore/agent/interact", 404, NOTHING, "POST"),
    Asked("the agent's server", "/_stcore/agent/mcp", 404, NOTHING, "POST"),
    Asked("script health", "/_stcore/script-health-check", 404, NOTHING),
    Asked("an address that a later version may add", "/_stcore/whatever", 404, NOTHING),
    Asked("log-in", "/auth/login", 404, NOTHING),
    Asked("log-in's return", "/oauth2callback", 404, NOTHING),
    Asked("a path out of the folder", "/component/x/..%2f..%2f..%2fetc/passwd", 400),
    Asked("another machine's path", "//evil.example/share", 400),
    Asked("a file of the app", "/app/static/app.py", 200, "<!DOCTYPE html>"),
    Asked("a media file that is none", "/media/0123456789abcdef.csv", 404),
)

#: Settings files that must not start a server, and what the one line says.
BAD_SETTINGS = (
    ("misspelt key", "[server]\nprot = 1", "[server] has no setting 'prot'"),
    ("misspelt section", "[sever]\nport = 1", "no section [sever]"),
    ("no section", "port = 8501", "no section [port]"),
    ("not a section", "server = 3", "write [server] above"),
    ("number in quotes", '[server]\nport = "8501"', "[server] port"),
    ("port out of range", "[server]\nport = 70000", "[server] port"),
    ("nothing allowed", "[server]\nupload_mb = 0", "[server] upload_mb"),
    ("a host with its scheme", '[server]\nallowed_hosts = ["https://x.org"]', "[server] allowed_hosts.0"),
    ("every host", '[server]\nallowed_hosts = ["*"]', "[server] allowed_hosts.0"),
    ("unknown profile", '[workers]\nprofile = "none"', "[workers] profile"),
    ("unknown format", '[formats]\nallow = ["exe"]', "[formats] allow.0"),
    ("misspelt limit", "[limits]\nrow = 3", "[limits] has no setting 'row'"),
    ("negative limit", "[limits]\nrows = -3", "[limits] rows"),
    ("not TOML", "[server", "not TOML"),
    ("no text", b"\xff\xfe\x00", "cannot be read"),
    ("twice", "[server]\nport = 1\nport = 2", "not TOML"),
)

MEBIBYTE = 1 << 20


def pair() -> tuple[bytes, bytes]:
    """Two files of 4 MiB that agree in length, beginning, middle and end: all that Streamlit looks at."""
    first, second = bytearray(4 * MEBIBYTE), bytearray(4 * MEBIBYTE)
    second[MEBIBYTE : MEBIBYTE + 4] = b"mine"
    return bytes(first), bytes(second)
