"""torch.save since 1.6: a zip of `<root>/data.pkl`, `<root>/data/<storage key>` and a few small records.

What torch.load makes of them stands in torch/serialization.py, `_load`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ckptaudit.errors import UnreadableError
from ckptaudit.model import Checkpoint
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.memory import Stored
from ckptaudit.readers.pickle.revive import Reviver
from ckptaudit.readers.pickle.symbols import Persistent, PickleError
from ckptaudit.readers.pickle.weights_only import judge_zip, plain_verdict, settle
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.records import Records

FORMAT = "torch-zip"
SCRIPT_START = b"\x80\x02c__torch__"  # how the data.pkl of TorchScript begins


def sniff(probe: Probe) -> bool:
    """A zip with a `data.pkl` below its root folder; with a `constants.pkl` too it is TorchScript."""
    if probe.archive is None:
        return False
    records = Records(probe.archive)
    if records.find("data.pkl") is None or records.find("constants.pkl") is not None:
        return False
    return not (probe.archive.cut_off and records.begins_with("data.pkl", SCRIPT_START))


def read(probe: Probe) -> Checkpoint:
    """Read the pickle, and where the storages lie; never the storages themselves."""
    if probe.archive is None:
        raise UnreadableError(probe.source.path, "not a zip archive")
    draft = Draft(probe.source, FORMAT, probe.limits)
    records = Records(probe.archive)
    named: set[str] = set()
    pickled = records.pickle(draft, "data.pkl", partial(_storage, named))
    memory = Stored(draft, records.locator(draft, "data/"))
    reviver = Reviver(draft, memory)
    reviver.walk(pickled.value)
    reviver.roots.settle()
    memory.check_bounds()
    records.read_settings(draft)
    records.check_root(draft)
    if pickled.fault is not None and pickled.fault.limit:
        # Where reading stopped, the rest of the pickle may name any of the storages.
        named |= {
            name.rpartition("/")[2] for name in probe.archive.names if name.startswith(f"{records.root}data/")
        }
    if len(records.used) < len(probe.archive.members):
        # A storage that no tensor views is one all the same, and its bytes are no pickle.
        for key in named:
            records.find(f"data/{key}")
    records.report(draft)
    plain = probe.archive.plain and records.settings_are_plain(draft)
    verdict = plain_verdict(draft, pickled, memory, 5) if plain else None
    settle(draft, verdict or judge_zip(draft, probe.source, pickled))
    return draft.finish()


def _storage(named: set[str], pid: Any) -> Persistent:
    # torch.load stops at any other persistent id.
    if type(pid) is tuple and pid and pid[0] in ("storage", b"storage"):
        if len(pid) > 2 and type(pid[2]) is str:
            named.add(pid[2])
        return Persistent(pid)
    raise PickleError("a persistent id that names no storage")
