"""The workspace folder: the model, the data and `workspace.toml`, put in place together when all of them are there."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import explainers as ex
from dashboard.workspace import read_configuration


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a folder is made of: the file it came from, the converted model, and the data and layers where there are some."""

    source: Path
    model: ex.Conversion
    data: Path | None = None
    architecture: Path | None = None


def write(folder: Path, parts: Parts) -> list[Path]:
    """Write everything beside the folder first, then put it there; other files in an existing folder stay as they are."""
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".whyboard-", dir=folder.absolute().parent) as place:
        made = Path(place) / "made"
        made.mkdir()
        names = _fill(made, parts)
        if not folder.exists():
            made.rename(folder)
        else:
            for name in names:
                os.replace(made / name, folder / name)
    return [folder / name for name in names]


def _fill(folder: Path, parts: Parts) -> list[str]:
    model = f"model{parts.model.ending}"
    (folder / model).write_bytes(parts.model.content)
    names = [model]
    if parts.architecture is not None:
        names.append("layers.json")
        shutil.copyfile(parts.architecture, folder / names[-1])
    if parts.data is not None:
        names.append(_copy_data(parts.data, folder))
        (folder / "workspace.toml").write_text(toml(_description(parts, *names[::-1])), encoding="utf-8")
        names.append("workspace.toml")
        read_configuration(folder)
    return names


def _copy_data(data: Path, folder: Path) -> str:
    """The table or archive under a plain name; a folder of pictures becomes a zip, since a workspace holds files."""
    if not data.is_dir():
        ending = "".join(
            re.findall(r"\.[A-Za-z0-9]{1,8}", data.name)[-2:] if data.suffix == ".gz" else [data.suffix]
        )
        name = f"cases{ending}" if re.fullmatch(r"(\.[A-Za-z0-9]{1,8})*", ending) else "cases"
        shutil.copyfile(data, folder / name)
        return name
    with zipfile.ZipFile(folder / "cases.zip", "w") as archive:
        for path in sorted(data.rglob("*")):
            if path.is_file() and not path.is_symlink():
                archive.write(path, path.relative_to(data).as_posix())
    return "cases.zip"


def _description(parts: Parts, data: str, *rest: str) -> dict[str, Any]:
    """The sections of ``workspace.toml``."""
    done, title = parts.model, parts.source.stem.encode("utf-8", "replace").decode("utf-8")
    cases = done.data
    table: dict[str, Any] = {"file": data}
    if cases is not None and cases.modality == "table":
        about = {
            "target": cases.schema.target,
            "role": done.role,
            "ignore": [] if cases.extra is None else [str(name) for name in cases.extra.columns],
        }
        table |= {name: value for name, value in about.items() if value}
    entry: dict[str, Any] = {"name": title, "file": rest[-1]}
    if done.classes:
        entry["classes"] = list(done.classes)
    if parts.architecture is not None:
        entry["architecture"] = rest[0]
    return {"workspace": {"title": title, "summary": done.model.family}, "data": table, "models": [entry]}


def toml(sections: Mapping[str, dict[str, Any] | list[dict[str, Any]]]) -> str:
    """TOML of tables and arrays of tables; every text in it is quoted."""
    lines: list[str] = []
    for heading, content in sections.items():
        many = isinstance(content, list)
        for table in content if isinstance(content, list) else [content]:
            lines.append(f"[[{heading}]]" if many else f"[{heading}]")
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
            lines.append("")
    return "\n".join(lines)


def _value(value: Any) -> str:
    """JSON's texts, numbers and lists are TOML's too, but for one character and for what UTF-8 cannot hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
    return text.encode("utf-8", "replace").decode("utf-8")
