"""Inputs: what a model is called with. Written by the caller as `ids=1x7:int64<50`, or made here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ckptaudit.verify.leaves import Leaf, contents, leaves
from ckptaudit.verify.lib import library

_FORM = re.compile(
    r"(?:(?P<name>[^\W\d]\w*)=)?(?P<shape>\d+(?:x\d+)*)(?::(?P<dtype>\w+))?(?:<(?P<high>\d+))?"
)
_WORDS = {"true": True, "false": False, "none": None}
_HIGH = 2  # of integers, where nothing else is said


@dataclass(frozen=True, slots=True)
class Case:
    """The arguments of one call: tensors and plain values, or containers of them."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


class Spec(NamedTuple):
    """One argument to be made: a tensor of normal numbers, or of integers from 0 up to `high`."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    high: int | None = None
    value: Any = None  # of a plain argument, which has no dtype


def parse(text: str) -> Spec:
    """`2x20:float32`, `ids=1x7:int64<50`, `use_cache=false`. Raises ValueError where it is none of them."""
    name, _, word = text.partition("=")
    if word.lower() in _WORDS and name.isidentifier():
        return Spec(name, (), "", value=_WORDS[word.lower()])
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no input: write 2x20:float32, or ids=1x7:int64<50")
    high = None if found["high"] is None else int(found["high"])
    shape = tuple(map(int, found["shape"].split("x")))
    return Spec(found["name"] or "", shape, found["dtype"] or "float32", high)


def make(specs: Iterable[Spec], seed: int, scale: float = 1.0) -> Case:
    """The same arguments for the same seed, on every machine: they are drawn on the CPU."""
    torch = library()
    draw = torch.Generator().manual_seed(seed)
    args, kwargs = [], {}
    for spec in specs:
        made = _tensor(torch, spec, draw, scale) if spec.dtype else spec.value
        if spec.name:
            kwargs[spec.name] = made
        else:
            args.append(made)
    return Case(tuple(args), kwargs)


def _tensor(torch: Any, spec: Spec, draw: Any, scale: float) -> Any:
    dtype = getattr(torch, spec.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{spec.dtype!r} is no dtype")
    if dtype.is_complex:
        parts = torch.randn(*spec.shape, 2, generator=draw, dtype=torch.float64)
        return torch.view_as_complex(parts * scale).to(dtype)
    if dtype.is_floating_point:
        drawn = torch.randn(spec.shape, generator=draw, dtype=torch.float64) * scale
        return drawn.abs().clamp(max=spec.high).to(dtype) if spec.high is not None else drawn.to(dtype)
    return torch.randint(0, max(1, spec.high or _HIGH), spec.shape, generator=draw).to(dtype)


def batched(specs: Iterable[Spec], size: int) -> tuple[Spec, ...]:
    """The same arguments for another batch: the first dimension of every tensor."""
    return tuple(spec._replace(shape=(size, *spec.shape[1:])) if spec.dtype else spec for spec in specs)


def mapped(case: Case, change: Any) -> Case:
    """The case with `change(tensor)` for every tensor in it."""
    return Case(
        tuple(_map(part, change) for part in case.args),
        {name: _map(part, change) for name, part in case.kwargs.items()},
    )


def _map(thing: Any, change: Any) -> Any:
    if isinstance(thing, library().Tensor):
        return change(thing)
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return type(thing)(*(_map(part, change) for part in thing))
    if isinstance(thing, list | tuple):
        return type(thing)(_map(part, change) for part in thing)
    if type(thing) is dict:
        return {key: _map(part, change) for key, part in thing.items()}
    return thing


def fresh(case: Case, device: str, dtype: Any = None) -> Case:
    """A copy for one call, on the device; floating tensors in `dtype` where that is given."""

    def copy(tensor: Any) -> Any:
        made = tensor.detach().clone().to(device)
        return made.to(dtype) if dtype is not None and made.is_floating_point() else made

    return mapped(case, copy)


def inputs_of(case: Case) -> tuple[Leaf, ...]:
    """The leaves of a case: `0`, `1` for arguments by place, names for those by keyword."""
    return leaves({**{str(place): part for place, part in enumerate(case.args)}, **case.kwargs})


def case_of(inputs: Iterable[Leaf]) -> Case:
    """The case that a record holds: the other way round, for arguments that are no containers."""
    found = {leaf.name: leaf.value for leaf in inputs}
    args = tuple(found[str(place)] for place in range(len(found)) if str(place) in found)
    return Case(args, {name: value for name, value in found.items() if not name.isdecimal()})


def is_flat(case: Case) -> bool:
    """Whether a record can hold it: no containers among the arguments."""
    return all(contents(part) is None for part in (*case.args, *case.kwargs.values()))


def as_cases(given: Any) -> list[Case]:
    """What a caller hands in: a tensor, a tuple of arguments, a dict of keywords, or a list of such."""
    if isinstance(given, list):
        return [case for each in given for case in as_cases(each)]
    if isinstance(given, Case):
        return [given]
    if isinstance(given, dict):
        return [Case((), given)]
    return [Case(given if isinstance(given, tuple) else (given,))]
