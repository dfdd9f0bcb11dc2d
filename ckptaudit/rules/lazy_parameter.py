"""The rule `lazy-parameter`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, rule, warning
from ckptaudit.model import Checkpoint
from ckptaudit.text import plural, some


@rule("structure")
def lazy_parameter(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Parameters were saved before they had a shape: the file holds no values for them.

    ## What it finds
    `UninitializedParameter` and `UninitializedBuffer` of lazy modules that no input has passed through.

    ## Why it matters
    Such a part was never trained, or never run. `torch.load(weights_only=True)` refuses the file.

    ## Example
    `2 parameters without a shape: branch.weight, branch.bias`.

    ## What to do
    Run the model once before saving it; where a branch never runs, ask whether it belongs to the model.
    """
    keys = [tensor.key for tensor in checkpoint.tensors.values() if tensor.shape is None]
    if keys:
        yield warning(
            f"{plural(len(keys), 'parameter')} without a shape, never run: {some(keys)}",
            keys,
            fix="run the model once before saving it",
        )
