"""One rule a file, its name that of the file: `RULES` is the list, in the order in which rules are told.

To add a rule, write `some_defect.py` with a function `some_defect` under `@rule(group)`. Its parameters are
the facts it needs (those that pipeline.py can gather), its docstring is its page: a first line, then the
sections that every other page has. Put its name here, and a `bad` and a `good` file into the tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module

from ckptaudit.audit import Rule

RULES = (
    # trust
    "dangerous-global",
    "unknown-global",
    "needs-code",
    "ambiguous-format",
    "hidden-pickle",
    "odd-pickle",
    "unsafe-member-name",
    "trailing-bytes",
    "code-in-expression",
    "code-opens-files",
    "native-code",
    "weights-only-refused",
    # integrity
    "unreadable-file",
    "unsupported-format",
    "not-fetched",
    "malformed-file",
    "limit-reached",
    "internal-error",
    "missing-record",
    "storage-size-mismatch",
    "storage-type-mismatch",
    "tensor-outside-storage",
    "duplicate-name",
    "index-mismatch",
    "checksum-mismatch",
    # structure
    "no-tensors",
    "tied-weights",
    "overlapping-storage",
    "oversized-storage",
    "lazy-parameter",
    "meta-tensor",
    "device-mismatch",
    "mixed-dtype",
    "wrapped-keys",
    "optimizer-mismatch",
    # keys
    "not-compared",
    "missing-keys",
    "unexpected-keys",
    "shape-mismatch",
    "dtype-mismatch",
    "renamed-keys",
    "diverged-tie",
    "absent-tie",
    "lost-on-save",
)


@cache
def load() -> tuple[Rule, ...]:
    """Every rule."""
    return tuple(find(name) for name in RULES)


def find(name: str) -> Rule:
    """The rule called `name`. Raises KeyError where there is none."""
    if name not in RULES:
        raise KeyError(name)
    stem = name.replace("-", "_")
    found: Rule = getattr(import_module(f"ckptaudit.rules.{stem}"), stem)
    return found


def choose(
    select: Iterable[str] = (), ignore: Iterable[str] = ()
) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """The rules that are chosen by name or group, and those that are not; all are where none is selected.

    A rule's own name counts for more than that of its group, and leaving out for more than choosing.
    """
    select, ignore = frozenset(select), frozenset(ignore)

    def is_chosen(rule: Rule) -> bool:
        for name in (rule.name, rule.group):
            if name in ignore:
                return False
            if name in select:
                return True
        return not select

    chosen = tuple(filter(is_chosen, load()))
    return chosen, tuple(rule for rule in load() if rule not in chosen)
