"""Pickles, read without running them: `interpret` one, and take what it holds into a draft.

machine.py turns opcodes into symbols, reach.py says how each name is used, calls.py follows the names behind
calls, revive.py finds the tensors, weights_only.py says what torch's own restricted loader would answer.
policy.py judges names for all of them, by the lists in names_torch.py, names_stdlib.py and names_others.py.
"""

from __future__ import annotations

from collections.abc import Callable

from ckptaudit.model import GlobalRef, Span
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.calls import names_behind
from ckptaudit.readers.pickle.machine import Pickled, run
from ckptaudit.readers.pickle.symbols import Global, Persistent

__all__ = ["interpret", "note"]


def interpret(
    draft: Draft,
    data: bytes,
    start: int = 0,
    *,
    base: Span | None,
    label: str,
    persistent: Callable[[object], object] = Persistent,
) -> Pickled:
    """Run the machine over the pickle at byte `start` of `data`; note its globals and what is wrong with it.

    `base` is where `data` lies in the file, None where it was compressed; `label` names the member.
    """
    pickled = run(data, start, draft.limits, persistent)
    note(draft, pickled, base=base, label=label)
    return pickled


def note(draft: Draft, pickled: Pickled, *, base: Span | None, label: str) -> None:
    """Take what one run of the machine came upon into the draft: names, oddities, the fault that ended it."""

    def span(position: int, width: int = 1) -> Span:
        if base is None:
            return Span(f"{draft.source.path}!{label}", position, width)
        return Span(base.file, base.start + position, width)

    for found in pickled.globals:
        place = span(found.position, found.width)
        draft.globals.append(GlobalRef(found.module, found.name, found.called, place, found.instance))
    for module, name, called, instance, position in names_behind(pickled):
        draft.globals.append(GlobalRef(module, name, called, span(position), instance))
    if any(call.func.name == "_load_from_bytes" for call in pickled.indirect if type(call.func) is Global):
        from ckptaudit.readers.pickle.embedded import follow  # which itself reads pickles

        follow(draft, pickled.indirect)
    for position, what in pickled.hostile:
        draft.problem("odd-pickle", f"{label} at byte {position} {what}", span(position))
    if pickled.fault is None:
        return
    reason = f"{label} at byte {pickled.end}: {pickled.fault.reason}"
    if pickled.fault.limit:
        draft.limit(pickled.fault.limit, reason, span(pickled.end))
    else:
        draft.problem("malformed-file", reason, span(pickled.end), incomplete=True)
