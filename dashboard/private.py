"""Processes for visitors' own models and data: one for each upload, ended with the visit it belongs to."""

from __future__ import annotations

import threading
import weakref

from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from dashboard.workers.pool import Pool
from dashboard.workers.remote import Remote
from dashboard.workers.starting import starter
from dashboard.workers.terms import agreed

_of_visits: dict[str, weakref.WeakSet[Pool]] = {}


def remote() -> Remote:
    """A process for the visitor whose page this is."""
    pool = Pool(starter(agreed()), 1, private=True)
    context = get_script_run_ctx(suppress_warning=True)
    _of_visits.setdefault(context.session_id if context is not None else "", weakref.WeakSet()).add(pool)
    return Remote(pool)


def end(visit: str) -> None:
    """Kill the processes of a visit that is over; returns at once."""
    pools = list(_of_visits.pop(visit, ()))
    if pools:
        threading.Thread(target=_close, args=(pools,), daemon=True).start()


def _close(pools: list[Pool]) -> None:
    for pool in pools:
        pool.close()
