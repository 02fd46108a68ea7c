"""What the README says is true: its Python runs, its workspace opens, its tables match the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer

import explainers as ex
from dashboard import cli
from dashboard.configuration import ADDRESS, UPLOAD_MB
from dashboard.workspace import open_workspace
from tests.dashboard.in_process import InProcess

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
START, END = (
    "<!-- methods: checked against the registry by tests/test_readme.py -->\n",
    "<!-- end of methods -->",
)

#: What an explainer needs beyond predictions, as a reader would say it.
NEEDS = {
    "gradients": "gradients",
    "layers": "layers",
    "attention": "attention",
    "trees": "trees",
    "raw": "raw scores",
    "truth": "true outcomes",
    "several rows": "several rows",
}
WORKS_ON = {"table": "tables", "image": "pictures", "text": "texts", "sequence": "sequences"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def methods_table() -> str:
    """The README's table of methods; to renew it, put what this returns between the two marks."""
    lines = ["| Explainer | Question | For | Works on | Needs |", "| --- | --- | --- | --- | --- |"]
    for kind in ex.EXPLAINERS:
        needs = ", ".join(words for need, words in NEEDS.items() if need in kind.needs) or "any model"
        where = ", ".join(WORKS_ON[modality] for modality in kind.modalities)
        scope = {"case": "one case", "data": "the data set"}[kind.scope]
        lines.append(f"| `{kind.__name__}` | {kind.question} | {scope} | {where} | {needs} |")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's Python was run here, block after block, as a reader would."""
    place = tmp_path_factory.mktemp("readme")
    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for number, block in enumerate(blocks("python")):
            exec(compile(block, f"README.md, Python block {number + 1}", "exec"), names)
    assert isinstance(names["result"], ex.Attribution)
    assert names["result"].values.shape == (1, 30)
    return place


def test_there_is_python_to_run() -> None:
    assert len(blocks("python")) == 3
    assert len(blocks("toml")) == 1


def test_the_python_runs_and_its_workspace_opens(folder: Path) -> None:
    (folder / "workspace.toml").write_text(blocks("toml")[0], encoding="utf-8")
    opened = open_workspace(folder, InProcess())
    assert [model.name for model in opened.models] == ["boosted trees"]
    assert opened.first_case == 17
    assert opened.data.schema.feature("mean radius").unit == "µm"


def test_a_misspelt_key_is_named(folder: Path) -> None:
    (folder / "workspace.toml").write_text(
        blocks("toml")[0].replace("summary =", "sumary ="), encoding="utf-8"
    )
    with pytest.raises(ex.UnreadableFile, match="sumary"):
        open_workspace(folder, InProcess())


def test_the_table_of_methods_says_what_the_registry_says() -> None:
    """A method may be added before the table names it; what the table says is true, and in the registry's order."""
    shown = TEXT.partition(START)[2].partition(END)[0].strip().splitlines()
    known = methods_table().strip().splitlines()
    assert len(shown) >= 12
    assert [line for line in known if line in shown] == shown


def test_the_commands_are_those_of_the_command_line() -> None:
    told = set(re.findall(r"^\| `whyboard (\w+)", TEXT, flags=re.MULTILINE))
    command = typer.main.get_command(cli.app)
    assert told == set(command.commands)  # type: ignore[attr-defined]
    assert {"--port", "--no-browser", "--address"} <= {
        option
        for parameter in command.commands["demo"].params
        for option in parameter.opts  # type: ignore[attr-defined]
    }


def test_facts_stand_as_in_the_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    torch = next(entry for entry in project["dependencies"] if entry.startswith("torch"))
    assert f"`{torch}`" in TEXT
    assert f"limited to {UPLOAD_MB} MB" in TEXT
    assert f"`{ADDRESS}` unless" in TEXT
    for extra in ("xgboost", "lightgbm", "catboost"):
        assert extra in project["optional-dependencies"]


@pytest.mark.parametrize(
    "command", ["pip install -e . && whyboard demo", 'pip install -e ".[test]" && pytest']
)
def test_the_two_commands_stand_alone_in_a_block(command: str) -> None:
    assert f"{command}\n" in blocks("")


def test_what_it_links_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(targets) >= 6
    for target in targets:
        assert (ROOT / target).is_file(), f"README.md links to {target}, which is not there"


def test_pictures_are_small() -> None:
    for path in (ROOT / "assets" / "pictures").glob("*.png"):
        assert path.stat().st_size < 250_000, f"{path.name} is {path.stat().st_size:,} bytes"
