"""Files that run code when opened become files that do not, on the machine of whoever trusts them; see `convert`.

Nothing here belongs into a server: `opening` runs whatever the file holds.
"""

from __future__ import annotations

from explainers.converting.conversion import Conversion, convert, runs_code

__all__ = ["Conversion", "convert", "runs_code"]
