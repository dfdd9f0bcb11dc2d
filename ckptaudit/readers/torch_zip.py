"""torch.save since 1.6: a zip of `<root>/data.pkl`, `<root>/data/<storage key>` and a few small records.

What torch.load does with such a file stands in torch/serialization.py (`_load`) and, for the container,
in caffe2/serialize/inline_container.cc: the root folder is that of the first member, records are found
without regard to ASCII case, and checksums are never looked at.
"""

from __future__ import annotations

from dataclasses import replace

from ckptaudit.errors import CkptAuditError, UnreadableError
from ckptaudit.model import Checkpoint, Path, Span
from ckptaudit.readers.archive import STORED, Archive
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.member import Member
from ckptaudit.readers.pickle import hidden, note
from ckptaudit.readers.pickle.machine import Pickled, run
from ckptaudit.readers.pickle.memory import Stored
from ckptaudit.readers.pickle.revive import Reviver
from ckptaudit.readers.pickle.tensors import TensorError
from ckptaudit.readers.pickle.weights_only import accepted
from ckptaudit.readers.probe import Probe

FORMAT = "torch-zip"
_SETTINGS = (
    "version",
    ".data/version",
    "byteorder",
    ".format_version",
    ".storage_alignment",
    ".data/serialization_id",
)
_SMALL = 4096  # no honest version, byte order or serialization id is longer


def sniff(probe: Probe) -> bool:
    """A zip with a `data.pkl` below its root folder; with a `constants.pkl` too it is TorchScript."""
    if probe.archive is None:
        return False
    records = Records(probe.archive)
    return records.find("data.pkl") is not None and records.find("constants.pkl") is None


def read(probe: Probe) -> Checkpoint:
    """Read the pickle, and where the storages lie; never the storages themselves."""
    archive = probe.archive
    if archive is None:
        raise UnreadableError(probe.source.path, "not a zip archive")
    draft = Draft(probe.source, FORMAT, probe.limits)
    records = Records(archive)
    pickled = read_record(draft, records, "data.pkl", "data/")
    _read_settings(draft, records)
    records.report(draft)
    draft.weights_only = accepted(pickled, draft)
    return draft.finish()


class Records:
    """The members of an archive as torch looks them up: below the folder of the first one."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        first = archive.members[0].name if archive.members else ""
        self.root = first.partition("/")[0] + "/"
        self.used: set[str] = set()

    def find(self, name: str) -> Member | None:
        """The record `name`, if the archive has it."""
        member = self.archive.find(self.root + name)
        if member is not None:
            self.used.add(member.name)
        return member

    def report(self, draft: Draft) -> None:
        """Hand over what is wrong with the container, and look into members that nothing refers to."""
        for member in self.archive.members:
            if member.name not in self.used and member.nbytes:
                hidden.look_into(draft, self.archive, member)
        draft.problems += self.archive.problems


def read_record(draft: Draft, records: Records, name: str, folder: str, path: Path = ()) -> Pickled:
    """Read the pickle `name`, whose storages are the records of `folder`; what it holds hangs at `path`.

    Raises UnreadableError where the record cannot be had.
    """
    member = records.find(name)
    if member is None:
        raise UnreadableError(draft.source.path, "no such record", where=name)
    data = records.archive.read(member, draft.limits.pickle_bytes)
    base = records.archive.span_of(member) if member.method == STORED else None
    pickled = run(data, 0, draft.limits)
    if records.archive.cut_off and pickled.fault is not None and pickled.fault.truncated:
        pickled = replace(pickled, fault=None)  # the archive says that the file ends too early
    note(draft, pickled, base=base, label=name)

    def locate(key: str, nbytes: int) -> Span | None:
        record = records.find(folder + key)
        if record is None and records.archive.cut_off:
            return None
        if record is None:
            raise TensorError(f"no record {folder + key!r} for storage {key!r}")
        span = records.archive.span_of(record)
        if record.nbytes != nbytes and records.archive.cut_off:
            return None
        if record.nbytes != nbytes:
            draft.problem(
                "storage-size-mismatch",
                f"storage {key!r} should have {nbytes:,} bytes, its record has {record.nbytes:,}",
                span,
            )
        return span if record.method == STORED else None

    memory = Stored(draft, locate)
    reviver = Reviver(draft, memory)
    reviver.walk(pickled.value, path)
    reviver.roots.settle()
    memory.check_bounds()
    if pickled.fault is None and pickled.end < len(data) and not records.archive.cut_off:
        rest = Span(draft.source.path, base.start + pickled.end, len(data) - pickled.end) if base else None
        draft.problem("trailing-bytes", f"{len(data) - pickled.end:,} bytes after the end of {name}", rest)
    return pickled


def _read_settings(draft: Draft, records: Records) -> None:
    for name in _SETTINGS:
        member = records.find(name)
        if member is None:
            continue
        try:
            draft.metadata[name] = records.archive.read(member, _SMALL).decode("utf-8", "replace").strip()
        except CkptAuditError as error:
            draft.problem("malformed-file", f"{name}: {error.reason}")
    if not {"version", ".data/version"} & set(draft.metadata) and not records.archive.cut_off:
        draft.problem("missing-record", "no record 'version': torch refuses the archive")
