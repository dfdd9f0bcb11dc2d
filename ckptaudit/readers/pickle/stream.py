"""Pickles in a row inside a larger file: nothing tells where each ends but its own STOP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ckptaudit.model import Span
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle import note
from ckptaudit.readers.pickle.machine import Pickled, run
from ckptaudit.readers.pickle.symbols import Persistent, PickleError
from ckptaudit.source import Source

_FIRST_WINDOW = 65_536
_GROWTH = 8


class PickleStream:
    """Reads pickles, and raw bytes between them, one after the other from `source`.

    A window of the source is read and grown only while a pickle runs past its end, so that gigabytes
    of tensors behind a pickle cost nothing.
    """

    def __init__(self, draft: Draft, source: Source, offset: int = 0) -> None:
        self.position = 0
        self._draft = draft
        self._source = source
        self.start = offset  # of the source in the file, for spans
        self._window = b""
        self._window_start = 0

    def pickle(self, label: str, persistent: Callable[[object], object] = Persistent) -> Pickled:
        """Interpret the pickle at the position, note what it holds, and move past it."""
        nbytes = _FIRST_WINDOW
        while True:
            self._fill(nbytes)
            pickled = run(self._window, self.position - self._window_start, self._draft.limits, persistent)
            whole = self._window_start + len(self._window) >= self._source.size
            if pickled.fault is None or not pickled.fault.truncated or whole:
                break
            if nbytes >= self._draft.limits.pickle_bytes:
                pickled = _too_long(pickled, self._draft.limits.pickle_bytes)
                break
            nbytes = min(nbytes * _GROWTH, self._draft.limits.pickle_bytes)
        start = self.start + self._window_start
        note(self._draft, pickled, base=self._draft.span(start, len(self._window)), label=label)
        self.position = self._window_start + pickled.end
        return pickled

    def raw(self, nbytes: int) -> bytes:
        """The next `nbytes` bytes, fewer at the end of the source; moves past them."""
        taken = self._source.read(self.position, nbytes)
        self.position += len(taken)
        return taken

    def skip(self, nbytes: int) -> Span:
        """Move past `nbytes` bytes; where they lie in the file."""
        span = self._draft.span(self.start + self.position, nbytes)
        self.position += nbytes
        return span

    @property
    def left(self) -> int:
        """Bytes from the position to the end of the source; negative where it was passed."""
        return self._source.size - self.position

    def _fill(self, nbytes: int) -> None:
        start = self.position - self._window_start
        if not 0 <= start <= len(self._window) - nbytes:
            self._window = self._source.read(self.position, nbytes)
            self._window_start = self.position


def _too_long(pickled: Pickled, cap: int) -> Pickled:
    return replace(pickled, fault=PickleError(f"it goes on after {cap:,} bytes", limit="pickle_bytes"))
