"""The command line: `whyboard demo | serve | check | methods`. Failure exits non-zero with one clear line."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import urllib.request
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from dashboard import configuration

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Why does the model predict what it predicts?"
)

Port = Annotated[int, typer.Option(help="Port; the next free one is taken if it is in use.")]
Address = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 makes it public to the network.")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")]


@app.command()
def demo(
    port: Port = configuration.PORT, no_browser: NoBrowser = False, address: Address = configuration.ADDRESS
) -> None:
    """Start the dashboard on the prepared workspaces."""
    _serve((), address, port, no_browser)


@app.command()
def serve(
    workspaces: Annotated[list[Path], typer.Argument(help="Workspace folders, or folders that hold some.")],
    port: Port = configuration.PORT,
    no_browser: NoBrowser = False,
    address: Address = configuration.ADDRESS,
) -> None:
    """Publish prepared workspaces to people who only browse."""
    _serve(tuple(workspaces), address, port, no_browser)


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
def methods() -> None:
    """List the methods and the question that each answers."""
    import explainers as ex

    _list([(kind.title, kind.question, None) for kind in ex.EXPLAINERS])


def _list(rows: list[tuple[str, str, str | None]]) -> None:
    for title, question, reason in rows:
        typer.echo(f"  {'yes' if reason is None else 'no ':3}  {title:28} {reason or question}")


def _serve(folders: tuple[Path, ...], address: str, port: int, no_browser: bool) -> None:
    """Start Streamlit in this process, so that a signal to it ends everything."""
    for folder in folders:
        if not any(folder.glob("workspace.toml")) and not any(folder.glob("*/workspace.toml")):
            raise typer.BadParameter(f"There is no workspace.toml in {folder}.")
    os.environ[configuration.FOLDERS_VARIABLE] = os.pathsep.join(str(folder.resolve()) for folder in folders)
    port = _free_port(address, port)
    options = configuration.options(address, port)

    from streamlit.web import bootstrap

    threading.Thread(target=_warm, name="whyboard-warm", daemon=True).start()
    flags = {name.replace(".", "_"): value for name, value in options.items()}
    bootstrap.load_config_options(flags)
    url = f"http://{'localhost' if address in (configuration.ADDRESS, '0.0.0.0') else address}:{port}"
    threading.Thread(target=_announce, args=(url, not no_browser), daemon=True).start()
    bootstrap.run(str(Path(__file__).parent / "app.py"), False, [], flags)


def _warm() -> None:
    """Heavy imports and the first workspace, beside the starting server: the browser needs a second to load anyway."""
    from dashboard.library import library
    from dashboard.startup import warm

    warm(library())


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
    return any(base.__name__ == "ExplainerError" for base in type(error).__mro__)


if __name__ == "__main__":
    main()
