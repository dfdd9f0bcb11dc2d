"""torch.save before 1.6: five pickles in a row, then every storage as a count and its bytes."""

from __future__ import annotations

from ckptaudit.model import Checkpoint, Span
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.hidden import looks_like_one
from ckptaudit.readers.pickle.legacy import MAGIC, Legacy, read_legacy
from ckptaudit.readers.pickle.machine import run
from ckptaudit.readers.pickle.memory import Stored
from ckptaudit.readers.pickle.revive import Reviver
from ckptaudit.readers.pickle.stream import PickleStream
from ckptaudit.readers.pickle.tensors import TensorError
from ckptaudit.readers.pickle.weights_only import accepted
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.wording import few

FORMAT = "torch-legacy"


def sniff(probe: Probe) -> bool:
    """A first pickle that is torch's magic number."""
    head = probe.head
    if not (looks_like_one(head) or head[:1] in (b"L", b"\x8a")):
        return False
    return bool(run(head, 0, probe.limits).value == MAGIC)


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
    verdicts = [accepted(each, draft) for each in legacy.pickles]
    draft.weights_only = None if None in verdicts else _loadable(legacy) and all(verdicts)
    return draft.finish()


def _loadable(legacy: Legacy) -> bool:
    # The loader of this format knows no untyped storages, fills storages too late for nested tensors to be
    # made of them, and hands out no classes to the restricted unpickler.
    names = {found.name for found in legacy.pickled.globals}
    return not legacy.classes and not names & {"UntypedStorage", "_rebuild_nested_tensor"}
