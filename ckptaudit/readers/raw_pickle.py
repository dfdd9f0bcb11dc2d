"""A pickle that is no torch file: what pickle.dump wrote, or a data.pkl taken out of its archive."""

from __future__ import annotations

from ckptaudit.model import Checkpoint, Span
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.hidden import imports, looks_like_one
from ckptaudit.readers.pickle.machine import run
from ckptaudit.readers.pickle.memory import Stored
from ckptaudit.readers.pickle.policy import verdict
from ckptaudit.readers.pickle.revive import Reviver
from ckptaudit.readers.pickle.stream import PickleStream
from ckptaudit.readers.pickle.weights_only import refused, settle
from ckptaudit.readers.probe import Probe

FORMAT = "pickle"
_ZIP_END = 65_557  # a zip ends with 22 bytes and a comment of at most 65,535
_MAX_MORE = 200  # further pickles behind the first one


def sniff(probe: Probe) -> bool:
    """A pickle with its protocol in front, or an older one that parses, or that calls what it imports."""
    head = probe.head
    if head[:1] == b"\x80" and len(head) > 1:
        return head[1] <= 5
    pickled = run(head, 0, probe.limits)
    if pickled.fault is None:
        return not head[pickled.end :].strip() or looks_like_one(head[pickled.end :])
    if pickled.fault.truncated and len(head) < probe.source.size:
        return looks_like_one(head) and pickled.end > len(head) // 2
    return any(found.called or verdict(found.module, found.name) == "dangerous" for found in pickled.globals)


def read(probe: Probe) -> Checkpoint:
    """Read the first pickle; name what the ones behind it, which no loader reads, would import."""
    draft = Draft(probe.source, FORMAT, probe.limits)
    stream = PickleStream(draft, probe.source)
    pickled = stream.pickle("pickle")

    elsewhere: list[str] = []

    def locate(key: str, nbytes: int) -> Span | None:
        elsewhere.append(key)
        return None

    memory = Stored(draft, locate)
    reviver = Reviver(draft, memory)
    reviver.walk(pickled.value)
    reviver.roots.settle()
    memory.check_bounds()
    if elsewhere:
        draft.problem(
            "missing-record",
            f"the pickle refers to {len(elsewhere)} storages outside it: it was taken out of its archive",
            incomplete=True,
        )
    if pickled.fault is None:
        _look_behind(draft, stream)
    settle(draft, refused("torch.load wants its own magic number in a pickle before this one"))
    return draft.finish()


def _look_behind(draft: Draft, stream: PickleStream) -> None:
    first, more, named = stream.position, 0, len(draft.globals)
    while stream.left > 0 and more < _MAX_MORE:
        start, left = stream.position, stream.left
        head = stream.raw(2)
        stream.position = start
        if b"PK\x05\x06" in draft.source.read(max(start, draft.source.size - _ZIP_END), _ZIP_END):
            draft.problem(
                "ambiguous-format",
                "a pickle to torch.load and pickle, a zip archive to readers that look at the end of a file",
                draft.span(start, left),
            )
            break
        if not looks_like_one(head):
            draft.problem("trailing-bytes", f"{left:,} bytes after the pickle", draft.span(start, left))
            break
        more += 1
        if stream.pickle("a pickle behind the first").fault is not None:
            break
    if more:
        told = f"{more:,}" if more < _MAX_MORE else f"{more:,} or more"
        which, names = imports(draft.globals[named:])
        place = draft.span(first, stream.position - first)
        draft.problem(
            "hidden-pickle", f"further pickles behind the first: {told}, which {which}", place, keys=names
        )
