"""The rule `unknown-global`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, note, rule
from ckptaudit.model import Checkpoint, GlobalRef
from ckptaudit.readers.pickle.policy import verdict
from ckptaudit.saved import module_classes
from ckptaudit.text import plural, some


@rule("trust")
def unknown_global(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The pickle imports names of which nobody can say here what they do.

    ## What it finds
    Functions that it calls, and classes that it calls with more than plain values (an error). Classes of
    which it only makes plain objects, enums and named tuples among them, and names that it only mentions (a
    note). Known are what torch's own restricted loader accepts, classes and functions of torch, numpy and
    the standard library that only hold or compute, and a few widely used containers of settings.

    ## Why it matters
    A function that is called while loading may do anything. A plain object is made without its constructor
    and filled with what the file holds: it needs its class to be there, and brings no code of its own.

    ## Example
    `project.config.TrainConfig`, saved beside the weights under "args".

    ## What to do
    Save settings as plain dicts, lists, numbers and text. Where the code is yours, allow the rule for
    this file: `ignore = ["unknown-global"]` under `[tool.ckptaudit.per-path."weights/*.pt"]`.
    """
    unknown = [ref for ref in checkpoint.globals if verdict(ref.module, ref.name) == "unknown"]
    called = [ref for ref in unknown if ref.called and not ref.instance]
    if called:
        yield error(
            f"its pickle calls what is not known to be harmless: {some(_names(called))}",
            _names(called),
            span=called[0].span,
            fix="load it only where you trust who made it",
        )
    modules = module_classes(checkpoint)  # which have a rule of their own
    rest = [ref for ref in unknown if ref not in called and f"{ref.module}.{ref.name}" not in modules]
    if rest:
        count = plural(len(rest), "name")
        yield note(
            f"its pickle needs {count} that ckptaudit does not know: {some(_names(rest))}",
            _names(rest),
            span=rest[0].span,
            fix="save settings as plain dicts, numbers and text",
        )


def _names(refs: list[GlobalRef]) -> list[str]:
    return [f"{ref.module}.{ref.name}" for ref in refs]
