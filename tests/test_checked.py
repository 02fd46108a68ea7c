"""The checker that remembers what it made refuses what beartype refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped

from tests import checked

annotated = jaxtyped(typechecker=checked.once)


def columns_of(wanted: Any) -> Callable[..., Any]:
    @annotated
    def columns(X: Float[np.ndarray, "n d"], times: int) -> Float[np.ndarray, " n"]:
        return X[:, wanted] * times

    return columns


def told_apart(numbers: bool) -> Callable[..., Any]:
    """Two functions that differ in nothing but their annotations."""
    if numbers:

        @annotated
        def same(x: int) -> int:
            return x
    else:

        @annotated
        def same(x: str) -> str:
            return x

    return same


def test_a_function_defined_anew_is_made_once_and_checked_each_time():
    X = np.ones((3, 2))
    columns_of(0)(X, 2)
    made = len(checked._made)
    np.testing.assert_array_equal(columns_of(1)(X, 2), [2, 2, 2])
    assert len(checked._made) == made
    with pytest.raises(TypeCheckError, match="times"):
        columns_of(1)(X, "2")
    with pytest.raises(TypeCheckError, match="parameter 'X'"):
        columns_of(1)(X[0], 2)
    with pytest.raises(TypeCheckError, match="return value"):
        columns_of(slice(0, 2))(X, 2)


def test_annotations_tell_functions_apart():
    for numbers, good, bad in ((True, 1, "1"), (False, "1", 1), (True, 2, "2")):
        assert told_apart(numbers)(good) == good
        with pytest.raises(TypeCheckError):
            told_apart(numbers)(bad)


def test_the_package_is_checked_by_it():
    import explainers

    assert any(key[0] == explainers.Dataset.__module__ for key in checked._made)
