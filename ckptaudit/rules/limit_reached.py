"""The rule `limit-reached`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, Severity, rule, told
from ckptaudit.model import Checkpoint


@rule("integrity")
def limit_reached(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Reading the file costs more than the limits allow: a part of it was not audited.

    ## What it finds
    Floods of opcodes or objects, deep nesting, names of megabytes, archives of hundreds of thousands of
    members.

    ## Why it matters
    Hostile files try to exhaust whoever looks at them. A payload may stand behind the flood.

    ## Example
    `more than 4,000,000 opcodes: the limit opcodes=4000000 was reached (raise it with --limit
    opcodes=N)`.

    ## What to do
    Where the file is honest and merely large, raise the limit that is named: `--limit NAME=VALUE`.
    """
    yield from told(checkpoint, "limit-reached", Severity.ERROR)
