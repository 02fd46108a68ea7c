"""Every explainer, in the order in which they are offered. To add one: its file, and one line here."""

from __future__ import annotations

from explainers.explainer import Explainer

EXPLAINERS: tuple[type[Explainer], ...] = ()
