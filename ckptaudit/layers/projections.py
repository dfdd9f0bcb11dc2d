"""Losses of torch.nn that hold the projection whose output they judge."""

from __future__ import annotations

from itertools import pairwise

from ckptaudit.layers.guess import Confidence, Guess, TensorLike
from ckptaudit.layers.parts import Parts, joined


def adaptive(path: str, parts: Parts) -> Guess | None:
    """AdaptiveLogSoftmaxWithLoss: a head for frequent classes, and pairs of narrow matrices for the rest."""
    head, tail = parts.linear(joined(path, "head")), joined(path, "tail")
    count = len(parts.names(tail))
    if head is None or not count or parts.names(path) != {"head", "tail"} or path in parts.forms:
        return None
    width, first, bias = head
    ends, narrow = [first - count], []
    for number in range(count):
        found = _cluster(joined(tail, str(number)), width, parts)
        if found is None:
            return None
        narrow.append(found[0])
        ends.append(ends[-1] + found[1])
    divisor = _divisor(width, narrow)
    if divisor is None or ends[0] <= 0 or any(end <= start for start, end in pairwise(ends)):
        return None
    arguments = {
        "in_features": width,
        "n_classes": ends[-1],
        "cutoffs": ends[:-1],
        "div_value": divisor,
        "head_bias": bias,
    }
    # Widths that fall by a constant factor from cluster to cluster are no coincidence.
    sure: Confidence = "certain" if count > 1 and divisor > 1 and narrow[-1] > 1 else "likely"
    return Guess(path, "AdaptiveLogSoftmaxWithLoss", sure, (), arguments)


def _cluster(path: str, width: int, parts: Parts) -> tuple[int, int] | None:
    """The narrow width of a cluster of classes, and how many classes it has."""
    down, up = parts.linear(joined(path, "0")), parts.linear(joined(path, "1"))
    if down is None or up is None or parts.names(path) != {"0", "1"}:
        return None
    return (down[1], up[1]) if down == (width, up[0], False) and not up[2] else None


def _divisor(width: int, narrow: list[int]) -> float | None:
    """A `div_value` by which torch comes to these widths; None where none of the usual ones does."""
    exact = [width / narrow[0]] if narrow[0] else []
    for divisor in (4.0, *exact, *map(float, range(1, 17))):
        if divisor >= 1 and narrow == [int(width // divisor**power) for power in range(1, len(narrow) + 1)]:
            return divisor
    return None


def linear_loss(path: str, parts: Parts) -> Guess | None:
    """LinearCrossEntropyLoss: one matrix called `linear`, and perhaps a weight for each class."""
    inner = parts.linear(joined(path, "linear"))
    if inner is None or parts.names(path) != {"linear"}:
        return None
    form = parts.forms.get(path)
    if form is None:
        # Any module may hold one matrix by that name.
        return Guess(path, None, None, ("LinearCrossEntropyLoss",))
    weight = form.sizes.get("weight")
    if form.sizes.keys() != {"weight"} or weight is None or len(weight) != 1 or not weight[0]:
        return None
    width, out, bias = inner
    classes = weight[0]
    if out % classes:
        return None
    shaped = {"out_features": (out // classes,)} if out != classes else {}
    arguments = {
        "in_features": width,
        "num_classes": classes,
        "bias": bias,
        "weight": TensorLike(weight),
        **shaped,
    }
    unknown = ("ignore_index", "reduction", "label_smoothing")
    return Guess(path, "LinearCrossEntropyLoss", "likely", (), arguments, unknown)
