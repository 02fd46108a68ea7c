"""`whyboard convert FILE`: a model that runs code when opened becomes a workspace folder that does not."""

from __future__ import annotations

from dashboard.converting.command import bring, warning

__all__ = ["bring", "warning"]
