"""Pickles where none belongs: members of an archive that nothing refers to, and archives inside it.

Whatever its name, a member is looked at as loaders would take it: as a pickle or several in a row, the
objects of a NumPy array, a checkpoint, another archive. What it would import is listed like all else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module

from ckptaudit.errors import CkptAuditError
from ckptaudit.limits import Limits
from ckptaudit.model import GlobalRef
from ckptaudit.readers.archive import STORED, Archive
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.member import Member
from ckptaudit.readers.pickle.machine import Pickled, run
from ckptaudit.readers.pickle.policy import verdict
from ckptaudit.readers.pickle.stream import PickleStream
from ckptaudit.source import Bytes, Slice, Source

_HEAD = 2  # PROTO and its number
_PROTO = b"\x80"
_LOOK = 4096
_TEXT_STARTS = b"c(}]"  # how pickles of protocol 0 and 1 with an import begin
_ZIP = b"PK\x03\x04"
# A NumPy array whose elements are objects: its header is followed by a pickle.
_OBJECTS = re.compile(rb"\x93NUMPY[\1-\3].(?:..|....)\{[^}]*'descr':[^}]*\|O[^\n]*\n", re.DOTALL)
_MARK = "!archive "
_DEEPEST = 4  # archives in archives
_MOST = 50  # pickles in a row
_NAMED = 20
_TOLD = 10
_KEPT = frozenset(
    {"hidden-pickle", "odd-pickle", "limit-reached", "code-opens-files", "code-in-expression", "native-code"}
)


def look_into(draft: Draft, archive: Archive, member: Member, budget: int) -> int:
    """Note a pickle in `member`, and the names that it would import; the bytes that were looked through.

    A compressed member of more than `budget` bytes is not opened, and nothing is once that is used up.
    """
    try:
        head = archive.head(member, _LOOK)
        start = _OBJECTS.match(head)
        begin = start.end() if start else 0
        nested = head.startswith(_ZIP)
        if not (nested or _could_import(head[begin:], draft.limits)):
            return len(head)
        packed = member.method != STORED
        if budget <= 0 or (packed and member.nbytes > budget):
            _too_much(draft, f"{member.name[:200]!r} may be a pickle")
            return 0
        source = _Counted(_opened(archive, member))
        if nested:
            return _archive(draft, archive, source, member, budget) + packed * member.nbytes
        _pickles(draft, archive, source, member, begin)
        return source.looked + packed * member.nbytes
    except CkptAuditError:
        return 0


def looks_like_one(data: bytes) -> bool:
    """Whether the first bytes could begin a pickle that imports something."""
    head = data[:_HEAD]
    return (head[:1] == b"\x80" and head[1:2] <= b"\x05") or (head[:1] != b"" and head[0] in _TEXT_STARTS)


def imports(found: Iterable[GlobalRef]) -> tuple[str, tuple[str, ...]]:
    """What a hidden pickle imports, in words, and the names that are not known, the worst first."""
    names: dict[str, list[str]] = {"dangerous": [], "unknown": [], "known": []}
    for one in found:
        names[verdict(one.module, one.name)].append(f"{one.module[:100]}.{one.name[:100]}")
    worst = [*names["dangerous"], *names["unknown"]][:_NAMED]
    return f"imports {worst[0]}" if worst else "imports only what is inert", tuple(worst)


class _Counted:
    """A source that counts the bytes read from it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.path, self.size = source.path, source.size
        self.looked = 0

    def read(self, start: int, nbytes: int) -> bytes:
        """The bytes from `start`."""
        found = self._source.read(start, nbytes)
        self.looked += len(found)
        return found


def _opened(archive: Archive, member: Member) -> Source:
    """The member as a source of its own, in memory where it is compressed."""
    span = archive.span_of(member) if member.method == STORED and not member.flags & 1 else None
    name = f"{_MARK.removeprefix('!')}{member.name[:200]}"
    if span is not None:
        return Slice(archive.source, span.start, span.nbytes, name)
    return Bytes(f"{archive.source.path}!{name}", archive.read(member, max(member.nbytes, member.packed)))


def _could_import(head: bytes, limits: Limits) -> bool:
    """Whether pickles that begin so import anything, or go on after these bytes."""
    position = 0
    for number in range(_MOST):
        if number and not looks_like_one(head[position:]):
            return False
        pickled = run(head, position, limits)
        if pickled.globals or (pickled.fault is not None and pickled.fault.truncated):
            return True
        if pickled.fault is not None or pickled.end >= len(head):
            return pickled.fault is None and len(head) == _LOOK
        position = pickled.end
    return True


def _pickles(draft: Draft, archive: Archive, source: Source, member: Member, begin: int) -> None:
    """Note what the pickles from byte `begin` of a member would import."""
    span = archive.span_of(member) if member.method == STORED else None
    inner = Draft(archive.source if span else source, draft.format, draft.limits)
    stream = PickleStream(inner, source, span.start if span else 0)
    stream.position = begin
    name = _label(archive, member)
    real = False
    for _ in range(_MOST):
        marked = source.read(stream.position, 1) == _PROTO
        pickled = stream.pickle(name)
        real = real or _is_real(pickled, marked)
        if pickled.fault is not None or not looks_like_one(source.read(stream.position, _HEAD)):
            break
    if real:
        told, names = imports(inner.globals)
        _take(draft, inner)
        draft.problem(
            "hidden-pickle", f"{name!r} is a pickle that nothing refers to: it {told}", span, keys=names
        )


def _is_real(pickled: Pickled, marked: bool) -> bool:
    """Whether it is one: text that parses by accident neither ends with STOP nor calls what is dangerous."""
    return bool(pickled.globals) and (
        marked
        or pickled.fault is None
        or any(found.called and verdict(found.module, found.name) == "dangerous" for found in pickled.globals)
    )


def _archive(draft: Draft, archive: Archive, source: _Counted, member: Member, budget: int) -> int:
    """Look into an archive inside the archive; the bytes looked through."""
    name = _label(archive, member)
    if source.path.count(_MARK) > _DEEPEST:
        draft.problem("hidden-pickle", f"{name!r} is an archive, {_DEEPEST} archives deep", incomplete=True)
        return 0
    limits = replace(draft.limits, inflated_bytes=max(0, budget))
    nested = Archive(source, limits)
    packed = sum(part.nbytes for part in nested.members if part.method != STORED)
    if packed > budget:
        _too_much(draft, f"{name!r} is an archive of {packed:,} bytes")
        return source.looked
    inner = Draft(source, draft.format, limits)
    try:
        read = import_module("ckptaudit.readers").read_source(source, limits, whole=False)
        inner.globals, inner.problems = [*read.globals], [*read.problems]
    except CkptAuditError:  # no checkpoint, but members all the same
        for part in nested.members:
            if part.nbytes:
                look_into(inner, nested, part, budget - source.looked)
    told, names = imports(inner.globals)
    if names and not any(found.code == "hidden-pickle" for found in inner.problems):
        inner.problem("hidden-pickle", f"{name!r} is a checkpoint in the archive: it {told}", keys=names)
    _take(draft, inner)
    return source.looked + packed


def _too_much(draft: Draft, what: str) -> None:
    """Note what was not looked into; after a few in a row, no more of them."""
    if len(draft.problems) < _TOLD or any(last.code != "limit-reached" for last in draft.problems[-_TOLD:]):
        draft.limit("inflated_bytes", f"{what}, and was not looked into")


def _take(draft: Draft, inner: Draft) -> None:
    draft.globals += inner.globals
    draft.problems += [found for found in inner.problems if found.code in _KEPT]


def _label(archive: Archive, member: Member) -> str:
    """The member's name, behind those of the archives that it lies in."""
    outer = archive.source.path.partition(_MARK)[2].replace(_MARK, "!")
    return f"{outer[:200]}!{member.name[:200]}".lstrip("!")
