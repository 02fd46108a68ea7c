"""The operator's settings: one TOML file, every setting named here with its default, a misspelt key an error.

    [server]
    port = 8601

is all a file needs to say; `whyboard serve FOLDER --settings whyboard.toml` reads it.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    create_model,
)

if TYPE_CHECKING:
    import explainers as ex

ADDRESS = "127.0.0.1"
PORT = 8501
UPLOAD_MB = 100

#: Folders to publish, separated as in PATH; set by `whyboard serve`, read by the app.
FOLDERS_VARIABLE = "WHYBOARD_WORKSPACES"
#: The settings file; set by `--settings`, read by the app and by its workers.
SETTINGS_VARIABLE = "WHYBOARD_SETTINGS"

#: Formats that may run code when they are opened: only by name, and only in a worker whose lock has passed its test.
Unsafe = Literal["keras", "pickle", "joblib", "dill", "cloudpickle", "torch module", "torchscript", "pt2"]

#: A bare host name, as it stands in an address: no scheme, no port, no path.
Host = Annotated[
    str, Field(pattern=r"^(\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$|^\[?[0-9A-Fa-f:]+\]?$")
]


class WrongSettings(Exception):
    """What an operator can put right, in a sentence. Not of the family in `explainers`, whose import takes seconds."""


class Section(BaseModel):
    """A misspelt key is an error that names it, never ignored; a number in quotes is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


AnySection = TypeVar("AnySection", bound=Section)


class Server(Section):
    """How the web server is reached, and what a visitor may upload.

    Attributes:
        address, port: where it listens.
        allowed_hosts: names under which people reach it, beyond the address itself.
        behind_proxy: a reverse proxy stands in front; without one only this machine may be listened on.
        prefix: the path under which a proxy publishes it, where the proxy leaves it in the request.
        upload_mb: one file.
        uploads_per_visitor, upload_mb_per_visitor: what one visit may hold at a time.
        session_seconds: how long a visit is kept after its connection is lost.
    """

    address: str = ADDRESS
    port: Annotated[int, Field(ge=1, le=65535)] = PORT
    allowed_hosts: tuple[Host, ...] = Field(default=(), strict=False)
    behind_proxy: bool = False
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_/-]*$")] = ""
    upload_mb: PositiveInt = UPLOAD_MB
    uploads_per_visitor: PositiveInt = 20
    upload_mb_per_visitor: PositiveInt = 500
    session_seconds: PositiveInt = 30

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host name a request may ask for; any other is a page of somebody else that points here."""
        own = () if self.address in ("0.0.0.0", "::") else (self.address,)
        return tuple(dict.fromkeys(name.strip("[]") for name in (*_LOOPBACK, *own, *self.allowed_hosts)))

    def change(self, said: dict[str, Any]) -> Server:
        """The same with these values instead, those that are not ``None``; raises `WrongSettings`."""
        new = {name: value for name, value in said.items() if value is not None}
        return _section("command line", "server", Server, {**self.model_dump(), **new})

    def check(self) -> None:
        """Raise `WrongSettings` for a public address without a proxy, or where nobody could reach it."""
        if _is_loopback(self.address):
            return
        if not self.behind_proxy:
            raise WrongSettings(
                f"{self.address} can be reached from the network, and whyboard has no login and no encryption of its own. "
                "Put a reverse proxy in front that asks people to log in, speaks HTTPS, limits body size and rate, "
                "passes on WebSockets and the Host header, and sends a visitor always to the same server; "
                f"then say --behind-proxy (setting server.behind_proxy). To use it alone, leave the address at {ADDRESS}."
            )
        if not self.allowed_hosts and self.address in ("0.0.0.0", "::"):
            raise WrongSettings(
                f"{self.address} is every address of this machine: say under which host name people reach it "
                "(--allowed-host NAME, setting server.allowed_hosts)."
            )


class Workers(Section):
    """What one locked process may use, and how many there are.

    Attributes:
        open_ahead: how many prepared workspaces are opened before anybody asks; each has a process from then on.
    """

    memory_gib: PositiveFloat = 4.0
    open_seconds: PositiveInt = 60
    predict_seconds: PositiveInt = 30
    explain_seconds: PositiveInt = 120
    idle_minutes: PositiveInt = 10
    per_workspace: PositiveInt = 2
    open_ahead: NonNegativeInt = 8
    at_most: PositiveInt = 16
    reply_mb: PositiveInt = 256
    profile: Literal["auto", "strict", "plain"] = "auto"


class Formats(Section):
    """Which formats are opened beyond the safe ones."""

    allow: tuple[Unsafe, ...] = Field(default=(), strict=False)


class Bounds(Section):
    """What a file may ask of this machine: the fields of `explainers.Limits`, each under its own name."""

    def limits(self) -> ex.Limits:
        """As the loaders take them."""
        import explainers as ex

        return ex.Limits(**self.model_dump())


@functools.cache
def bounds() -> type[Bounds]:
    """The section ``[limits]``, made from `explainers.Limits` so that there is one list; imports the package."""
    import explainers as ex

    fields: dict[str, Any] = {
        field.name: (PositiveInt, field.default) for field in dataclasses.fields(ex.Limits)
    }
    return create_model("Limits", __base__=Bounds, __doc__=Bounds.__doc__, **fields)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings; `limits` is made at its first use, because it needs the package `explainers`."""

    server: Server = dataclasses.field(default_factory=Server)
    workers: Workers = dataclasses.field(default_factory=Workers)
    formats: Formats = dataclasses.field(default_factory=Formats)
    bounds: dict[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def limits(self) -> Bounds:
        """The section ``[limits]``."""
        return bounds()(**self.bounds)


@functools.cache
def settings() -> Settings:
    """The settings of this process, from the file in `SETTINGS_VARIABLE`; the defaults where there is none."""
    named = os.environ.get(SETTINGS_VARIABLE, "")
    return read(Path(named)) if named else Settings()


def read(path: Path) -> Settings:
    """A settings file; raises `WrongSettings` that names what is wrong in it."""
    found = _toml(path)
    made: dict[str, Any] = {}
    for name, content in found.items():
        if name not in _SECTIONS:
            raise _wrong(path, f"there is no section [{name}]; there are {', '.join(_SECTIONS)}")
        if not isinstance(content, dict):
            raise _wrong(path, f"{name} is a section: write [{name}] above its settings")
        kind = _SECTIONS[name]
        checked = _section(path, name, bounds() if kind is Bounds else kind, content)
        made |= {"bounds": content} if kind is Bounds else {name: checked}
    return Settings(**made)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, f"it cannot be read ({type(error).__name__})") from error
    except tomllib.TOMLDecodeError as error:
        raise _wrong(path, f"it is not TOML: {error}") from error


def _section(source: Path | str, name: str, kind: type[AnySection], content: dict[str, Any]) -> AnySection:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(kind.model_fields)
            raise _wrong(source, f"[{name}] has no setting {key!r}; there are {known}") from error
        raise _wrong(source, f"[{name}] {key}: {first['msg']}; found {first['input']!r}") from error


def _wrong(source: Path | str, what: str) -> WrongSettings:
    return WrongSettings(f"{source}: {what}.")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SECTIONS: dict[str, type[Section]] = {
    "server": Server,
    "workers": Workers,
    "formats": Formats,
    "limits": Bounds,
}
