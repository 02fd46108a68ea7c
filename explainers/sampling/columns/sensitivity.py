"""Variance shares and elementary effects from the predictions of exchanged rows, with errors from replicates.

With base rows `A`, partners `B` and copies `AB_u` (`A` with unit `u` from `B`), all means over the draws,

    total      T_u = mean (f(AB_u) − f(A))² / 2V                          Jansen 1999
    first, I   S_u = mean (f(B) − f̄)(f(AB_u) − f(A)) / V                  Saltelli et al. 2010, centred
    first, II  S_u = (mean f(B) f(AB_u) − f̄_u²) / V_u                     Janon et al. 2014; f̄_u, V_u over B and AB_u

I is exact where a unit does nothing, II where it does everything; they are mixed by ``1 − T_u`` and ``T_u``, which was nearest to
the truth throughout (Ishigami, Sobol's G, sums). Estimates are made from means over the replicates, errors by
the jackknife that leaves out one replicate at a time, since points within a replicate are not independent. Few replicates know
their spread badly: errors are widened by Student's factor, so that ±1.96 of them cover 95 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from explainers.lazily import lazily

special = lazily("scipy.special")

#: A variance below this share of the mean squared prediction is rounding.
NOTHING = 1e-24

#: Numbers and arrays by name.
Estimates = dict[str, Any]


def variance_shares(
    base: Float[np.ndarray, "r p"], partner: Float[np.ndarray, "r p"], copies: Float[np.ndarray, "r u p"]
) -> tuple[Estimates, Estimates]:
    """``total`` and ``first_order`` of each unit ``(u,)``, ``mean`` and ``variance`` ``()``; and their errors.

    All shares and errors are 0 where the prediction never changes.
    """
    shift = base.mean()  # keeps the digits of small variances
    least = NOTHING * float((base**2).mean())
    a, b, c = base - shift, partner - shift, copies - shift
    moments = {
        "mean": ((a + b) / 2).mean(axis=-1),
        "square": ((a**2 + b**2) / 2).mean(axis=-1),
        "change": (c - a[:, None]).mean(axis=-1),
        "squared_change": ((c - a[:, None]) ** 2).mean(axis=-1) / 2,
        "with_change": (b[:, None] * (c - a[:, None])).mean(axis=-1),
        "product": (b[:, None] * c).mean(axis=-1),
        "own_mean": ((b[:, None] + c) / 2).mean(axis=-1),
        "own_square": ((b[:, None] ** 2 + c**2) / 2).mean(axis=-1),
    }
    found, errors = jackknifed(lambda means: _shares(means, least), moments)
    found["mean"] = found["mean"] + shift
    return found, errors


def _shares(means: Estimates, least: float) -> Estimates:
    variance = means["square"] - means["mean"] ** 2
    if variance <= least:
        nothing = np.zeros_like(means["change"])
        return {"mean": means["mean"], "variance": 0.0, "total": nothing, "first_order": nothing}
    total = means["squared_change"] / variance
    moved = (means["with_change"] - means["mean"] * means["change"]) / variance
    own = means["own_square"] - means["own_mean"] ** 2
    # no spread of a unit's copies is met with very few draws only: then there is no second estimate
    kept = np.where(
        own > least, (means["product"] - means["own_mean"] ** 2) / np.where(own > least, own, 1), moved
    )
    weight = np.clip(total, 0.0, 1.0)
    first = (1.0 - weight) * moved + weight * kept
    return {"mean": means["mean"], "variance": variance, "total": total, "first_order": first}


def elementary_effects(
    base: Float[np.ndarray, "r p"],
    copies: Float[np.ndarray, "r u p"],
    step: Float[np.ndarray, "r u p"],
    ordered: Bool[np.ndarray, "r u p"],
) -> tuple[Estimates, Estimates]:
    """``mu_star``, ``mu`` and ``sigma`` of each unit, ``(u,)``, from steps of these signed lengths; and their errors.

    Steps that are not `ordered` have no direction and count in `mu_star` only; `mu` and `sigma` of a unit without
    others are NaN.
    """
    effect = (copies - base[:, None]) / step
    signed = np.where(ordered, effect, 0.0)
    moments = {
        "size": np.abs(effect).mean(axis=-1),
        "known": ordered.mean(axis=-1),
        "signed": signed.mean(axis=-1),
        "square": (signed**2).mean(axis=-1),
    }
    return jackknifed(_effects, moments)


def _effects(means: Estimates) -> Estimates:
    share = np.where(means["known"] > 0, means["known"], np.nan)
    mu = means["signed"] / share
    spread = means["square"] / share - mu**2
    sigma = np.sqrt(np.maximum(np.where(spread > NOTHING * mu**2, spread, 0.0), 0.0))
    return {"mu_star": means["size"], "mu": mu, "sigma": np.where(np.isnan(mu), np.nan, sigma)}


def jackknifed(estimate: Callable[[Estimates], Estimates], moments: Estimates) -> tuple[Estimates, Estimates]:
    """An estimate from the means of `moments` (replicates first), and its errors; at least two replicates."""
    r = len(next(iter(moments.values())))
    found = estimate({name: values.mean(axis=0) for name, values in moments.items()})
    without = [
        estimate({name: np.delete(values, i, axis=0).mean(axis=0) for name, values in moments.items()})
        for i in range(r)
    ]
    widened = float(special.stdtrit(r - 1, 0.975)) / 1.959964
    errors = {
        name: widened * np.sqrt(np.var([each[name] for each in without], axis=0) * (r - 1)) for name in found
    }
    return found, errors
