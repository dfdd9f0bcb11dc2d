"""The rule `native-code`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("trust")
def native_code(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The archive holds compiled code, which loading it would run.

    ## What it finds
    Libraries that AOTInductor compiled, in a `.pt2` archive.

    ## Why it matters
    Machine code cannot be audited here. It is what such a package is for, and it can do anything.

    ## Example
    `data/aotinductor/model/model.so`.

    ## What to do
    Load it only from a source that you trust, or compile it again from the exported program.
    """
    yield from told(checkpoint, "native-code", Severity.WARNING)
