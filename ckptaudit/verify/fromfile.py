"""Whether a loaded model holds what the file holds, told from the bytes of the file alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptaudit.model import Checkpoint, TensorMeta
from ckptaudit.rebuild.place import Placer
from ckptaudit.saved import saved
from ckptaudit.verify.facts import Kind, Weight
from ckptaudit.verify.held import weigh


def unlike_file(
    checkpoint: Checkpoint,
    renamed: Mapping[str, str],
    tensors: Mapping[str, tuple[Kind, Any]],
    weights: Mapping[str, Weight],
) -> tuple[str, ...]:
    """The keys whose values in the model are others than under that key in the file, or cannot be told to be
    the same.

    Where a model ties what the file holds twice, one of the two is lost; its own loading code may drop or
    change some. Keys that the model does not have are for others to name.
    """
    placer = Placer(checkpoint)
    found = []
    for key, row in saved(checkpoint).tensors.items():
        name = renamed.get(key, key)
        if name not in weights:
            continue
        if placer.refusal(row) or not _is_held(placer, row, tensors[name][1], weights[name]):
            found.append(key)
    return tuple(found)


def _is_held(placer: Placer, row: TensorMeta, tensor: Any, weight: Weight) -> bool:
    return not placer.has_values(row) or _holds(tensor, weight, placer.tensor(row))


def _holds(tensor: Any, weight: Weight, inside: Any) -> bool:
    """Whether the model's tensor has the elements that are in the file, put into the model's dtype."""
    if inside.dtype != tensor.dtype:
        inside = inside.to(tensor.dtype)
    return weigh({"": ("parameter", inside)})[""].digest == weight.digest
