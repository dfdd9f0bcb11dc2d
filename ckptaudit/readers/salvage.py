"""Members of a zip whose end is missing: what its local headers still tell, from the front.

torch writes the sizes of a member behind its data (APPNOTE 4.3.9, a data descriptor), so that the end of
a member is found by the descriptor whose size agrees with its distance.
"""

from __future__ import annotations

from struct import Struct

from ckptaudit.readers.member import Member
from ckptaudit.source import Source

_LOCAL = Struct("<4s5H3L2H").unpack
_HAS_DESCRIPTOR = 8
_DESCRIPTOR = b"PK\x07\x08"
_CHUNK = 2**20


def scan(source: Source, budget: int) -> list[Member]:
    """The members at the front of `source`; the one that is cut off counts with what there is of it.

    At most `budget` bytes are looked through for ends.
    """
    found: list[Member] = []
    at = 0
    while len(header := source.read(at, 30)) == 30 and header.startswith(b"PK\x03\x04"):
        _, _, flags, method, _, _, crc, packed, nbytes, name_size, extra_size = _LOCAL(header)
        name = source.read(at + 30, name_size).decode("utf-8", "surrogateescape")
        start = at + 30 + name_size + extra_size
        after = start + packed
        if flags & _HAS_DESCRIPTOR and not packed:
            end = _find_end(source, start, budget)
            if end is None:
                left = min(source.size - start, budget)
                found += [Member(name, method, flags, crc, left, left, at)] if left > 0 else []
                break
            packed = end - start
            budget -= packed
            crc, nbytes, after = _descriptor(source, end, packed)
        if after > source.size:
            break
        found.append(Member(name, method, flags, crc, packed, nbytes, at))
        at = after
    return found


def _find_end(source: Source, start: int, budget: int) -> int | None:
    at, rest = start, b""
    while at - start < budget and (chunk := source.read(at, _CHUNK)):
        block = rest + chunk
        base = at - len(rest)
        place = block.find(_DESCRIPTOR)
        while place >= 0:
            size = int.from_bytes(source.read(base + place + 8, 4), "little")
            if size == base + place - start:
                return base + place
            place = block.find(_DESCRIPTOR, place + 1)
        at += len(chunk)
        rest = block[-3:]
    return None


def _descriptor(source: Source, end: int, packed: int) -> tuple[int, int, int]:
    """Checksum, size once inflated, and the position behind the descriptor, of 32 or 64 bits a size."""
    raw = source.read(end, 24)
    wide = int.from_bytes(raw[8:16], "little") == packed and raw[16:20] != b"PK\x03\x04"
    nbytes = int.from_bytes(raw[16:24] if wide else raw[12:16], "little")
    return int.from_bytes(raw[4:8], "little"), nbytes, end + (24 if wide else 16)
