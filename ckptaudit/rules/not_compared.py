"""The rule `not-compared`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, rule


@rule("keys")
def not_compared(comparison_fault: str | None) -> Iterator[Finding]:
    """The checkpoint was to be compared with a reference, and could not be.

    ## What it finds
    A reference given by `--against`, or set for this path in pyproject.toml, that is no file, no
    checkpoint that can be read completely, no lock file, or code that gives no `nn.Module` in the time it
    has. Also a checkpoint of several models, where nothing says which one is meant.

    ## Why it matters
    The keys were not looked at.

    ## Example
    `module:net:build gives a function, not an nn.Module`.

    ## What to do
    Correct the reference: another checkpoint, a file that `ckptaudit lock` wrote, or
    `module:pkg.mod:factory` with a factory that takes no arguments. Of several models name one: `PATH::NAME`.
    """
    if comparison_fault is not None:
        yield error(comparison_fault)
