"""One entry of a zip archive."""

from __future__ import annotations

from typing import NamedTuple


class Member(NamedTuple):
    """A member as its directory tells it; `nbytes` once inflated, `packed` as it lies in the file."""

    name: str
    method: int
    flags: int
    crc: int
    packed: int
    nbytes: int
    header: int  # position of its local header
