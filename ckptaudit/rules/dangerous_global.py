"""The rule `dangerous-global`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, rule
from ckptaudit.model import Checkpoint
from ckptaudit.readers.pickle.policy import verdict
from ckptaudit.text import some


@rule("trust")
def dangerous_global(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Loading the file runs code: its pickle imports what starts processes, opens files or runs text as code.

    ## What it finds
    Names outside the list of those that are known to be inert which lead to processes, files, networks,
    other code or the interpreter itself; also where they hide behind `getattr`, `functools.partial`, a
    resolver, a second pickle, or bytes that torch would load in turn. Scary text in a checkpoint is no
    finding, nor are the bytes of a tensor: only what a pickle would import counts.

    ## Why it matters
    `torch.load(weights_only=False)`, `pickle.load` and everything built on them call these functions
    while they read, with the arguments that the file gives, before any weight is used.

    ## Example
    `posix.system` called on the text of a shell command.

    ## What to do
    Do not load it, and find out where it comes from. No honest checkpoint needs these names.
    """
    found = [ref for ref in checkpoint.globals if verdict(ref.module, ref.name) == "dangerous"]
    if not found:
        return
    # What is called tells more than what leads to it.
    found.sort(key=lambda ref: not ref.called)
    names = [f"{ref.module}.{ref.name}" for ref in found]
    does = "calls" if found[0].called else "imports"
    yield error(
        f"loading it runs code: its pickle {does} {some(names)}",
        names,
        span=found[0].span,
        data={"called": [name for name, ref in zip(names, found, strict=True) if ref.called]},
        fix="do not load it; find out where it comes from",
    )
