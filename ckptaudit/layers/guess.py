"""What is said of a module: the layer that it seems to be, how surely, and what else it could be."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Confidence = Literal["certain", "likely", "guess"]
Arguments = Mapping[str, object]

NOTHING: Final[Arguments] = MappingProxyType({})


class Guess(NamedTuple):
    """The layer that seems to own the tensors of the module at `path`.

    `layer` is the name of a torch.nn class, or of one of the few others that are as widespread: `Conv1D`
    (transformers' linear layer with a transposed weight) and `FrozenBatchNorm2d` (torchvision's). It is
    None, like `confidence`, where no known layer has such tensors. `alternatives` are the other classes
    that fit the same tensors, the likeliest first.

    `getattr(torch.nn, layer)(**arguments)` has exactly the same tensors, once an argument that is a
    `TensorLike` or a `ModuleLike` is replaced by such a tensor or module. What `unknown` names decides what
    the layer computes and is shown by no tensor; what is in both is a stand-in, because torch wants one.

    `wrappers` are what was put around a parameter: ("weight_norm", "weight"), or the same as a
    parametrization: ("parametrizations.weight_norm", "weight").
    """

    path: str
    layer: str | None
    confidence: Confidence | None
    alternatives: tuple[str, ...] = ()
    arguments: Arguments = NOTHING
    unknown: tuple[str, ...] = ()
    wrappers: tuple[tuple[str, str], ...] = ()


class TensorLike(NamedTuple):
    """An argument that is a tensor, of which only the shape is known here."""

    shape: tuple[int, ...]


class ModuleLike(NamedTuple):
    """An argument that is itself a layer: torch.nn's `layer`, made with `arguments`."""

    layer: str
    arguments: Arguments
