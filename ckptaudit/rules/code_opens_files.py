"""The rule `code-opens-files`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("trust")
def code_opens_files(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The code in a TorchScript archive reads or writes files.

    ## What it finds
    Calls of `torch.save` or `from_file` in the archive's own code.

    ## Why it matters
    TorchScript is a program. Loading it is not harmless only because it is no pickle: running the module
    opens these files with the rights of whoever runs it.

    ## Example
    `torch.save(x, "/home/user/.ssh/authorized_keys")` in `forward`.

    ## What to do
    Read the code under `code/` in the archive, and run it only where you trust who wrote it.
    """
    yield from told(checkpoint, "code-opens-files", Severity.ERROR)
