"""The rule `hidden-pickle`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint
from ckptaudit.readers.pickle.policy import verdict


@rule("trust")
def hidden_pickle(checkpoint: Checkpoint) -> Iterator[Finding]:
    """A pickle stands where none belongs.

    ## What it finds
    Pickles that import something among the members of an archive that nothing refers to, whatever their
    names; in archives inside the archive; behind the end of the first pickle; in bytes that loading would
    load in turn. An error where one of them imports what is not known to be inert, else a note: extra
    files of TorchScript, say. Bytes of tensors are never taken for pickles.

    ## Why it matters
    Something will load it: a second loader, a careless script, the first pickle itself. Scanners that
    look at `data.pkl` alone do not see it.

    ## Example
    `archive/extra.bin` beside `archive/data.pkl`, which calls `os.system` when it is unpickled.

    ## What to do
    Find out what put it there. Save the weights again from a trusted copy.
    """
    for finding in told(checkpoint, "hidden-pickle", Severity.NOTE):
        # The keys of such a problem are the names in the pickle that are not known to be inert.
        yield replace(finding, severity=Severity.ERROR) if _is_alarming(checkpoint, finding) else finding


def _is_alarming(checkpoint: Checkpoint, finding: Finding) -> bool:
    about = set(finding.keys)
    return any(
        verdict(ref.module, ref.name) == "dangerous" or (ref.called and not ref.instance)
        for ref in checkpoint.globals
        if f"{ref.module}.{ref.name}" in about
    )
