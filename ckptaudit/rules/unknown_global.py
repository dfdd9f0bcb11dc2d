"""The rule `unknown-global`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, rule, warning
from ckptaudit.model import Checkpoint, GlobalRef
from ckptaudit.readers.pickle.policy import verdict
from ckptaudit.saved import module_classes
from ckptaudit.text import plural, some


@rule("trust")
def unknown_global(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The pickle imports names of which nobody can say here what they do.

    ## What it finds
    Functions that it calls (an error), and classes that it makes plain objects of or only mentions (a
    warning). Known are what torch's own restricted loader accepts, classes and functions of torch, numpy
    and the standard library that only hold or compute, and a few widely used containers of settings.

    ## Why it matters
    A function that is called while loading may do anything. A class is less: its objects are made without
    its constructor, and filled with what the file holds; but its code has to be there, and it may react
    to that.

    ## Example
    `project.config.TrainConfig`, saved beside the weights under "args".

    ## What to do
    Save settings as plain dicts, lists, numbers and text. Where the code is yours, allow the rule for
    this file: `ignore = ["unknown-global"]` under `[tool.ckptaudit.per-path."weights/*.pt"]`.
    """
    modules = module_classes(checkpoint)
    unknown = [
        ref
        for ref in checkpoint.globals
        if verdict(ref.module, ref.name) == "unknown" and f"{ref.module}.{ref.name}" not in modules
    ]
    called = [ref for ref in unknown if ref.called and not ref.instance]
    if called:
        yield error(
            f"its pickle calls what is not known to be harmless: {some(_names(called))}",
            _names(called),
            span=called[0].span,
            fix="load it only where you trust who made it",
        )
    rest = [ref for ref in unknown if not ref.called or ref.instance]
    if rest:
        count = plural(len(rest), "name")
        yield warning(
            f"its pickle needs {count} that ckptaudit does not know: {some(_names(rest))}",
            _names(rest),
            span=rest[0].span,
            fix="save settings as plain dicts, numbers and text",
        )


def _names(refs: list[GlobalRef]) -> list[str]:
    return [f"{ref.module}.{ref.name}" for ref in refs]
