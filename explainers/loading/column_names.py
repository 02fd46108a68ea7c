"""Names of columns as files give them: present, told apart by the eye, of modest length; what is invisible is said."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from explainers.errors import SchemaMismatch
from explainers.loading.sources import File
from explainers.schema import _listed


def require_names(file: File, names: Sequence[str], first: int = 1) -> list[str]:
    """What is odd about the names, in sentences; `first` is the place of the first one in the file.

    Raises `SchemaMismatch` for names that are missing, occur twice or look the same, `UnreadableFile` for endless ones.
    """
    file.limits.hold(file.name, "name_characters", max(map(len, names), default=0))
    repeated = [name for name, times in Counter(names).items() if name and times > 1]
    if repeated:
        raise SchemaMismatch(
            f"Column names must be unique; {_listed(repeated)} occur more than once in {file.name!r}."
        )
    seen: dict[str, int] = {}
    for position, name in enumerate(names, first):
        shape = looks(name)
        if not shape:
            raise SchemaMismatch(
                f"Column {position} of {file.name!r} has no name. Name every column in the first row."
            )
        if shape in seen:
            raise SchemaMismatch(
                f"The names of columns {seen[shape]} and {position} of {file.name!r} look the same "
                f"({_listed([shape])}) but are written with different characters. Rename one of them."
            )
        seen[shape] = position
    hidden = [str(i) for i, name in enumerate(names, first) if any(map(_invisible, name))]
    return (
        [f"Names with invisible characters: column {', '.join(hidden[:8])}. They are kept as they are."]
        if hidden
        else []
    )


def looks(name: str) -> str:
    """What the eye sees of a name: without invisible characters, accents joined, blanks as one."""
    if name.isascii() and name.isprintable():
        return re.sub(r" +", " ", name).strip()
    seen = "".join(char for char in name if not _invisible(char) or char.isspace())
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _invisible(char: str) -> bool:
    """Zero width, direction marks, line breaks, private marks: what a reader of the name cannot see."""
    return unicodedata.category(char) in ("Cf", "Cc", "Zl", "Zp", "Cs")
