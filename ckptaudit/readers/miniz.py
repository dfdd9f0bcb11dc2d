"""An archive as torch opens it: what its zip reader refuses, and how large it finds a record to be.

Source: `mz_zip_reader_init` and `mz_zip_reader_extract_to_mem` of torch's third_party/miniz, with checksums
off, and `PyTorchStreamReader` of caffe2/serialize/inline_container.cc, of torch 2.13.
"""

from __future__ import annotations

import re
import zlib
from struct import Struct
from typing import NamedTuple

from ckptaudit.source import Source

_END = Struct("<4s4H2LH")
_LOCATOR = Struct("<4sLQL")
_END64 = Struct("<4sQ2H2L4Q")
_CENTRAL = Struct("<4s4x2H4x4x2L4H2xLL")  # without versions, times, checksum and inner attributes
_LOCAL = Struct("<4s22x2H")
_MAX_COMMENT = 65_535
_UNKNOWN = 0xFFFFFFFF
_MASKED, _ENCRYPTED = 0x2000, 0x61
_DIRECTORY = 0x10
_LONGEST_NAME = 511
_VERSION = re.compile(rb"[ \t\n\v\f\r]*\+?([0-9]+)")
_VERSIONS = range(1, 11)
_ORDERS = (b"little", b"big")
_INTEGER = re.compile(rb"\s*[+-]?[0-9]+(_[0-9]+)*\s*")


class ArchiveError(Exception):
    """torch cannot open the archive, or one of its records."""


class Entry(NamedTuple):
    """A member as the directory tells it."""

    name: bytes
    flags: int
    method: int
    packed: int
    nbytes: int
    header: int
    attributes: int


class TorchArchive:
    """The archive in `source`, opened as torch.load opens it. Raises ArchiveError where torch refuses it.

    `most` is the size of the largest record that is inflated to see whether it can be.
    """

    def __init__(self, source: Source, most: int) -> None:
        self._source = source
        self._most = most
        self._entries = _entries(source)
        if not self._entries:
            raise ArchiveError("an archive without members")
        root, slash, _ = self._entries[0].name.partition(b"/")
        if not slash:
            raise ArchiveError("its first member lies in no folder")
        self._root = root + b"/"
        self._places: dict[bytes, Entry] = {}
        for entry in self._entries:
            self._places.setdefault(entry.name.lower(), entry)

    def check(self) -> None:
        """Refuse what torch refuses before it looks at the pickle."""
        version = self.read(b".data/version" if self.has(b".data/version") else b"version")
        found = _VERSION.match(version)
        if found is None or int(found[1][:20]) not in _VERSIONS:
            raise ArchiveError("a format version that torch does not read")
        if self.has(b".data/serialization_id"):
            self._check_id(self._entry(b".data/serialization_id"))
        if self.has(b".format_version"):
            self.read(b".format_version")
        for entry in self._entries:
            name = entry.name[:_LONGEST_NAME].partition(b"\0")[0]
            if not name.startswith(self._root):
                raise ArchiveError("a member outside the folder of the first")
            if _utf8(name[len(self._root) :]) == "constants.pkl":
                raise ArchiveError("a TorchScript archive, which weights_only=True refuses")
        if self.has(b"byteorder") and self.read(b"byteorder") not in _ORDERS:
            raise ArchiveError("a byte order that torch does not know")
        if self.has(b".storage_alignment") and not _INTEGER.fullmatch(self.read(b".storage_alignment")):
            raise ArchiveError("a storage alignment that is no number")

    def _check_id(self, entry: Entry) -> None:
        if self._start(entry) is None and entry.nbytes:
            raise ArchiveError("an id whose bytes torch does not read, and takes from anywhere")
        _utf8(self.read(b".data/serialization_id"))

    def has(self, record: bytes) -> bool:
        """Whether there is such a record."""
        return self._find(record) is not None

    def read(self, record: bytes) -> bytes:
        """The bytes of a record."""
        entry = self._entry(record)
        start = self._start(entry)
        if start is None:
            return bytes(entry.nbytes)
        packed = self._source.read(start, entry.packed)
        return packed if entry.method == 0 else _inflated(packed, entry.nbytes)

    def size_of(self, record: bytes) -> int:
        """The bytes that a record has, once it is seen that they can be had."""
        entry = self._entry(record)
        if self._start(entry) is not None and entry.method and entry.packed + entry.nbytes <= self._most:
            self.read(record)
        return entry.nbytes

    def _find(self, record: bytes) -> Entry | None:
        return self._places.get((self._root + record.partition(b"\0")[0]).lower())

    def _entry(self, record: bytes) -> Entry:
        entry = self._find(record)
        if entry is None:
            raise ArchiveError(f"no record {record.decode('utf-8', 'replace')[:80]!r}")
        return entry

    def _start(self, entry: Entry) -> int | None:
        """Where the bytes of a member begin; None where torch does not look for any."""
        if not entry.packed or entry.name.endswith(b"/") or entry.attributes & _DIRECTORY:
            return None
        if entry.flags & _ENCRYPTED or entry.method not in (0, 8):
            raise ArchiveError("a record that is encrypted, or compressed in another way than torch knows")
        header = self._source.read(entry.header, _LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
            raise ArchiveError("a record without its local header")
        _, name_size, extra_size = _LOCAL.unpack(header)
        start = entry.header + _LOCAL.size + name_size + extra_size
        if start + entry.packed > self._source.size or (not entry.method and entry.nbytes > entry.packed):
            raise ArchiveError("a record that would end behind the end of the file")
        return int(start)


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError("a name or an id that is not UTF-8") from None


def _inflated(packed: bytes, nbytes: int) -> bytes:
    # What cannot be inflated is no error to torch: it leaves the rest of the memory as it finds it.
    squeezed = zlib.decompressobj(-15)
    try:
        data = squeezed.decompress(packed, nbytes + 1)
    except zlib.error:
        return bytes(nbytes)
    if squeezed.eof and len(data) != nbytes:
        raise ArchiveError("a record that does not inflate to its size")
    return data[:nbytes].ljust(nbytes, b"\0")


def _entries(source: Source) -> list[Entry]:
    count, size, start, disk = _directory(source)
    directory = source.read(start, size)
    found: list[Entry] = []
    at = 0
    for _ in range(count):
        raw = directory[at : at + _CENTRAL.size]
        if len(raw) < _CENTRAL.size or not raw.startswith(b"PK\x01\x02"):
            raise ArchiveError("a broken directory")
        (_, flags, method, packed, nbytes, name_size, extra_size, comment_size, on, attributes,
         header) = _CENTRAL.unpack(raw)  # fmt: skip
        at += _CENTRAL.size
        name, extra = directory[at : at + name_size], directory[at + name_size : at + name_size + extra_size]
        at += name_size + extra_size + comment_size
        if at > len(directory) or flags & _MASKED or on == 0xFFFF or on not in (disk, 1):
            raise ArchiveError("a broken directory")
        twofold = (not method and nbytes != packed) or (nbytes and not packed)
        if _UNKNOWN not in (packed, nbytes) and twofold:
            raise ArchiveError("a member with two sizes")
        if packed != _UNKNOWN and header + 30 + packed > source.size:
            raise ArchiveError("a member that would end behind the end of the file")
        if _UNKNOWN in (packed, nbytes, header):
            packed, nbytes, header = _wide(extra, packed, nbytes, header)
        found.append(Entry(name, flags, method, packed, nbytes, header, attributes))
    return found


def _directory(source: Source) -> tuple[int, int, int, int]:
    """How many members the directory has, its size, its place, and the number of this disk."""
    reach = min(source.size, _MAX_COMMENT + _END.size)
    tail = source.read(source.size - reach, reach)
    at = tail.rfind(b"PK\x05\x06", 0, len(tail) - _END.size + 4)
    if at < 0:
        raise ArchiveError("an archive without its end")
    position = source.size - reach + at
    _, disk, on, here, count, size, start, _ = _END.unpack_from(tail, at)
    wide = _end64(source, position)
    if wide is not None:
        disk, on, here, count, size, start = wide
    if count != here or ((disk or on) and (disk, on) != (1, 1)):
        raise ArchiveError("an archive in several parts")
    if size < count * _CENTRAL.size or start + size > source.size:
        raise ArchiveError("a broken directory")
    return count, size, start, disk


def _end64(source: Source, position: int) -> tuple[int, int, int, int, int, int] | None:
    locator = source.read(position - _LOCATOR.size, _LOCATOR.size) if position >= 76 else b""
    if not locator.startswith(b"PK\x06\x07"):
        return None
    _, _, place, disks = _LOCATOR.unpack(locator)
    if place > source.size - _END64.size:
        raise ArchiveError("an archive without its end")
    record = source.read(place, _END64.size)
    if not record.startswith(b"PK\x06\x06"):
        return None
    _, own, _, _, disk, on, here, count, size, start = _END64.unpack(record)
    if own < _END64.size - 12 or disks != 1 or max(count, here, size) >= _UNKNOWN:
        raise ArchiveError("a broken directory")
    return disk, on, here, count, size, start


def _wide(extra: bytes, packed: int, nbytes: int, header: int) -> tuple[int, int, int]:
    """The 64-bit values of a zip64 extra field, for those that do not fit."""
    at = 0
    while at + 4 <= len(extra):
        key, size = (
            int.from_bytes(extra[at : at + 2], "little"),
            int.from_bytes(extra[at + 2 : at + 4], "little"),
        )
        field = extra[at + 4 : at + 4 + size]
        at += 4 + size
        if key != 1:
            continue
        values = [int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) - 7, 8)]
        found = []
        for value in (nbytes, packed, header):
            if value == _UNKNOWN and not values:
                raise ArchiveError("a broken directory")
            found.append(values.pop(0) if value == _UNKNOWN else value)
        return found[1], found[0], found[2]
    return packed, nbytes, header
