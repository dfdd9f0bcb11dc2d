"""Inputs for a model that nobody has described: shapes that its layers ask for, tried until one runs."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from itertools import islice, product
from typing import Any

from ckptaudit.verify.cases import Case, Spec, as_cases, batched, make
from ckptaudit.verify.lib import library
from ckptaudit.verify.run import CannotRunError, NoOutputError, floating, way_for

_SIZES = (9, 17, 33, 65, 32, 64, 129, 224, 256, 384)  # of images, until one is large enough
_LENGTHS = (7, 5, 4, 3, 2, 1)  # of sequences
_LAYERS = 3  # from the first on, that could be the one that gets the data
_TRIES = 150
_MOST_ARGS = 4
_BATCHES = ((1, 1.0), (3, 1.0), (3, 4.0))  # size, and scale of the numbers

Specs = tuple[Spec, ...]


def derived(model: Any, device: str, seed: int, seconds: float) -> tuple[Case, ...]:
    """Several seeded cases on which the model runs, of batch 1 and 3 where it takes both.

    Raises CannotRunError where none is found among the candidates in so many seconds.
    """
    if (own := _own_example(model)) is not None and _runs(model, device, own, seed):
        return (own,)
    end = time.monotonic() + seconds
    for specs in islice(candidates(model), _TRIES):
        if _runs(model, device, make(specs, seed), seed):
            return _several(model, device, specs, seed)
        if time.monotonic() > end:
            break
    why = _first_reason(model, device, seed)
    raise CannotRunError(f"no inputs were found on which it runs; give --input{why}")


def _first_reason(model: Any, device: str, seed: int) -> str:
    for specs in candidates(model):
        try:
            way_for(model, device, make(specs, seed), seed)
        except CannotRunError as error:
            return f" (the likeliest gave {error})"
    return ""


def _several(model: Any, device: str, specs: Specs, seed: int) -> tuple[Case, ...]:
    found = []
    for place, (size, scale) in enumerate(_BATCHES):
        case = make(batched(specs, size), seed + place, scale)
        found.append(case if _runs(model, device, case, seed) else make(specs, seed + place, scale))
    return tuple(found)


def _runs(model: Any, device: str, case: Case, seed: int) -> bool:
    try:
        way_for(model, device, case, seed)
    except NoOutputError:  # it runs
        raise
    except CannotRunError:
        return False
    return True


def _own_example(model: Any) -> Case | None:
    """What models of two well-known libraries carry along."""
    for name in ("example_input_array", "dummy_inputs"):
        try:
            example = getattr(model, name, None)
        except Exception:  # a property of the model's own code
            continue
        if isinstance(example, dict | tuple | library().Tensor):
            return as_cases(example)[0]
    return None


def candidates(model: Any) -> Iterator[Specs]:
    """Arguments to try, the likeliest first; every first dimension is the batch."""
    least, most = _arity(model)
    if least == 0:
        yield ()
    singles = list(_single(model))
    for count in range(max(1, least), min(max(1, least, most), _MOST_ARGS) + 1):
        yield from ((each,) * count for each in singles)
        if count > 1:
            yield from product(islice(_unlike_first(singles), 4), repeat=count)


def _unlike_first(singles: list[Spec]) -> Iterator[Spec]:
    seen = set()
    for each in singles:
        if (key := (len(each.shape), each.shape[-1], each.dtype)) not in seen:
            seen.add(key)
            yield each


def _arity(model: Any) -> tuple[int, int]:
    """How many arguments forward needs, and how many it takes at most of those that may be tensors."""
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return 1, 2
    plain = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = sum(each.default is each.empty for each in plain)
    if not plain and any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return 1, 2
    optional = sum(each.default is None for each in plain)
    return needed, needed + min(optional, 1)


def _single(model: Any) -> Iterator[Spec]:
    word = str(floating(model) or "float32").removeprefix("torch.")
    layers = [module for module in model.modules() if not list(module.children()) or _is_known(module)]
    known = [list(found) for layer in layers if (found := list(_for_layer(layer, word)))]
    yield from _in_turn(known[:_LAYERS])
    yield from _for_tensors(model, word)
    for shape in ((1, 8), (1, 3, 17, 17), (1, 7, 8), (1, 20), (1, 3, 64, 64), (1, 1, 28, 28), (1,)):
        yield Spec("", shape, word)
    yield Spec("", (1, 7), "int64", 2)


def _in_turn(known: list[list[Spec]]) -> Iterator[Spec]:
    """All that the first layer asks for, then the next one's."""
    seen = set()
    for each in (each for found in known for each in found):
        if each not in seen:
            seen.add(each)
            yield each


def _is_known(module: Any) -> bool:
    nn = library().nn
    return isinstance(
        module,
        nn.MultiheadAttention
        | nn.Transformer
        | nn.TransformerEncoderLayer
        | nn.TransformerDecoderLayer
        | nn.RNNBase,
    )


def _for_layer(layer: Any, word: str) -> Iterator[Spec]:
    """What one layer of torch.nn takes; nothing for one that takes all."""
    nn = library().nn
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        yield from (Spec("", (1, length), "int64", layer.num_embeddings) for length in _LENGTHS)
        yield Spec("", (1,), "int64", layer.num_embeddings)
    elif isinstance(layer, nn.modules.conv._ConvNd):
        dims = len(layer.kernel_size)
        sizes = _SIZES if dims > 1 else (17, 65, 129, 400, 1600)
        yield from (
            Spec("", (1, layer.in_channels, *[size] * dims), word)
            for size in sizes[: 5 if dims == 3 else None]
        )
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        dims = next((each for each in (1, 2, 3) if str(each) in type(layer).__name__), 0)
        shapes = {1: ((), (7,)), 2: ((9, 9),), 3: ((5, 5, 5),)}.get(dims, ((), (9, 9)))
        yield from (Spec("", (1, layer.num_features, *shape), word) for shape in shapes)
    else:
        yield from _for_features(layer, word, nn)


def _for_features(layer: Any, word: str, nn: Any) -> Iterator[Spec]:
    width = None
    for name in ("in_features", "in1_features", "input_size", "embed_dim", "d_model"):
        width = width or getattr(layer, name, None)
    if isinstance(layer, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        width = layer.self_attn.embed_dim
    if isinstance(layer, nn.GroupNorm):
        yield Spec("", (1, layer.num_channels, 9, 9), word)
        yield Spec("", (1, layer.num_channels, 7), word)
    elif isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        yield Spec("", (1, 7, *layer.normalized_shape), word)
        yield Spec("", (1, *layer.normalized_shape), word)
    elif isinstance(width, int) and width > 0:
        flat, sequence = Spec("", (1, width), word), Spec("", (1, 7, width), word)
        is_sequence = isinstance(layer, nn.RNNBase) or _is_known(layer)
        yield from (sequence, flat) if is_sequence else (flat, sequence)
        yield from (Spec("", (1, length, width), word) for length in _LENGTHS[2:])


def _for_tensors(model: Any, word: str) -> Iterator[Spec]:
    """Widths that parameters of no known layer have."""
    for tensor in islice(model.parameters(), _LAYERS):
        for size in dict.fromkeys(tensor.shape):
            yield Spec("", (1, size), word)
            yield Spec("", (1, 7, size), word)
