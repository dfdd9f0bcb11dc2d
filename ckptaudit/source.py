"""Where bytes come from: anything of a known size that hands out byte ranges.

Ranges are read with `pread`, not through mmap: a mapped page counts as our memory, each touch of a
sparse file maps 64 KiB around it, and a file that is truncated while it is being read kills a
process that has mapped it.
"""

from __future__ import annotations

import os
import stat
from types import TracebackType
from typing import Protocol

from ckptaudit.errors import AccessError


class Source(Protocol):
    """A named run of bytes."""

    @property
    def path(self) -> str:
        """The name to show to a person."""
        ...

    @property
    def size(self) -> int:
        """Its length in bytes."""
        ...

    def read(self, start: int, nbytes: int) -> bytes:
        """The bytes from `start`; fewer than `nbytes` where the source ends before."""
        ...


class LocalFile:
    """A regular file on this machine; a context manager that closes it.

    Raises AccessError where there is no such regular file, or no right to read it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._window = b""
        self._window_start = 0
        self._reach = 4096
        try:
            # Looked at before it is opened: opening a FIFO would wait for a writer.
            mode = os.stat(path).st_mode
            if not stat.S_ISREG(mode):
                raise AccessError(path, "not a regular file")
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise AccessError(path, error.strerror or str(error), remedy="check the path") from None
        except ValueError as error:  # a NUL in the name
            raise AccessError(path, str(error), remedy="check the path") from None
        self.size = os.fstat(self._fd).st_size

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def read(self, start: int, nbytes: int) -> bytes:
        """The bytes from `start`; small reads come out of a window that grows while reads stay close."""
        first = start - self._window_start
        if first >= 0 and first + nbytes <= len(self._window):
            return self._window[first : first + nbytes]
        if start < 0 or nbytes <= 0 or start >= self.size:
            return b""
        nbytes = min(nbytes, self.size - start)
        if nbytes >= 65536:
            return self._pread(start, nbytes)
        near = 0 <= start - self._window_start <= 2 * len(self._window)
        self._reach = min(self._reach * 2, 2**20) if near else 4096
        self._window = self._pread(start, max(nbytes, self._reach))
        self._window_start = start
        return self._window[:nbytes]

    def read_into(self, start: int, into: memoryview) -> int:
        """Fill `into` with the bytes from `start`; how many there were: fewer where the file ends before."""
        done = 0
        try:
            while done < len(into):
                got = self._read_some(start + done, into[done:])
                if not got:
                    break
                done += got
        except OSError as error:
            raise AccessError(self.path, error.strerror or str(error), where=f"byte {start}") from None
        return done

    def _read_some(self, start: int, into: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [into], start)
        os.lseek(self._fd, start, os.SEEK_SET)
        part = os.read(self._fd, min(len(into), 2**23))
        into[: len(part)] = part
        return len(part)

    def _pread(self, start: int, nbytes: int) -> bytes:
        try:
            if hasattr(os, "pread"):
                first = os.pread(self._fd, nbytes, start)
                if len(first) == nbytes or start + len(first) >= self.size:
                    return first
                return first + self._pread_rest(start + len(first), nbytes - len(first))
            os.lseek(self._fd, start, os.SEEK_SET)
            return os.read(self._fd, nbytes)
        except OSError as error:
            raise AccessError(self.path, error.strerror or str(error), where=f"byte {start}") from None

    def _pread_rest(self, start: int, nbytes: int) -> bytes:
        # Linux hands out at most 2 GiB a call; an empty answer means that the file has shrunk.
        parts = []
        while nbytes:
            part = os.pread(self._fd, nbytes, start)
            if not part:
                break
            parts.append(part)
            start += len(part)
            nbytes -= len(part)
        return b"".join(parts)


class Bytes:
    """Bytes already in memory."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.size = len(data)
        self._data = data

    def read(self, start: int, nbytes: int) -> bytes:
        """The bytes from `start`."""
        return self._data[start : start + nbytes] if start >= 0 else b""


class Slice:
    """A byte range of another source, as a source of its own: a member of an archive, say."""

    def __init__(self, parent: Source, start: int, nbytes: int, name: str) -> None:
        self.path = f"{parent.path}!{name}"
        self._parent = parent
        self._start = start
        self.size = max(0, min(nbytes, parent.size - start))

    def read(self, start: int, nbytes: int) -> bytes:
        """The bytes from `start`, counted inside the range."""
        if start < 0 or start >= self.size:
            return b""
        return self._parent.read(self._start + start, min(nbytes, self.size - start))
