"""The records of a torch archive: its members as PyTorchStreamReader looks them up.

The root folder is that of the first member; records are found below it without regard to ASCII case, and
their checksums are never looked at (caffe2/serialize/inline_container.cc).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ckptaudit.errors import CkptAuditError, UnreadableError
from ckptaudit.model import Span
from ckptaudit.readers.archive import STORED, Archive
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.member import Member
from ckptaudit.readers.pickle import hidden, note
from ckptaudit.readers.pickle.machine import Pickled, run
from ckptaudit.readers.pickle.symbols import Persistent
from ckptaudit.readers.pickle.tensors import TensorError
from ckptaudit.readers.wording import few

_SETTINGS = (
    "version",
    ".data/version",
    "byteorder",
    ".format_version",
    ".storage_alignment",
    ".data/serialization_id",
)
_VERSIONS = tuple(map(str, range(1, 11)))
_SMALL = 4096  # no honest version, byte order or serialization id is longer


class Records:
    """The members below the root folder of an archive; `used` are the names of those that were asked for."""

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

    def begins_with(self, name: str, start: bytes) -> bool:
        """Whether the record `name` is there, in plain, and begins so."""
        member = self.find(name)
        span = self.archive.span_of(member) if member is not None else None
        return span is not None and self.archive.source.read(span.start, len(start)) == start

    def pickle(self, draft: Draft, name: str, persistent: Callable[[object], object] = Persistent) -> Pickled:
        """Interpret the record `name`, and note in `draft` what it imports and what is wrong with it.

        Raises UnreadableError where the record cannot be had.
        """
        member = self.find(name)
        if member is None:
            raise UnreadableError(draft.source.path, "no such record", where=name)
        data = self.archive.read(member, draft.limits.pickle_bytes)
        base = self.plain_span(member)
        pickled = run(data, 0, draft.limits, persistent)
        if self.archive.cut_off and pickled.fault is not None and pickled.fault.truncated:
            pickled = replace(pickled, fault=None)  # the archive says that the file ends too early
        note(draft, pickled, base=base, label=name)
        left = len(data) - pickled.end
        if pickled.fault is None and left and not self.archive.cut_off:
            rest = Span(base.file, base.start + pickled.end, left) if base else None
            draft.problem("trailing-bytes", f"{left:,} bytes after the end of {name}", rest)
        return pickled

    def plain_span(self, member: Member) -> Span | None:
        """Where the member lies as it is; None for one that is compressed, or whose place is wrong."""
        return self.archive.span_of(member) if member.method == STORED else None

    def locator(self, draft: Draft, folder: str) -> Callable[[str, int], Span | None]:
        """A function from the key of a storage, and its bytes, to where its record of `folder` lies.

        It gives None where the record is compressed or was cut off, raises TensorError where there is none,
        and notes one of another size.
        """
        archive, by_name, used, prefix = self.archive, self.archive.by_name, self.used, self.root + folder
        clashing = archive.clashing

        def locate(key: str, nbytes: int) -> Span | None:
            name = prefix + key
            member = (not clashing and by_name.get(name)) or archive.find(name)
            if member is None and not archive.cut_off:
                raise TensorError(f"no record {few([folder + key])}")
            if member is None or (archive.cut_off and member.nbytes != nbytes):
                return None
            found, method, _, _, _, found_nbytes, _ = member
            used.add(found)
            span = archive.span_of(member)
            if found_nbytes != nbytes:
                draft.problem(
                    "storage-size-mismatch",
                    f"record {few([folder + key])} should have {nbytes:,} bytes and has {found_nbytes:,}",
                    span,
                )
            return span if method == STORED else None

        return locate

    def read_settings(self, draft: Draft) -> None:
        """Take the version, byte order and other small records into the metadata."""
        for name in _SETTINGS:
            member = self.find(name)
            if member is None:
                continue
            try:
                draft.metadata[name] = self.archive.read(member, _SMALL).decode("utf-8", "replace").strip()
            except CkptAuditError as error:
                draft.problem("malformed-file", f"{name}: {error.reason}")
        version = draft.metadata.get(".data/version") or draft.metadata.get("version")
        if version is None and not self.archive.cut_off:
            draft.problem("missing-record", "no record 'version': torch refuses the archive")
        order = draft.metadata.get("byteorder", "little")
        if order not in ("little", "big"):
            draft.problem("malformed-file", f"byte order {order[:20]!r}: torch knows little and big")
        if version is not None and version not in _VERSIONS:
            draft.problem("malformed-file", f"format version {version[:20]!r}: torch reads 1 to 10")

    def settings_are_plain(self, draft: Draft) -> bool:
        """Whether torch takes each small record for what the metadata tells, to the last byte."""
        for name in _SETTINGS:
            text, member = draft.metadata.get(name, ""), self.find(name)
            sizes = (len(text), len(text) + name.endswith("version"))  # a version ends its line
            if member is not None and (not text.isascii() or member.nbytes not in sizes):
                return False
        return draft.metadata.get(".storage_alignment", "64").isdigit()

    def check_root(self, draft: Draft) -> None:
        """Note members outside the root folder, for which torch.load refuses an archive."""
        strays = [name for name in self.archive.names if not name.startswith(self.root)]
        if strays:
            draft.problem(
                "malformed-file",
                f"{few(strays)} lies outside the folder {self.root!r}: torch refuses the archive",
            )

    def report(self, draft: Draft) -> None:
        """Hand over what is wrong with the container, and look into members that nothing refers to."""
        budget = draft.limits.inflated_bytes
        for name, member in zip(self.archive.names, self.archive.members, strict=True):
            if member.nbytes and (name not in self.used or self.archive.find(name) is not member):
                budget -= hidden.look_into(draft, self.archive, member, budget)
        draft.problems += self.archive.problems
