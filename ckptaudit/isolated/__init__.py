"""Code that the caller named, run in a child process: with a time limit, and apart from our own output.

Nothing that a checkpoint names is ever run, here or anywhere. `process.ask` is the parent's side,
`inside.serve` the child's. The child is this Python, started in the current folder, or in that of the
settings that name the code, which comes first on its path as with `python -m`. What the code prints goes to
our stderr; what the child has to say comes back in a file.
"""

from __future__ import annotations

from typing import ClassVar

from ckptaudit.errors import CkptAuditError

SECONDS = 60.0  # for the caller's code, where nothing else is said


class ChildError(CkptAuditError):
    """The caller's code gives no answer: it fails, takes too long, or returns something else."""

    code: ClassVar[str] = "not-compared"


def target(text: str, subject: str) -> tuple[str, str]:
    """`pkg.mod:factory` -> (pkg.mod, factory); ChildError about `subject` where it is not of that form."""
    module, colon, factory = text.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *factory.split("."))):
        raise ChildError(subject, "no reference to code", remedy="write package.module:factory")
    return module, factory
