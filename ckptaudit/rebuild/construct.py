"""Calls the constructors of torch.nn, on the meta device: no memory is taken, and nothing of the file runs.

A class is found by its name in torch.nn itself. Needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

from ckptaudit.layers import ModuleLike, TensorLike
from ckptaudit.rebuild.known import FUNCTIONS, ROWS

_REPEATED: Final = ("num_layers", "num_encoder_layers", "num_decoder_layers")


class UnbuildableError(Exception):
    """The layer cannot be constructed from what is known of it."""


@lru_cache(maxsize=1)
def classes() -> Mapping[str, Any]:
    """The classes that `construct` knows, by name."""
    from torch import nn

    from ckptaudit.rebuild.modules import Conv1D, FrozenBatchNorm2d

    places = [nn, *(kept for kept in vars(nn.modules).values() if isinstance(kept, ModuleType))]
    found: dict[str, Any] = {"Conv1D": Conv1D, "FrozenBatchNorm2d": FrozenBatchNorm2d}
    for place in places:
        for name, kept in vars(place).items():
            if name in ROWS and isinstance(kept, type) and issubclass(kept, nn.Module):
                found.setdefault(name, kept)
    return found


def construct(layer: str, arguments: Mapping[str, object], most: int, made: Mapping[str, Any]) -> Any:
    """A module of class `layer`; `made` are the modules that are to be its children, by name.

    `most` is how often the layer may repeat parts of itself: what the file holds bounds it. To be called with
    the meta device as the default one. Raises UnbuildableError.
    """
    cls = classes().get(layer)
    if cls is None:
        raise UnbuildableError(f"{layer} is no class of torch.nn here")
    given = dict(arguments)
    for name in _REPEATED:
        number = given.get(name, 0)
        if not isinstance(number, int) or number > most:
            raise UnbuildableError(f"{layer} with {name}={number!r}, and tensors for {most}")
    try:
        values = {name: _value(value, most) for name, value in given.items()}
        return cls(**values, **_of_children(layer, given, made))
    except Exception as error:  # arguments that a file tells may be wrong in any way
        raise UnbuildableError(f"{layer}: {error}") from error


def _of_children(layer: str, given: Mapping[str, object], made: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that are modules: torch copies them, or keeps them."""
    if layer == "Transformer":
        wanted = {"custom_encoder": "encoder", "custom_decoder": "decoder"}
    elif layer in ("TransformerEncoder", "TransformerDecoder"):
        first = f"{layer.removeprefix('Transformer').lower()}_layer"
        wanted = {first: "layers.0", "norm": "norm"}
    else:
        return {}
    return {
        argument: made[child] for argument, child in wanted.items() if child in made and argument not in given
    }


def _value(value: object, most: int) -> object:
    import torch

    if isinstance(value, TensorLike):
        return torch.empty(value.shape)
    if isinstance(value, ModuleLike):
        return construct(value.layer, value.arguments, most, {})
    if isinstance(value, str) and value in FUNCTIONS.values():
        place, _, name = value.rpartition(".")
        return getattr(torch if place == "torch" else torch.nn.functional, name)
    return value


def wrap(module: Any, wrapper: str, parameter: str, sizes: Mapping[str, tuple[int, ...] | None]) -> None:
    """Put what torch.nn.utils has around a parameter; `sizes` are the tensors that are to come of it.

    Raises UnbuildableError where it is none of theirs.
    """
    kind, _, told = wrapper.removeprefix("parametrizations.").partition("(")
    make = _WRAPPERS.get((wrapper.startswith("parametrizations."), kind))
    if make is None:
        raise UnbuildableError(f"{wrapper} around {parameter} is not known")
    try:
        make(module, parameter, sizes, _options(told))
    except Exception as error:
        raise UnbuildableError(f"{wrapper} around {parameter}: {error}") from error


def _options(told: str) -> dict[str, Any]:
    """The options of `spectral_norm(n_power_iterations=2, eps=1e-06)`."""
    pairs = (pair.partition("=") for pair in told.rstrip(")").split(", ") if pair)
    return {name: float(value) if name == "eps" else int(value) for name, _, value in pairs}


def _along(norms: tuple[int, ...] | None, whole: tuple[int, ...]) -> int | None:
    """The dimension that norms of these sizes are kept along; None where there is one norm of all.

    Where several dimensions could be it, each of them is of size 1, and the norms are the same.
    """
    if not norms:
        return None
    long = [index for index, size in enumerate(norms) if size != 1]
    fits = [index for index, size in enumerate(whole) if size == norms[index]]
    return (long or fits or [0])[0]


def _weight_norm(module: Any, name: str, sizes: Any, options: Any) -> None:
    from torch.nn import utils

    make: Any = utils.weight_norm
    make(module, name, _along(sizes.get(f"{name}_g"), getattr(module, name).shape))


def _spectral_norm(module: Any, name: str, sizes: Any, options: Any) -> None:
    from torch.nn.utils import spectral_norm

    spectral_norm(module, name, dim=_spectral_dim(module, name, sizes.get(f"{name}_u")), **options)


def _spectral_dim(module: Any, name: str, vector: tuple[int, ...] | None) -> int:
    shape = getattr(module, name).shape
    usual = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    if not vector or shape[usual] == vector[0]:
        return usual
    return next((index for index, size in enumerate(shape) if size == vector[0]), usual)


def _prune(module: Any, name: str, sizes: Any, options: Any) -> None:
    import torch
    from torch.nn.utils import prune

    make: Any = prune.custom_from_mask
    make(module, name, torch.ones_like(getattr(module, name)))


def _new_weight_norm(module: Any, name: str, sizes: Any, options: Any) -> None:
    from torch.nn.utils import parametrizations

    make: Any = parametrizations.weight_norm
    norms = sizes.get(f"parametrizations.{name}.original0")
    make(module, name, _along(norms, getattr(module, name).shape))


def _new_spectral_norm(module: Any, name: str, sizes: Any, options: Any) -> None:
    from torch.nn.utils import parametrizations

    vector = sizes.get(f"parametrizations.{name}.0._u")
    parametrizations.spectral_norm(module, name, dim=_spectral_dim(module, name, vector))


def _orthogonal(module: Any, name: str, sizes: Any, options: Any) -> None:
    from torch.nn.utils import parametrizations

    parametrizations.orthogonal(module, name)


_WRAPPERS: Final[Mapping[tuple[bool, str], Callable[[Any, str, Any, Any], None]]] = {
    (False, "weight_norm"): _weight_norm,
    (False, "spectral_norm"): _spectral_norm,
    (False, "prune"): _prune,
    (True, "weight_norm"): _new_weight_norm,
    (True, "spectral_norm"): _new_spectral_norm,
    (True, "orthogonal"): _orthogonal,
}
