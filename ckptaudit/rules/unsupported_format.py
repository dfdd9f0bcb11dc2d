"""The rule `unsupported-format`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def unsupported_format(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file is whole, and of a format that ckptaudit does not read.

    ## What it finds
    GGUF, ONNX, npz, HDF5 and others, known by their content. Nothing in it was audited.

    ## Why it matters
    Silence would look like a pass.

    ## Example
    `model.gguf: a GGUF model (llama.cpp), which ckptaudit does not read`.

    ## What to do
    Leave the file out of the paths, or convert it to safetensors first.
    """
    yield from told(checkpoint, "unsupported-format", Severity.ERROR)
