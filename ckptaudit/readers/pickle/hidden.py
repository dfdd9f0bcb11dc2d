"""Pickles where none belongs: members of an archive that nothing refers to."""

from __future__ import annotations

from ckptaudit.errors import CkptAuditError
from ckptaudit.readers.archive import Archive
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.member import Member
from ckptaudit.readers.pickle import interpret
from ckptaudit.readers.pickle.machine import run
from ckptaudit.readers.pickle.policy import verdict

_HEAD = 2  # PROTO and its number
_LOOK = 4096
_TEXT_STARTS = b"c(}]"  # how pickles of protocol 0 and 1 with an import begin


def look_into(draft: Draft, archive: Archive, member: Member, budget: int) -> int:
    """Note a pickle in `member`, and the names that it would import; the bytes that were looked through.

    A member of more than `budget` bytes is not opened.
    """
    try:
        head = archive.head(member, _LOOK)
        if head.startswith(b"PK\x03\x04"):
            draft.problem("hidden-pickle", f"{member.name[:200]!r} is an archive that is not looked into")
        if not _could_import(head, draft):
            return len(head)
        if member.nbytes > budget:
            draft.limit("inflated_bytes", f"{member.name[:200]!r} may be a pickle, and was not looked into")
            return 0
        data = archive.read(member, draft.limits.pickle_bytes)
    except CkptAuditError:
        return 0
    pickled = run(data, 0, draft.limits)
    dangerous = any(verdict(found.module, found.name) == "dangerous" for found in pickled.globals)
    # Text parses as a pickle by accident, but then it neither ends with STOP nor names what is dangerous.
    if pickled.globals and (pickled.fault is None or dangerous):
        base = archive.span_of(member)
        interpret(draft, data, base=base, label=member.name)
        draft.problem("hidden-pickle", f"{member.name[:200]!r} is a pickle that nothing refers to", base)
    return len(data)


def _could_import(head: bytes, draft: Draft) -> bool:
    """Whether a pickle that begins so imports anything, or goes on after these bytes."""
    pickled = run(head, 0, draft.limits)
    return bool(pickled.globals) or (pickled.fault is not None and pickled.fault.truncated)


def looks_like_one(data: bytes) -> bool:
    """Whether the first bytes could begin a pickle that imports something."""
    head = data[:_HEAD]
    return (head[:1] == b"\x80" and head[1:2] <= b"\x05") or (head[:1] != b"" and head[0] in _TEXT_STARTS)
