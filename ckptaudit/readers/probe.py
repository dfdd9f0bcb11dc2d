"""A first look at a file: its head, its end and, where it is a zip, its directory."""

from __future__ import annotations

from functools import cached_property

from ckptaudit.limits import Limits
from ckptaudit.readers.archive import Archive
from ckptaudit.source import Source

HEAD_BYTES = 4096


class Probe:
    """What `sniff` and `read` of every reader are given. Looks are made once and kept."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.head = source.read(0, HEAD_BYTES)

    @cached_property
    def archive(self) -> Archive | None:
        """The zip directory of a file that begins as a zip does; None for any other file.

        torch decides so too: a zip that begins with something else is not a zip to torch.load.
        """
        return Archive(self.source, self.limits) if self.head.startswith(b"PK\x03\x04") else None
