"""The rule `checksum-mismatch`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, note, rule
from ckptaudit.readers.checksums import Checksums
from ckptaudit.text import plural, some


@rule("integrity")
def checksum_mismatch(checksums: Checksums) -> Iterator[Finding]:
    """The bytes of a member are not those that its checksum was made of.

    ## What it finds
    With `--deep`, members of zip archives whose CRC-32 differs from the one in the directory. A file in
    which no record of a storage has the right one was saved with checksums off, which is a note and no
    fault. Formats without checksums (safetensors, legacy files) have nothing to compare.

    ## Why it matters
    `torch.load` never looks: flipped bits of a bad disk or download become weights. Who edits a file by
    hand forgets the checksum too.

    ## Example
    `1 of 148 members is damaged: archive/data/17`.

    ## What to do
    Fetch the file again. A checkpoint that was damaged before it was uploaded has to be saved again.
    """
    if checksums.wrong:
        total = plural(checksums.checked, "member")
        shown = some(checksums.wrong)
        yield error(
            f"{len(checksums.wrong):,} of {total} differ from their checksum: {shown}",
            checksums.wrong,
            data={"checked": checksums.checked, "wrong": list(checksums.wrong[:100])},
            fix="fetch or save the file again",
        )
    elif checksums.unmade:
        yield note("saved without checksums: damage to its bytes cannot be seen")
