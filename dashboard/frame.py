"""What stands around every page of a workspace: its name, the model, the class, the threshold, the scale."""

from __future__ import annotations

import enum
from typing import Any

import streamlit as st

import explainers as ex
from dashboard import session, trust
from dashboard.figures.text import distinct, plain_text
from dashboard.markdown import literal
from dashboard.view import View


class _Target(enum.Enum):
    """What is explained where no class is chosen; Streamlit takes ``None`` for "nothing chosen"."""

    PREDICTED = "predicted class"


#: Quiet page: less empty space on top, and the bar of long work at the lower edge, where it moves nothing. Downloads of panels are
#: asked for where the panel is.
_STYLE = """
<style>
.stMainBlockContainer { padding-top: 3.6rem; padding-bottom: 2rem; max-width: 1600px; }
.st-key-work { position: fixed; right: 1.5rem; bottom: 1.5rem; width: 22rem; z-index: 1000; padding: 0.8rem 1rem;
  background: var(--st-secondary-background-color, Canvas); border: 1px solid rgba(128,128,128,.35); border-radius: 8px; }
[data-testid="stHorizontalBlock"] { gap: 0.8rem; }
.stElementContainer:has(style), [class*="st-key-save-"] { display: none; }
</style>
"""


def style() -> None:
    """The page's own style sheet; a constant, nothing from outside enters it."""
    st.html(_STYLE)


def header() -> None:
    """Which workspace and model; changing anything here runs the whole page again."""
    view = session.view()
    if not view.workspace.private:
        st.query_params["w"] = view.workspace.key  # going from page to page drops it, and a reload needs it
    else:
        st.query_params["own"] = "1"  # by which a reload knows what is gone
    # a column that stays empty leaves its room to the names of the models
    scales = _has_scales(view)
    wide = (2.6, 1.6, 1.2, 1.2, 1.4) if scales else (2.4, 2.6, 1.4, 0.1, 1.4)
    title, model, target, scale, threshold = st.columns(wide, vertical_alignment="bottom")
    with title:
        st.markdown(
            f"**{literal(view.workspace.about.title)}**  \n:small[{literal(_subtitle(view))}]",
            help=_story(view),
        )
    with model:
        _models(view)
    with target:
        _targets(view)
    with scale:
        if scales:
            _scales(view)
    with threshold:
        _threshold(view)


def _subtitle(view: View) -> str:
    about = view.workspace.about
    which = f"{len(view.workspace.rows):,} {about.subjects}"
    kind = "test " if not view.workspace.unknown_roles else ""
    note = " · synthetic data" if about.synthetic else ""
    unknown = " · may include training rows" if view.workspace.unknown_roles else ""
    ran = " · its file was allowed to run code" if trust.ran_code(view.model) else ""
    return f"{which.replace(' ', f' {kind}', 1)}{note}{unknown}{ran}"


def _story(view: View) -> str | None:
    about = view.workspace.about
    note = view.workspace.models[view.selection.model].note
    told = [part for part in (about.summary, about.story, note) if part]
    return "\n\n".join(literal(part) for part in told) or None


def _models(view: View) -> None:
    names = [model.name for model in view.workspace.models]
    _choose("Model", range(len(names)), view.selection.model, "model", lambda i: plain_text(names[i]))


def _targets(view: View) -> None:
    if not view.classifies:
        return
    classes: list[Any] = list(view.model.classes)
    chosen = view.selection.target
    if len(classes) == 2:
        _choose("Explain", classes, chosen if chosen in classes else classes[1], "target", plain_text)
    else:
        _choose(
            "Explain",
            [_Target.PREDICTED, *classes],
            chosen if chosen in classes else _Target.PREDICTED,
            "target",
            lambda c: c.value if c is _Target.PREDICTED else plain_text(c),
        )


def _has_scales(view: View) -> bool:
    """Whether contributions can be shown as probabilities or as raw scores."""
    return (
        view.data.modality == "table"
        and view.model.space == "probability"
        and view.refused(ex.TreeShap) is None
        and "two scales" in view.model.abilities
    )


def _scales(view: View) -> None:
    words = {"auto": "probability", "raw": "log-odds" if len(view.model.classes) == 2 else "raw score"}
    _choose("Scale", list(words), view.selection.space, "space", lambda s: words[s])


def _threshold(view: View) -> None:
    if view.classifies and len(view.model.classes) == 2 and view.model.space == "probability":
        positive = literal(view.model.classes[1], 60)
        key = _key(view, "threshold")
        st.session_state[key] = view.selection.threshold
        st.slider(
            f"Decide “{positive}” from",
            0.05,
            0.95,
            step=0.05,
            key=key,
            on_change=_set,
            args=(key, "threshold"),
        )


def _choose(label: str, options: Any, value: Any, field: str, show: Any) -> None:
    view = session.view()
    key = _key(view, field)
    # Panels change the selection too: the widget shows it, and never what it held before.
    st.session_state[key] = value
    named = dict(zip(options, distinct(map(show, options)), strict=True))
    st.selectbox(
        label, list(named), format_func=named.__getitem__, key=key, on_change=_set, args=(key, field)
    )


def _key(view: View, field: str) -> str:
    return f"header:{view.workspace.key}:{field}"


def _set(key: str, field: str) -> None:
    selection = session.view().selection
    value = st.session_state[key]
    changed = selection.change(**{field: None if value is _Target.PREDICTED else value})
    session.select(changed.change(target=None) if field == "model" else changed)
