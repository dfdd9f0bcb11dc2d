"""Which of the layers that fit the same tensors it is: points for names and for what stands around.

The points are weights of experience, not probabilities. What matters is their order, and that a lead of
`CLEAR` or more was right nearly always on the models that they were tried on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import NamedTuple

from ckptaudit.layers.fits import tracked
from ckptaudit.layers.form import CONV, CONVOLUTION, IN_OUT, MATRIX, OUT_IN, STATISTICS, WIDE, Fits, Form
from ckptaudit.layers.guess import Arguments, Confidence
from ckptaudit.layers.place import EMBEDDERS, GROUPED, LAYERED, UNBIASED, Place
from ckptaudit.layers.registry import Layer
from ckptaudit.layers.words import words

CLEAR = 3
_LAST, _OWN, _ABOVE = 9, 6, 2  # points for the last word of a name, for another, for one of the module around

# Words that name what a module is for, unless they end its name.
_ENDINGS = frozenset({"head", "heads", "classifier", "out", "output", "gate"})


class Verdict(NamedTuple):
    """The winner of a contest, and the others in their order."""

    layer: Layer
    arguments: Arguments
    confidence: Confidence
    alternatives: tuple[str, ...]


class Seen(NamedTuple):
    """One module in its surroundings: its own name, its tensors, and the place around it."""

    name: str
    form: Form
    place: Place
    version: int | None


def judge(seen: Seen) -> Verdict | None:
    """The likeliest of the layers that fit; None where none does."""
    fits = _of_version(seen)
    if not fits:
        return None
    ranked = sorted(
        ((_points(layer, seen), layer, arguments) for layer, arguments in fits),
        key=lambda row: -row[0],
    )
    best, layer, arguments = ranked[0]
    others = dict.fromkeys(other.name for _, other, _ in ranked[1:] if other.name != layer.name)
    lead = best - next((points for points, other, _ in ranked[1:] if other.name != layer.name), 0)
    return Verdict(layer, arguments, "likely" if lead >= CLEAR else "guess", tuple(others))


def _of_version(seen: Seen) -> Fits:
    """The layers that fit, less those that torch saves with another version than the module has.

    Since PyTorch 0.4.1 norms that can track statistics have version 2, and all other layers 1.
    """
    if seen.version not in (1, 2):
        return seen.form.fits
    left = [row for row in seen.form.fits if (row[0].fit is tracked) == (seen.version == 2)]
    return tuple(left) or seen.form.fits


def _points(layer: Layer, seen: Seen) -> int:
    points = layer.usual + _by_name(layer, seen)
    weigh = _AROUND.get(layer.name)
    return points if weigh is None else points + weigh(seen)


def _by_name(layer: Layer, seen: Seen) -> int:
    own = seen.name
    if own.isdecimal() and seen.place.above is not None:
        # A number in a list is called what the list is called.
        own = seen.place.name
    spoken = words(own)
    found = layer.words & spoken.all
    if found:
        # What a thing is comes last in its name: an embed_proj is a projection, an output_embed an embedding.
        return _LAST if found & spoken.last else 0 if found & _ENDINGS else _OWN
    return _ABOVE if layer.words & words(seen.place.name).all else 0


def _of_dims(dims: int) -> Callable[[Seen], int]:
    def weigh(seen: Seen) -> int:
        return 8 if _dims(seen) == dims else 0

    return weigh


def _dims(seen: Seen) -> int:
    """How many dimensions the input of a normalization has, besides batch and channels; 1 after a matrix."""
    width = seen.form.width
    before = _before(seen)
    if before is not None and before.weight[:1] == (width,):
        found = before.traits & (CONVOLUTION | MATRIX)
        if found:
            return _dims_of(found)
    for place in seen.place.outwards():
        traits = place.produced.get(width, 0) & (CONVOLUTION | MATRIX)
        if traits:
            return _dims_of(traits)
        if place.traits & (CONVOLUTION | MATRIX):
            return _dims_of(place.traits)
    return 0


def _dims_of(traits: int) -> int:
    return next((dims for dims in (2, 3, 1) if traits & CONV[dims]), 1)


def _before(seen: Seen) -> Form | None:
    """The module before this one in the same place."""
    position = seen.place.order.get(seen.name, 0)
    return seen.place.listed[position - 1][1] if position else None


def _kernel(seen: Seen) -> int:
    """Whether the last sizes of a weight are odd ones for a kernel: experts and tables have three, too."""
    _, inner, *kernel = seen.form.weight
    spoken = words(seen.name).all | words(seen.place.name).all
    strange = max(kernel) > 64 or (len(kernel) == 1 and kernel[0] == inner)
    return -8 if strange and inner > 1 and not spoken & _CONVOLVES else 0


_CONVOLVES = frozenset({"conv", "convs", "convolution", "patch"})


def _transposed(seen: Seen) -> int:
    """Whether the kernel, the name and the channels around are those of a transposed convolution."""
    inner, outer, *kernel = seen.form.weight
    even = all(size % 2 == 0 for size in kernel)
    names = (seen.name, *(place.name for place in islice(seen.place.outwards(), 4)))
    points = _kernel(seen)
    upwards = any(words(name).all & _UPWARDS for name in names) or "decoder" in words(seen.name).last
    if even and upwards:
        points += 10
    elif inner == outer and set(kernel) in ({2}, {4}) and any("decoder" in words(name).all for name in names):
        points += 6  # where resolution falls, channels grow
    if inner != outer and "bias" not in seen.form.sizes:
        points += 8 * _sequence(seen, inner, outer) if seen.name.isdecimal() else 0
        if even:
            points += 4 * ((outer in seen.place.widths) - (inner in seen.place.widths))
    return points


_UPWARDS = frozenset({"up", "ups", "upsample", "upsampler", "upsampling", "upscale", "unpool", "transp"})


def _sequence(seen: Seen, inner: int, outer: int) -> int:
    """1 where `inner` channels come from before and `outer` go on, -1 where it is the other way round."""
    position = seen.place.order.get(seen.name, 0)
    listed = seen.place.listed
    before = listed[position - 1][1].width if position else 0
    after = listed[position + 1][1].width if position + 1 < len(listed) else 0
    forwards = (before == inner) + (after == outer)
    backwards = (before == outer) + (after == inner)
    return (forwards > backwards) - (forwards < backwards)


def _transformers(seen: Seen) -> int:
    """Whether the biases of matrices around show that weights are (in, out) here."""
    return 20 if not seen.form.traits & IN_OUT and seen.place.direct & (IN_OUT | OUT_IN) == IN_OUT else 0


def _embedding(seen: Seen) -> int:
    rows, width = seen.form.weight
    # A vocabulary is looked up once, not again in each of a row of blocks.
    tall = rows >= 5000 and rows >= 8 * width
    if rows < width and "bias" in words(seen.name).last:
        return -9  # a table of biases has a row for each distance, and a column for each head
    return 6 if tall and not any(place.name.isdecimal() for place in seen.place.outwards()) else 0


def _group_norm(seen: Seen) -> int:
    """Whether this norm stands between dense convolutions, as those of groups do."""
    if "bias" not in seen.form.sizes:
        return -10  # torch could not do without one until lately
    near = next((place for place in seen.place.outwards() if place.traits & (CONVOLUTION | MATRIX)), None)
    if near is None or words(seen.place.name).all & EMBEDDERS:
        return 0
    if near.traits & MATRIX:
        return 8 if near.norms == GROUPED or _before_blocks(seen) else 0
    inside, place = near, near.above
    while place is not None:
        others = place.others(inside.traits) & (STATISTICS | LAYERED | GROUPED)
        if others:
            return 0 if others & LAYERED and not others & GROUPED else 8
        inside, place = place, place.above
    return 8 if near.traits & WIDE and seen.form.width % 2 == 0 else 0


def _before_blocks(seen: Seen) -> bool:
    """Whether blocks with norms of their own follow, and a row of such stands beside dense convolutions.

    So it is with attention in a U-Net: the norm before the projection into the blocks is of groups.
    """
    place, row = seen.place, seen.place.above
    if row is None or row.above is None or not place.name.isdecimal():
        return False
    names = list(place.inside)
    blocks = next((name for name, held in place.inside.items() if held.traits & LAYERED), "")
    if not blocks or names.index(seen.name) > names.index(blocks):
        return False
    return bool(row.above.others(row.traits) & GROUPED)


def _rms_norm(seen: Seen) -> int:
    # What is called ln is LayerNorm, but beside norms without bias that are called norm: all are one kind.
    outermost = next(place for place in seen.place.outwards() if place.above is None)
    alike = "ln" in words(seen.name).all and outermost.traits & UNBIASED
    return _normalized(seen) + (6 if alike else 0)


def _normalized(seen: Seen) -> int:
    # Over several dimensions at once hardly anybody normalizes; a matrix has that shape all the time.
    return -12 if len(seen.form.weight) > 1 and "bias" not in seen.form.sizes else 0


def _prelu(seen: Seen) -> int:
    if seen.form.width == 1:
        return 12
    return 8 if seen.place.nearest(CONVOLUTION | MATRIX) & CONVOLUTION else 0


_AROUND: Mapping[str, Callable[[Seen], int]] = {
    **{f"{kind}Norm{dims}d": _of_dims(dims) for kind in ("Batch", "Instance") for dims in (1, 2, 3)},
    **{f"Conv{dims}d": _kernel for dims in (1, 2, 3)},
    **{f"ConvTranspose{dims}d": _transposed for dims in (1, 2, 3)},
    "Conv1D": _transformers,
    "Embedding": _embedding,
    "GroupNorm": _group_norm,
    "LayerNorm": _normalized,
    "RMSNorm": _rms_norm,
    "PReLU": _prelu,
}
