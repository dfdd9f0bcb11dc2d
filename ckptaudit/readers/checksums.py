"""The checksums of zip members against their bytes: the one reading that looks at every byte of a file.

torch saves a CRC-32 for each member, or 0 for all where `torch.serialization.set_crc32_options(False)` was
called, and for the storages that `torch.serialization.skip_data` leaves to be filled in later. Loading never
looks at them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint, Span
from ckptaudit.readers.archive import DEFLATED, STORED, Archive
from ckptaudit.readers.member import Member
from ckptaudit.source import LocalFile

_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Checksums:
    """How many members were compared, which differ, and how many were saved without a checksum."""

    checked: int
    wrong: tuple[str, ...]
    unmade: int


def compare(checkpoint: Checkpoint, limits: Limits) -> Checksums | None:
    """Compare every member of the archives that make up a checkpoint; None where none of them is an archive.

    Raises AccessError where a file has gone.
    """
    checked = unmade = 0
    wrong: list[str] = []
    archives = 0
    for path in dict.fromkeys(span.file for span in checkpoint.files):
        with LocalFile(path) as file:
            if not file.read(0, 4).startswith(b"PK\x03\x04"):
                continue
            archives += 1
            archive = Archive(file, limits)
            for member in () if archive.cut_off else archive.members:
                found = _checksum(archive, member)
                checked += found is not None
                if found not in (None, member.crc) and member.crc == 0:
                    unmade += 1
                elif found not in (None, member.crc):
                    wrong.append(member.name)
    return Checksums(checked, tuple(wrong), unmade) if archives else None


def _checksum(archive: Archive, member: Member) -> int | None:
    """The CRC-32 of its bytes, -1 where they cannot be inflated; None where they cannot be had.

    That they cannot be had is a problem of its own.
    """
    span = archive.span_of(member)
    if span is None or member.method not in (STORED, DEFLATED):
        return None
    crc = nbytes = 0
    try:
        for chunk in _chunks(archive, member, span):
            crc = zlib.crc32(chunk, crc)
            nbytes += len(chunk)
            if nbytes > member.nbytes:  # a bomb need not be seen to its end
                return -1
    except zlib.error:
        return -1
    return crc


def _chunks(archive: Archive, member: Member, span: Span) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-15) if member.method == DEFLATED else None
    at, end = span.start, span.start + span.nbytes
    while at < end:
        chunk = archive.source.read(at, min(_CHUNK, end - at))
        if not chunk:
            return
        at += len(chunk)
        if inflate is None:
            yield chunk
            continue
        yield inflate.decompress(chunk, _CHUNK)
        while inflate.unconsumed_tail:
            yield inflate.decompress(inflate.unconsumed_tail, _CHUNK)
