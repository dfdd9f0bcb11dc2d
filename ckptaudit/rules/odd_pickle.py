"""The rule `odd-pickle`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("trust")
def odd_pickle(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The pickle does what no pickler writes: it changes the classes and functions that it imports.

    ## What it finds
    Attributes, items or members that are set on an imported name itself instead of on an object made from
    it.

    ## Why it matters
    So a class of torch can be given another `__setstate__`, which then runs in place of the real one. It
    is a way to run code that calls nothing by name.

    ## Example
    A BUILD opcode right after the import of `torch.Tensor`, with a dict of attributes.

    ## What to do
    Do not load it with `weights_only=False`. Get the file again from where it was made.
    """
    yield from told(checkpoint, "odd-pickle", Severity.ERROR)
