"""State dicts for the tests of layers: from torch modules, and from names and shapes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ckptaudit.layers import Guess, ModuleLike, TensorLike, guesses
from ckptaudit.model import ModuleMeta, TensorMeta

Shape = tuple[int, ...] | None


def tensors(shapes: Mapping[str, Shape], dtype: str = "float32") -> list[TensorMeta]:
    """Tensors of these names and shapes."""
    return [
        TensorMeta((key,), key, dtype, shape, (), 0, key, "lazy" if shape is None else "tensor")
        for key, shape in shapes.items()
    ]


def told(shapes: Mapping[str, Shape], versions: Mapping[str, int] | None = None) -> dict[str, Guess]:
    """The guesses for a state dict of these names and shapes."""
    modules = {path: ModuleMeta(path, version=version) for path, version in (versions or {}).items()}
    return guesses(tensors(shapes), modules)


def layers(shapes: Mapping[str, Shape]) -> dict[str, str | None]:
    """The layer of each module."""
    return {path: guess.layer for path, guess in told(shapes).items()}


def shapes_of(module: Any) -> dict[str, Shape]:
    """Names and shapes of a torch module's state dict; None where a lazy parameter has no shape yet."""
    import torch

    lazy = torch.nn.parameter.UninitializedTensorMixin
    return {
        key: None if isinstance(value, lazy) else tuple(value.shape)
        for key, value in module.state_dict().items()
    }


def told_of(module: Any, *, versions: bool = True) -> dict[str, Guess]:
    """The guesses for the state dict of a torch module, with or without the versions that torch saves."""
    metadata = module.state_dict()._metadata if versions else {}
    return told(shapes_of(module), {path: entry["version"] for path, entry in metadata.items()})


def made(layer: str, arguments: Mapping[str, object]) -> Any:
    """The layer of torch.nn that a guess describes."""
    import torch

    return getattr(torch.nn, layer)(**{name: _made(value) for name, value in arguments.items()})


def _made(value: object) -> Any:
    import torch

    if isinstance(value, TensorLike):
        return torch.zeros(value.shape)
    if isinstance(value, ModuleLike):
        return made(value.layer, value.arguments)
    if isinstance(value, list):
        return [
            torch.nn.Parameter(_made(item)) if isinstance(item, TensorLike) else _made(item) for item in value
        ]
    return value


def named(layer: str, guess: Guess) -> bool:
    """Whether the guess is this layer, or names it among its alternatives."""
    return layer == guess.layer or layer in guess.alternatives


def everything(found: Mapping[str, Guess]) -> Iterator[tuple[str, str]]:
    """Path and layer of each module of which one is known."""
    for path, guess in found.items():
        if guess.layer is not None:
            yield path, guess.layer
