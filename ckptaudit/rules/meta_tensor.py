"""The rule `meta-tensor`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, rule
from ckptaudit.model import Checkpoint
from ckptaudit.text import plural, some


@rule("structure")
def meta_tensor(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Tensors on the meta device: they have a shape, and no values.

    ## What it finds
    Tensors whose storage is on the device `meta`, which holds no memory.

    ## Why it matters
    The file looks complete and is empty there. Loading it leaves the parameters without values, or as
    they were.

    ## Example
    `48 tensors on the meta device: layers.0.weight, layers.0.bias, …`.

    ## What to do
    Save the model after its weights were loaded or initialized: `model.to_empty(device=...)` and then
    load.
    """
    storages = checkpoint.storages
    if not any(storage.device == "meta" for storage in storages.values()):
        return
    keys = [
        tensor.key
        for tensor in checkpoint.tensors.values()
        if tensor.storage in storages and storages[tensor.storage].device == "meta"
    ]
    if keys:
        yield error(
            f"{plural(len(keys), 'tensor')} on the meta device, without values: {some(keys)}",
            keys,
            fix="save the model once its weights are there",
        )
