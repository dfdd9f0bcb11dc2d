"""torch.save before 1.6: five pickles in a row, then every storage as a count and its bytes."""

from __future__ import annotations

from ckptaudit.model import Checkpoint, Span
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.hidden import looks_like_one
from ckptaudit.readers.pickle.legacy import MAGIC, Legacy, read_legacy
from ckptaudit.readers.pickle.machine import run
from ckptaudit.readers.pickle.memory import Stored
from ckptaudit.readers.pickle.restricted.legacy import is_legacy
from ckptaudit.readers.pickle.revive import Reviver
from ckptaudit.readers.pickle.stream import PickleStream
from ckptaudit.readers.pickle.tensors import TensorError
from ckptaudit.readers.pickle.weights_only import judge_legacy, plain_verdict, settle
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.wording import few

FORMAT = "torch-legacy"
_MAGIC_BYTES = MAGIC.to_bytes(10, "little")


def sniff(probe: Probe) -> bool:
    """A first pickle that is torch's magic number."""
    head = probe.head
    if (looks_like_one(head) or head[:1] in (b"L", b"\x8a")) and run(head, 0, probe.limits).value == MAGIC:
        return True
    # torch's restricted unpickler takes any protocol, and any opcodes of its own before the number.
    return _MAGIC_BYTES in head and is_legacy(probe.source, probe.limits)


def read(probe: Probe) -> Checkpoint:
    """Read the pickles, and where each storage lies; never the storages themselves."""
    draft = Draft(probe.source, FORMAT, probe.limits)
    stream = PickleStream(draft, probe.source)
    legacy = read_legacy(draft, stream)
    whole = not draft.problems

    def locate(key: str, nbytes: int) -> Span | None:
        if key not in legacy.places and whole:
            raise TensorError(f"storage {few([key])} is not in the list of storages")
        return legacy.places.get(key)

    memory = Stored(draft, locate)
    reviver = Reviver(draft, memory)
    reviver.walk(legacy.pickled.value)
    reviver.roots.settle()
    memory.check_bounds()
    if whole and stream.left > 0:
        left = stream.left
        draft.problem("trailing-bytes", f"{left:,} bytes after the last storage", stream.skip(left))
    verdict = plain_verdict(draft, legacy.pickled, memory, 6) if _is_plain(legacy) else None
    settle(draft, verdict or judge_legacy(draft, probe.source, legacy.pickles))
    return draft.finish()


def _is_plain(legacy: Legacy) -> bool:
    *others, keys = legacy.pickles
    if any(each.globals or each.uses or each.rare or each.oddities for each in (*others[:3], keys)):
        return False
    listed = type(keys.value) is list and all(type(key) is str for key in keys.value)
    untyped = any(found.name == "UntypedStorage" for found in legacy.pickled.globals)
    return listed and not untyped and not legacy.classes
