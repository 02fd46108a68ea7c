"""How uploaded pictures reach the model, and what it returns: asked where pictures were dropped, and as they are unless somebody says so."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import streamlit as st

import explainers as ex
from dashboard.figures.numbers import number
from dashboard.markdown import literal
from dashboard.opening.preparing import (
    AS_THEY_ARE,
    NUMBERS,
    OWN,
    SIZE,
    Fields,
    Output,
    Said,
    factor,
    presets,
    read,
)

#: Pixels: two fields stand side by side where there is room, and each can be read where there is not.
WIDTH = 240

_MOMENTS = "What is taken off each channel, and what it is divided by; in the scale that is chosen."
_IN_ITS_SCALE = "In the model's scale and order of channels; one number is used for all channels."
_ORDERS = {"as stored": "as in the file (red, green, blue)", "reversed": "reversed (blue, green, red)"}
_LAYOUTS = {
    "channels first": "channels × rows × columns",
    "channels last": "rows × columns × channels",
}
_OUTPUTS = {
    "auto": "find out",
    "probability": "probabilities (softmax inside)",
    "raw": "raw scores (logits)",
}


def stated(data: Any, key: str) -> Said:
    """What the form says, or said before something in it became wrong; `data` is what was read, or ``None``."""
    if not isinstance(data, ex.Dataset) or data.modality != "image":
        return Said()
    said, wrong = read(_filled(key), data)
    last = f"upload-input-said-{key}"
    if not wrong:
        st.session_state[last] = said
    found = st.session_state.get(last, Said())
    assert isinstance(found, Said)
    return found


def _filled(key: str) -> Fields:
    held = {field.name: _held(field.name, key) for field in dataclasses.fields(Fields)}
    return Fields(**{name: value for name, value in held.items() if value is not None})


def _held(name: str, key: str) -> Any:
    return st.session_state.get(_widget(name, key))


def _widget(name: str, key: str) -> str:
    return f"upload-input-{name}-{key}"


def ask(data: ex.Dataset, key: str) -> bool:
    """Draw the form; whether everything in it can be used."""
    said, wrong = read(_filled(key), data)
    channels = data.X.shape[1]
    orders = _ORDERS if channels == 3 else {"as stored": AS_THEY_ARE}
    outputs = {name: _OUTPUTS[name] for name in get_args(Output)}
    st.markdown(
        "**What does the model expect?** Where nothing else is said, it is given the pictures as they are."
    )
    with st.container(horizontal=True, gap="small"):
        _type(
            "size",
            key,
            "Size (height × width)",
            SIZE,
            wrong,
            "Pictures are resized to it; empty: as they are.",
        )
        _choose("scaled", key, "Scale", _scales(data), "What the model was trained on: 0 to 1, or bytes.")
        _choose("preset", key, "Mean and deviation", {name: name for name in presets(channels)}, _MOMENTS)
        if _held("preset", key) == OWN:
            _type("mean", key, "Mean", NUMBERS, wrong, f"Taken off each channel. {_IN_ITS_SCALE}")
            _type("std", key, "Deviation", NUMBERS, wrong, f"Each channel is divided by it. {_IN_ITS_SCALE}")
        _choose("order", key, "Order of channels", orders, "Some models were trained on blue, green, red.")
        _choose("layout", key, "Layout", _LAYOUTS, "How the model's file wants the numbers arranged.")
        _choose("output", key, "What does it return?", outputs, "What is said here wins over what the file looks like.")  # fmt: skip
    if _told(said) and not wrong:
        st.caption(literal(_told(said)))
    return not wrong


def _scales(data: ex.Dataset) -> dict[bool, str]:
    low, high = float(data.X.min()), float(data.X.max())
    other = "0 to 255: times 255" if factor(data) > 1 else "0 to 1: divided by 255"
    return {False: f"as they are: {number(low)} to {number(high)}", True: other}


def _choose(name: str, key: str, label: str, options: dict[Any, str], about: str) -> None:
    st.selectbox(
        label, tuple(options), format_func=lambda option: options[option], key=_widget(name, key), help=literal(about), width=WIDTH
    )  # fmt: skip


def _type(name: str, key: str, label: str, example: str, wrong: dict[str, str], about: str) -> None:
    with st.container(width=WIDTH):
        st.text_input(label, key=_widget(name, key), placeholder=f"like {example}", help=literal(about))
        if name in wrong:
            st.error(literal(wrong[name]), icon=":material/error:")


def _told(said: Said) -> str:
    """The numbers behind a choice; empty where there are none."""
    prepared = said.preparation
    if prepared is None or not prepared.mean:
        return ""
    parts = [f"mean {', '.join(f'{value:.5g}' for value in prepared.mean)}"]
    parts += [f"deviation {', '.join(f'{value:.5g}' for value in prepared.std)}"] if prepared.std else []
    return f"{'; '.join(parts)}: in the model's scale and order of channels"
