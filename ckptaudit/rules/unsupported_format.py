"""The rule `unsupported-format`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def unsupported_format(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file is whole, and of a format that ckptaudit does not read.

    ## What it finds
    GGUF, ONNX, npz, HDF5 and others, known by their content; also web pages and texts that were saved
    under the name of a checkpoint. Nothing in it was audited.

    ## Why it matters
    Silence would look like a pass.

    ## Example
    `model.gguf: a GGUF model (llama.cpp), which ckptaudit does not read`.

    ## What to do
    Leave the file out of the paths, convert it to safetensors first, or download the file itself where
    what came is a page about it.
    """
    yield from told(checkpoint, "unsupported-format", Severity.ERROR)
