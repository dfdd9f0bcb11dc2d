"""Parameters that are kept in another form: weight norm, spectral norm, orthogonal, pruned, old and new.

The old forms are hooks, and rename the parameter: `weight_g` and `weight_v`. The new ones are
parametrizations, in a module of their own: `parametrizations.weight.original0` and `original1`
(torch/nn/utils/parametrizations.py). Either way the layer is found by the shape of the parameter itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

Size = tuple[int, ...] | None
Sizes = Mapping[str, Size]

INSIDE = "parametrizations."

_SUFFIXES = ("_v", "_g", "_orig", "_u", "_mask")


class Unwrapped(NamedTuple):
    """The tensors of a module as if nothing were put around them, and what is."""

    sizes: Sizes
    wrappers: tuple[tuple[str, str], ...]


def unwrap(sizes: Sizes) -> Unwrapped:
    """Take the tensors of a module, those of its `parametrizations.` among them, out of their wrappers."""
    if not any(name.endswith(_SUFFIXES) or name.startswith(INSIDE) for name in sizes):
        return Unwrapped(sizes, ())
    found = [*_parametrized(sizes), *filter(None, (_hooked(name, sizes) for name in sizes))]
    plain = {parameter: size for _, parameter, size, _ in found}
    taken = {part for *_, parts in found for part in parts}
    left = {name: size for name, size in sizes.items() if name not in taken and name not in plain}
    wrappers = tuple((wrapper, parameter) for wrapper, parameter, _, _ in found)
    return Unwrapped({**left, **plain}, wrappers)


_Found = tuple[str, str, Size, tuple[str, ...]]  # wrapper, parameter, its size, the names of its parts


def _hooked(name: str, sizes: Sizes) -> _Found | None:
    if name.endswith("_g"):
        stem = name[:-2]
        direction = sizes.get(f"{stem}_v")
        if stem not in sizes and direction is not None and _norms(sizes[name], direction):
            return "weight_norm", stem, direction, (name, f"{stem}_v")
    if name.endswith("_orig"):
        stem = name[:-5]
        own, mask = sizes[name], f"{stem}_mask"
        if stem in sizes or own is None:
            return None
        if sizes.get(mask) == own:
            return "prune", stem, own, (name, mask)
        if (first := sizes.get(f"{stem}_u")) is not None and len(first) == 1:
            return "spectral_norm", stem, own, (name, f"{stem}_u", f"{stem}_v")
    return None


def _norms(norms: Size, direction: tuple[int, ...]) -> bool:
    """Whether these are the norms of slices of a parameter along one dimension, or of all of it."""
    if norms is None:
        return False
    if len(norms) != len(direction):
        return norms == ()
    return all(size in (1, whole) for size, whole in zip(norms, direction, strict=True))


def _parametrized(sizes: Sizes) -> Iterator[_Found]:
    """What `parametrizations` holds: `parametrizations.weight.original`, or `original0` and `original1`."""
    inside: dict[str, dict[str, Size]] = {}
    for name, size in sizes.items():
        if name.startswith(INSIDE):
            parameter, _, part = name.removeprefix(INSIDE).partition(".")
            inside.setdefault(parameter, {})[part] = size
    for parameter, parts in inside.items():
        names = tuple(f"{INSIDE}{parameter}.{part}" for part in parts)
        direction = parts.get("original1")
        if direction is not None and _norms(parts.get("original0"), direction):
            yield "parametrizations.weight_norm", parameter, direction, names
        elif "original" in parts and "original0" not in parts:
            yield f"parametrizations.{_kind(parts)}", parameter, parts["original"], names


def _kind(parts: Sizes) -> str:
    if "0._u" in parts:
        return "spectral_norm"
    # Orthogonal maps keep a base; without it, nothing tells them from any other parametrization.
    return "orthogonal" if "0.base" in parts else "unknown"
