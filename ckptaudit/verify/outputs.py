"""The outputs of two models on the same inputs: equal in every bit, close, or different."""

from __future__ import annotations

from dataclasses import dataclass

from ckptaudit.verify.comparison import Output
from ckptaudit.verify.facts import Event, Observation
from ckptaudit.verify.leaves import Leaf
from ckptaudit.verify.localise import Same, same_bits
from ckptaudit.verify.numbers import Apart, apart, coarsest, eps, merged, tolerance
from ckptaudit.verify.settings import changed

_OWN = {"seed", "mode"}  # settings that need not agree: bits decide all the same
_INSIDE = 4.0  # how much further apart than at the end two runs may be somewhere inside


@dataclass(frozen=True, slots=True)
class Outcome:
    """`equal` is bit by bit, `agree` within `allowed` (0.0 where only equality counts), relative to max|y|.

    `dtype` is the floating dtype that the tolerance is made of; `why` is the first reason against agreement.
    """

    outputs: tuple[Output, ...]
    equal: bool
    agree: bool
    dtype: str
    allowed: float
    why: str = ""


def leniency(one: Observation, other: Observation) -> str:
    """Why the two cannot be held to equal bits: another device, version, setting or dtype; "" if they can."""
    names = [
        *changed(one.environment, other.environment),
        *(name for name in changed(one.settings, other.settings) if name not in _OWN),
    ]
    told = [f"{name} {_value(one, name)} against {_value(other, name)}" for name in names]
    dtypes = {
        (weight.dtype, there.dtype)
        for name, weight in one.weights.items()
        if (there := other.weights.get(name)) is not None
        and weight.dtype != there.dtype
        and eps(weight.dtype)
        and eps(there.dtype)
    }
    told += [f"weights in {mine} against {theirs}" for mine, theirs in sorted(dtypes)]
    return ", ".join(told)


def _value(found: Observation, name: str) -> object:
    return found.environment.get(name, found.settings.get(name))


def noise(*found: Observation) -> float:
    """The largest difference that was measured of these models without any change of theirs."""
    checks = [each.checks for each in found]
    return max(
        (
            value
            for each in checks
            for value in (each.threads, each.batch, each.rounding)
            if value is not None
        ),
        default=0.0,
    )


def compare(one: Observation, other: Observation) -> Outcome:
    """The outputs of `one` against those of the reference `other`, over all cases."""
    why = _not_alike(one, other)
    dtype = _dtype(one, other)
    allowed = tolerance(dtype, noise(one, other)) if leniency(one, other) else 0.0
    found: dict[str, list[Apart]] = {}
    dtypes: dict[str, str] = {}
    for left, right in zip(one.outputs, other.outputs, strict=False):
        mine, theirs = ({leaf.name: leaf for leaf in each} for each in (left, right))
        for name in {**mine, **theirs}:
            pair = _apart(mine.get(name), theirs.get(name), allowed)
            found.setdefault(name, []).append(pair)
            dtypes[name] = (mine.get(name) or theirs[name]).dtype
            why = why or (f"{name}: {pair.reason}" if pair.reason else "")
    outputs = tuple(merged(name, each, dtypes[name]) for name, each in found.items())
    agree = not why and all(each.agree for pairs in found.values() for each in pairs)
    equal = (
        not why
        and all(
            left.facts == right.facts
            for ours, theirs in zip(one.outputs, other.outputs, strict=True)
            for left, right in zip(sorted(ours), sorted(theirs), strict=True)
        )
        if not why
        else False
    )
    return Outcome(outputs, bool(equal), agree, dtype, allowed, why)


def _not_alike(one: Observation, other: Observation) -> str:
    """Whether the inputs are the same, and so many."""
    ours, theirs = ([[leaf.facts for leaf in case] for case in each.inputs] for each in (one, other))
    if ours != theirs or len(one.outputs) != len(other.outputs) or len(one.outputs) != len(ours):
        return "they were not given the same inputs"
    for left, right in zip(one.outputs, other.outputs, strict=True):
        if (names := {leaf.name for leaf in left}) != (others := {leaf.name for leaf in right}):
            return f"outputs {sorted(names ^ others)[0]} and others are given by one of them only"
    return ""


def _apart(mine: Leaf | None, theirs: Leaf | None, allowed: float) -> Apart:
    if mine is None or theirs is None:
        return Apart(None, None, 1, 0, False, "only one of them gives it")
    return apart(mine, theirs, allowed)


def _dtype(one: Observation, other: Observation) -> str:
    """The coarsest floating dtype of outputs, and of parameters that were read."""
    outputs = (leaf.dtype for each in (one, other) for case in each.outputs for leaf in case)
    weights = (
        weight.dtype
        for each in (one, other)
        for name, weight in each.weights.items()
        if weight.kind == "parameter" and name not in each.checks.unread
    )
    settings = (str(each.settings.get(name)) for each in (one, other) for name in ("dtype", "inputs_as"))
    return coarsest((*outputs, *weights, *settings))


def sameness(outcome: Outcome) -> Same:
    """When two events count as the same: in every bit, or as near as the outputs would have to be."""
    if not outcome.allowed:
        return same_bits
    allowed = outcome.allowed * _INSIDE

    def near(one: Event, other: Event) -> bool:
        if one.digest == other.digest:
            return True
        if len(one.sample) != len(other.sample) or not one.sample:
            return False
        return all(
            len(left) == len(right)
            and all(
                abs(a - b) <= allowed * max(big, great, 1e-30) or a == b or (a != a and b != b)
                for a, b in zip(left, right, strict=True)
            )
            for (big, left), (great, right) in zip(one.sample, other.sample, strict=True)
        )

    return near
