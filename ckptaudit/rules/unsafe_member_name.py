"""The rule `unsafe-member-name`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("trust")
def unsafe_member_name(checkpoint: Checkpoint) -> Iterator[Finding]:
    """A member of the archive would be written outside its folder when the archive is unpacked.

    ## What it finds
    Absolute names, names with `..` in them, drive letters and NUL characters.

    ## Why it matters
    Whoever unpacks the file with a careless tool has other files overwritten (known as Zip Slip).
    `torch.load` itself does not unpack.

    ## Example
    A member called `../../.bashrc`.

    ## What to do
    Do not unpack it. Save the weights again from a trusted copy.
    """
    yield from told(checkpoint, "unsafe-member-name", Severity.ERROR)
