"""How far two outputs are apart, and how far they may be where they cannot be equal in every bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ckptaudit.verify.comparison import Output
from ckptaudit.verify.leaves import Leaf
from ckptaudit.verify.lib import library

# Rounding errors of one result, in units of the dtype's eps relative to max|y|: what ten or so layers in
# another order of summation give. What a model does beyond that is measured.
_UNITS = 16.0
_SPREAD = 8.0  # times a measured difference
# Where differences are this large they are no noise: rows that depend on one another, say.
NO_NOISE = 1e-2
_EPS = {
    "float16": 2**-10,
    "bfloat16": 2**-7,
    "float32": 2**-23,
    "float64": 2**-52,
    "complex64": 2**-23,
    "complex128": 2**-52,
    "complex32": 2**-10,
}


class Apart(NamedTuple):
    """Two leaves: `agree` is whether they are within the tolerance, `reason` says what else differs."""

    max_abs: float | None
    max_rel: float | None
    mismatched: int
    nan: int
    agree: bool
    reason: str = ""


def coarsest(dtypes: Iterable[str]) -> str:
    """The floating dtype with the largest eps; "" where there is none."""
    known = [dtype for dtype in dtypes if dtype in _EPS]
    return max(known, key=lambda dtype: (_EPS[dtype], not dtype.startswith("complex")), default="")


def tolerance(dtype: str, noise: float) -> float:
    """The largest difference relative to max|y| that is put down to rounding: 0 for what is exact."""
    return max(_UNITS * _EPS[dtype], _SPREAD * noise) if dtype in _EPS else 0.0


def eps(dtype: str) -> float:
    """The distance from 1 to the next number; 0 for an exact dtype."""
    return _EPS.get(dtype, 0.0)


def apart(one: Leaf, other: Leaf, allowed: float = 0.0) -> Apart:
    """How far `one` is from the reference `other`; floating numbers agree within `allowed`, relative to
    max|other|, all else in every bit. Places of NaN and infinities have to be the same."""
    if one.facts[1:] == other.facts[1:]:
        return Apart(0.0, 0.0, 0, 0, True)
    if not (one.is_tensor and other.is_tensor):
        return Apart(None, None, 1, 0, False, f"{_told(one)} against {_told(other)}")
    if one.shape != other.shape:
        return Apart(None, None, 1, 0, False, f"shape {list(one.shape)} against {list(other.shape)}")
    if one.value is None or other.value is None:
        return Apart(None, None, 1, 0, False, "differs in bits")
    kinds = [leaf.dtype in _EPS for leaf in (one, other)]
    if one.dtype != other.dtype and not all(kinds):
        return Apart(None, None, 1, 0, False, f"{one.dtype} against {other.dtype}")
    return _measured(_wide(one.value), _wide(other.value), allowed if all(kinds) else 0.0)


def _told(leaf: Leaf) -> str:
    return f"a {leaf.dtype} tensor" if leaf.is_tensor else repr(leaf.value)[:40]


def _wide(tensor: Any) -> Any:
    """The numbers in double precision, complex ones as pairs."""
    torch = library()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.to(torch.float64).reshape(-1)


def _measured(one: Any, other: Any, allowed: float) -> Apart:
    torch = library()
    nan = int((one.isnan() != other.isnan()).sum())
    infinite = one.isinf() | other.isinf()
    same_infinities = bool(torch.equal(one[infinite], other[infinite]))
    finite = one.isfinite() & other.isfinite()
    gap = (one - other)[finite].abs()
    largest = float(gap.max()) if gap.numel() else 0.0
    scale = float(other[finite].abs().max()) if gap.numel() else 0.0
    relative = 0.0 if largest == 0.0 else largest / scale if scale else float("inf")
    bits = one.view(torch.int64) != other.view(torch.int64)
    reason = "NaN in other places" if nan else "" if same_infinities else "infinities differ"
    return Apart(largest, relative, int(bits.sum()), nan, not reason and relative <= allowed, reason)


def relative(ones: Sequence[Leaf], others: Sequence[Leaf]) -> float:
    """The largest difference of floating leaves relative to max|y|; infinite where they do not fit."""
    if [leaf.name for leaf in ones] != [leaf.name for leaf in others]:
        return float("inf")
    found = [apart(one, other, float("inf")) for one, other in zip(ones, others, strict=True)]
    return max(
        (float("inf") if not each.agree or each.max_rel is None else each.max_rel for each in found),
        default=0.0,
    )


def merged(name: str, found: Sequence[Apart], dtype: str) -> Output:
    """One output over all inputs."""

    def largest(values: list[float | None]) -> float | None:
        return None if None in values else max((value for value in values if value is not None), default=0.0)

    return Output(
        name,
        largest([each.max_abs for each in found]),
        largest([each.max_rel for each in found]),
        sum(each.mismatched for each in found),
        sum(each.nan for each in found),
        dtype,
    )
