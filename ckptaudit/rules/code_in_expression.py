"""The rule `code-in-expression`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("trust")
def code_in_expression(checkpoint: Checkpoint) -> Iterator[Finding]:
    """A size in an exported program is no arithmetic: loading it would evaluate the text as code.

    ## What it finds
    Symbolic sizes of a `.pt2` archive that hold anything else than numbers, symbols and functions of
    them.

    ## Why it matters
    `torch.export.load` hands these texts to sympy, which evaluates them.

    ## Example
    `"expr_str": "__import__('os').system('id')"` where `2*s0` would stand.

    ## What to do
    Do not load it. Export the program again from its source.
    """
    yield from told(checkpoint, "code-in-expression", Severity.ERROR)
