"""The command line: `whyboard demo | serve | check | convert | methods`. Failure exits non-zero with one clear line."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import urllib.request
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dashboard.configuration import Server

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Why does the model predict what it predicts?"
)

Port = Annotated[
    int | None, typer.Option(help="Port, 8501 by default; the next free one is taken if it is in use.")
]
Address = Annotated[
    str | None,
    typer.Option(help="Address to listen on, 127.0.0.1 by default; a public one needs --behind-proxy."),
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="A TOML file with [server], [workers], [formats], [limits].")
]
BehindProxy = Annotated[
    bool, typer.Option("--behind-proxy", help="A reverse proxy with log-in and HTTPS stands in front.")
]
AllowedHost = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", help="A host name under which people reach it; can be repeated."),
]


@app.command()
def demo(
    port: Port = None,
    no_browser: NoBrowser = False,
    address: Address = None,
    settings: SettingsFile = None,
    behind_proxy: BehindProxy = False,
    allowed_host: AllowedHost = None,
) -> None:
    """Start the dashboard on the prepared workspaces."""
    _serve((), _server(settings, address, port, behind_proxy, allowed_host), no_browser)


@app.command()
def serve(
    workspaces: Annotated[list[Path], typer.Argument(help="Workspace folders, or folders that hold some.")],
    port: Port = None,
    no_browser: NoBrowser = False,
    address: Address = None,
    settings: SettingsFile = None,
    behind_proxy: BehindProxy = False,
    allowed_host: AllowedHost = None,
) -> None:
    """Publish prepared workspaces to people who only browse."""
    _serve(tuple(workspaces), _server(settings, address, port, behind_proxy, allowed_host), no_browser)


@app.command()
def check(
    model: Annotated[Path, typer.Argument(help="The model file.")],
    data: Annotated[Path, typer.Argument(help="The table, or the pictures.")],
    target: Annotated[str | None, typer.Option(help="The column with the true outcome.")] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="For bare weights: the JSON that declares the layers.")
    ] = None,
) -> None:
    """Say what can be explained for this model and these data, what not, and why."""
    import explainers as ex

    opened = ex.load_model(model, architecture)
    cases = ex.load_dataset(data)
    if cases.modality == "table":
        frame = cases.X
        cases = ex.align(frame, opened, target or ex.guess_target(frame, opened), ex.guess_role(frame))
    opened.check(cases)
    typer.echo(f"{model.name}: {opened.family}, {opened.task}")
    for note in opened.notes:
        typer.echo(f"  note: {note}")
    typer.echo(f"{data.name}: {len(cases):,} cases of modality {cases.modality}")
    _list([(kind.title, kind.question, reason) for kind, reason in ex.applicable(opened, cases)])


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A model file: pickle, joblib, torch, Keras, …")],
    data: Annotated[Path | None, typer.Option(help="The table or the pictures it works on.")] = None,
    target: Annotated[str | None, typer.Option(help="The column with the true outcome.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to make; by default FILE without its ending.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open FILE without asking: its code is run.")
    ] = False,
    classes: Annotated[str | None, typer.Option(help="Names of the outputs, with commas between.")] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="For bare weights: the JSON that declares the layers.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that exists.")] = False,
) -> None:
    """Turn a model file that runs code when opened into a workspace that holds none."""
    import explainers as ex
    from dashboard import converting

    title = ex.runs_code(file)
    if title is not None and not trust:
        typer.echo(converting.warning(file.name, title), err=True)
        if not (_at_a_terminal() and typer.confirm("Open it?", default=False, err=True)):
            typer.echo("Nothing was opened. Say --trust to open it.", err=True)
            raise typer.Exit(1)
    converting.bring(
        file, out, data=data, target=target, architecture=architecture, force=force, trust=title is not None,
        classes=None if classes is None else tuple(name.strip() for name in classes.split(",")), say=typer.echo,
    )  # fmt: skip


def _at_a_terminal() -> bool:
    return sys.stdin.isatty()


@app.command()
def methods() -> None:
    """List the methods and the question that each answers."""
    import explainers as ex

    _list([(kind.title, kind.question, None) for kind in ex.EXPLAINERS])


def _list(rows: list[tuple[str, str, str | None]]) -> None:
    for title, question, reason in rows:
        typer.echo(f"  {'yes' if reason is None else 'no ':3}  {title:28} {reason or question}")


def _server(
    file: Path | None, address: str | None, port: int | None, behind_proxy: bool, hosts: list[str] | None
) -> Server:
    """The section [server] of the settings file, with what the command line says instead."""
    from dashboard import configuration

    if file is not None:
        os.environ[configuration.SETTINGS_VARIABLE] = str(file.resolve())
        configuration.settings.cache_clear()
    said = {
        "address": address,
        "port": port,
        "behind_proxy": behind_proxy or None,
        "allowed_hosts": hosts or None,
    }
    server = configuration.settings().server.change(said)
    server.check()
    return server


def _serve(folders: tuple[Path, ...], server: Server, no_browser: bool) -> None:
    """Start Streamlit in this process, so that a signal to it ends everything."""
    from dashboard import configuration

    for folder in folders:
        if not any(folder.glob("workspace.toml")) and not any(folder.glob("*/workspace.toml")):
            raise typer.BadParameter(f"There is no workspace.toml in {folder}.")
    os.environ[configuration.FOLDERS_VARIABLE] = os.pathsep.join(str(folder.resolve()) for folder in folders)
    server = server.change({"port": _free_port(server.address, server.port)})

    from dashboard.workers.starting import starter
    from dashboard.workers.terms import agreed

    starter(agreed()).start()  # it imports for seconds, and so do we
    from dashboard.serving.application import run  # before the thread, which imports the same libraries

    threading.Thread(target=_warm, name="whyboard-warm", daemon=True).start()
    threading.Thread(target=_announce, args=(_url(server), not no_browser), daemon=True).start()
    run(server)


def _url(server: Server) -> str:
    """Where a browser on this machine finds it."""
    host = server.address if server.address not in ("127.0.0.1", "0.0.0.0", "::", "::1") else "localhost"
    return f"http://{host}:{server.port}/{server.prefix.strip('/')}".rstrip("/")


def _warm() -> None:
    """Heavy imports and the first workspace, beside the starting server: the browser needs a second to load anyway."""
    from dashboard.library import library
    from dashboard.startup import open_ahead, warm

    typer.echo(warm(library()))
    open_ahead(library())


def _free_port(address: str, port: int) -> int:
    """The port, or the next of twenty that nobody listens on."""
    for candidate in range(port, port + 20):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, candidate))
            except OSError:
                continue
            if candidate != port:
                typer.echo(f"Port {port} is in use; taking {candidate}.")
            return candidate
    raise typer.BadParameter(f"Ports {port} to {port + 19} are all in use; name another with --port.")


def _announce(url: str, browse: bool) -> None:
    """Say where it is, and open a browser, once the server answers."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                break
        except OSError:
            time.sleep(0.05)
    typer.echo(f"whyboard is at {url}  (stop with Ctrl+C)")
    if browse:
        webbrowser.open(url)


def main() -> None:
    """Entry point: an `ExplainerError` becomes one line on the error stream."""
    # OpenMP threads that spin while they wait slow everything down tenfold as soon as the cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except Exception as error:
        if not _is_explainer_error(error):
            raise
        typer.echo(f"whyboard: {error}", err=True)
        sys.exit(1)


def _is_explainer_error(error: Any) -> bool:
    """Told by name, so that `--help` does not import torch."""
    return any(base.__name__ in ("ExplainerError", "WrongSettings") for base in type(error).__mro__)


if __name__ == "__main__":
    main()
