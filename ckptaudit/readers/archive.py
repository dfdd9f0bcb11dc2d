"""The directory of a zip archive, and its members as byte ranges.

PKWARE's APPNOTE 6.3.10 is the format; torch reads it with miniz, which trusts the central directory
and takes from a member's local header only how far its data lies behind it. What the local header
says otherwise is noted, since other zip readers, and other loaders, may believe it.
"""

from __future__ import annotations

import re
import zlib
from operator import itemgetter
from struct import Struct

from ckptaudit.errors import LimitError, UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.model import Problem, Span
from ckptaudit.readers.member import Member
from ckptaudit.readers.salvage import scan
from ckptaudit.readers.wording import few
from ckptaudit.source import Source

_END = Struct("<4s4H2LH")
_END64_LOCATOR = Struct("<4sLQL")
_END64 = Struct("<4sQ2H2L4Q")
_CENTRAL = Struct("<4s4x2H4x3L4H2x2L")  # without versions, times and inner attributes
_LOCAL = Struct("<6x2H16x2H").unpack_from  # flags, method, lengths of name and extra field
_MAX_COMMENT = 65_535
_NONE16, _NONE32 = 0xFFFF, 0xFFFFFFFF  # the number stands in the zip64 end
_ENCRYPTED = 1
_ODD_FLAGS = 0xFFFF ^ 0x0808  # all but UTF-8 names, and sizes behind the data
STORED, DEFLATED = 0, 8
_MARKS = re.compile(r"^/|\.\.|[\\:\0]", re.MULTILINE)  # any of these may lead out of the folder
_NAME = itemgetter(Member._fields.index("name"))
_new = tuple.__new__  # makes a named tuple without its Python-level constructor: there are 20,000


class Archive:
    """The central directory of `source`, in its own order; where it is missing, what can be found without.

    `cut_off` says that the file ends before its directory. Raises UnreadableError where there is neither a
    directory nor a whole member.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.problems: list[Problem] = []
        self.cut_off = False
        self.plain = True  # in all that torch looks at, as torch writes archives
        try:
            self.members = self._read_directory(*self._find_directory())
        except UnreadableError as error:
            self.members = scan(source, limits.inflated_bytes)
            if not self.members:
                raise
            self.cut_off = True
            self.problems.append(Problem(error.code, f"{error.where}: {error.reason}", incomplete=True))
        self.names = list(map(_NAME, self.members))
        self.by_name = dict(zip(reversed(self.names), reversed(self.members), strict=True))
        self.clashing = False  # two names differ in case only, or not at all
        self._note_names()
        self.plain = self.plain and not (self.problems or self.clashing)

    def find(self, name: str) -> Member | None:
        """The first member of that name, ASCII case aside: so does torch look members up."""
        if self.clashing:
            return self._folded.get(name.lower())
        return self.by_name.get(name) or self._folded.get(name.lower())

    def span_of(self, member: Member) -> Span | None:
        """Where the member's bytes lie; None, with a problem noted, where the file has no such place."""
        name, listed, marked, _, packed, _, at = member  # at once: a large archive asks for each of 20,000
        source = self.source
        raw = name.encode("utf-8", "surrogateescape")
        header = source.read(at, 30 + len(raw))
        if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
            self.problem("malformed-file", f"no local header for {few([name])} at byte {at}")
            return None
        flags, method, name_size, extra_size = _LOCAL(header)
        start = at + 30 + name_size + extra_size
        if start + packed > source.size:
            self.problem(
                "malformed-file",
                f"{few([name])} would end at byte {start + packed}, the file ends at {source.size}",
                Span(source.path, start, max(0, source.size - start)),
            )
            return None
        if method != listed or (flags ^ marked) & _ENCRYPTED:
            self._disagree(member, f"method {method} and flags {flags:#x}, other")
        elif header[30:] != raw or name_size != len(raw):
            self._disagree(member, "another name")
        return _new(Span, (source.path, start, packed))

    def read(self, member: Member, cap: int) -> bytes:
        """The member's bytes, inflated.

        Raises UnreadableError where they cannot be had; more than `cap` bytes are not read.
        """
        span = self.span_of(member)
        if span is None or member.flags & _ENCRYPTED:
            reason = "its bytes are not in the file" if span is None else "it is encrypted"
            raise UnreadableError(self.source.path, reason, where=member.name)
        if max(member.nbytes, member.packed) > cap:
            raise LimitError(
                self.source.path,
                f"{max(member.nbytes, member.packed):,} bytes, above the limit of {cap:,}",
                where=member.name,
                remedy="raise it with --limit pickle_bytes=N",
            )
        data = self._begin(member, span, member.nbytes)
        if len(data) != member.nbytes:
            raise UnreadableError(
                self.source.path, f"does not inflate to its {member.nbytes:,} bytes", where=member.name
            )
        return data

    def head(self, member: Member, nbytes: int) -> bytes:
        """The first bytes of a member, inflated. Raises UnreadableError where they cannot be had."""
        span = self.span_of(member)
        return b"" if span is None else self._begin(member, span, nbytes)

    def _begin(self, member: Member, span: Span, nbytes: int) -> bytes:
        if member.method == STORED:
            return self.source.read(span.start, min(nbytes, span.nbytes))
        if member.method != DEFLATED:
            raise UnreadableError(
                self.source.path, f"compressed by method {member.method}", where=member.name
            )
        packed = self.source.read(span.start, min(span.nbytes, nbytes + nbytes // 1000 + 4096))
        try:
            return zlib.decompressobj(-15).decompress(packed, nbytes) if nbytes else b""
        except zlib.error as error:
            reason = f"cannot be inflated ({error})"
            raise UnreadableError(self.source.path, reason, where=member.name) from None

    def problem(self, code: str, detail: str, span: Span | None = None) -> None:
        """Note what is wrong with the container."""
        self.problems.append(Problem(code, detail, span))

    def _disagree(self, member: Member, what: str) -> None:
        self.problem(
            "ambiguous-format",
            f"the local header of {few([member.name])} tells {what} than the central directory",
            Span(self.source.path, member.header, 30),
        )

    def _find_directory(self) -> tuple[int, int, int]:
        reach = min(self.source.size, _MAX_COMMENT + _END.size)
        tail = self.source.read(self.source.size - reach, reach)
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < _END.size:
            raise UnreadableError(
                self.source.path,
                f"a zip archive without its end: the {self.source.size:,} bytes are only its first part",
                where="central directory",
                remedy="fetch or save it again",
            )
        position = self.source.size - reach + at
        _, disk, on, here, count, size, start, comment = _END.unpack_from(tail, at)
        self.plain = not disk and not on and here == count
        beyond = len(tail) - at - _END.size - comment
        if beyond > 0:
            self.problem(
                "trailing-bytes",
                f"{beyond:,} bytes after the end of the archive",
                Span(self.source.path, self.source.size - beyond, beyond),
            )
        wide = self._zip64(position)
        if wide is not None:
            # torch goes by the wide end wherever there is one; other readers where the numbers do not fit.
            given = (count, size, start)
            self.plain = self.plain and wide == given
            if any(number not in (told, _NONE16, _NONE32) for number, told in zip(given, wide, strict=True)):
                self.problem(
                    "ambiguous-format", f"its end tells a directory {given}, its zip64 end another: {wide}"
                )
            count, size, start = wide
        elif count == _NONE16 or _NONE32 in (size, start):
            raise UnreadableError(
                self.source.path, "its zip64 end is missing or broken", where="central directory"
            )
        if start + size > position:
            raise UnreadableError(
                self.source.path,
                f"its directory of {size:,} bytes at byte {start} would reach past its end at {position}",
                where="central directory",
            )
        return count, size, start

    def _zip64(self, position: int) -> tuple[int, int, int] | None:
        locator = self.source.read(position - _END64_LOCATOR.size, _END64_LOCATOR.size)
        if len(locator) < _END64_LOCATOR.size or not locator.startswith(b"PK\x06\x07"):
            return None
        _, disk, place, disks = _END64_LOCATOR.unpack(locator)
        record = self.source.read(place, _END64.size)
        if len(record) < _END64.size or not record.startswith(b"PK\x06\x06"):
            self.plain = False
            return None
        _, own, _, _, here, on, entries, *wide = _END64.unpack(record)
        told = (disk, disks, own, here, on, entries)
        self.plain = self.plain and told == (0, 1, _END64.size - 12, 0, 0, wide[0])
        return wide[0], wide[1], wide[2]

    def _read_directory(self, count: int, size: int, start: int) -> list[Member]:
        for limit, cost in (("members", count), ("directory_bytes", size)):
            if cost > getattr(self.limits, limit):
                raise LimitError(
                    self.source.path,
                    f"{cost:,}: the limit {limit}={getattr(self.limits, limit)} was reached",
                    where="central directory",
                    remedy=f"raise it with --limit {limit}=N",
                )
        directory = self.source.read(start, size)
        members: list[Member] = []
        at, unpack, width, marks = 0, _CENTRAL.unpack_from, _CENTRAL.size, 0
        while at + width <= size:
            (sign, flags, method, crc, packed, nbytes, name_size, extra_size, comment_size, disk, attributes,
             header) = unpack(directory, at)  # fmt: skip
            marks |= flags & _ODD_FLAGS | method | disk | attributes
            if sign != b"PK\x01\x02":
                break
            raw = directory[at + width : at + width + name_size]
            name = raw.decode("utf-8", "surrogateescape")
            at += width + name_size
            if 0xFFFFFFFF in (packed, nbytes, header):
                packed, nbytes, header = _wide(directory[at : at + extra_size], nbytes, packed, header)
            at += extra_size + comment_size
            members.append(_new(Member, (name, method, flags, crc, packed, nbytes, header)))
        if at != size or len(members) != count:
            self.problem(
                "malformed-file",
                f"the directory tells {count:,} members in {size:,} bytes, it has {len(members):,} in {at:,}",
                Span(self.source.path, start, size),
            )
        self.plain = self.plain and not marks
        return members

    def _note_names(self) -> None:
        names = self.names
        twofold = [
            name
            for name, method, _, _, packed, nbytes, _ in self.members
            if method == STORED and packed != nbytes
        ]
        if twofold:
            self.problem("malformed-file", f"{few(twofold)} is stored as it is, and has two sizes")
        text = "\n".join(names)
        self.plain = self.plain and text.isascii()
        if text == text.lower():
            self._folded = self.by_name
        else:
            self._folded = {member.name.lower(): member for member in reversed(self.members)}
        if len(self._folded) < len(names):
            self.clashing = True
            seen: set[str] = set()
            clashes = [name for name in names if name.lower() in seen or seen.add(name.lower())]  # type: ignore[func-returns-value]
            self.problem(
                "ambiguous-format",
                f"{few(clashes)} stands in the archive twice, case aside: loaders differ on which one counts",
            )
        unsafe = [name for name in names if _leaves_its_folder(name)] if _MARKS.search(text) else []
        if unsafe:
            self.problem(
                "unsafe-member-name", f"{few(unsafe)} would be written outside the folder when unpacked"
            )


def _leaves_its_folder(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or ":" in parts[0][1:2] or "\0" in name


def _wide(extra: bytes, nbytes: int, packed: int, header: int) -> tuple[int, int, int]:
    """The 64-bit values of a zip64 extra field, for those that do not fit; (packed, nbytes, header)."""
    at = 0
    while at + 4 <= len(extra):
        key, size = (
            int.from_bytes(extra[at : at + 2], "little"),
            int.from_bytes(extra[at + 2 : at + 4], "little"),
        )
        if key == 1:
            field = extra[at + 4 : at + 4 + size]
            values = iter(int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) - 7, 8))
            nbytes = next(values, nbytes) if nbytes == 0xFFFFFFFF else nbytes
            packed = next(values, packed) if packed == 0xFFFFFFFF else packed
            header = next(values, header) if header == 0xFFFFFFFF else header
            break
        at += 4 + size
    return packed, nbytes, header
