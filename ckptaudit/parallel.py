"""Many files on several processors: forked copies of this process that each audit a part of the files.

Forked, so that nothing has to be handed over but numbers and finished reports: settings and references are
there already. Where a process cannot be forked, or one of the copies dies of a file, files are audited one
after the other.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

from ckptaudit.audit import FileReport

LEAST = 200  # files for which starting processes pays
_CHUNK = 25  # files that a process takes at a time

Work = Callable[[int], FileReport]
_work: Work | None = None  # of a forked copy


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each(work: Work, count: int, jobs: int) -> Iterator[FileReport]:
    """`work(0)` to `work(count - 1)`, in this order, by at most `jobs` processes."""
    done = 0
    if jobs > 1 and count >= LEAST and hasattr(os, "fork"):
        from concurrent.futures.process import BrokenProcessPool

        try:
            for report in _forked(work, count, min(jobs, count // _CHUNK)):
                yield report
                done += 1
        except BrokenProcessPool:
            pass  # the rest is audited here
    yield from map(work, range(done, count))


def _forked(work: Work, count: int, jobs: int) -> Iterator[FileReport]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(jobs, get_context("fork"), _begin, (work,))
    try:
        yield from pool.map(_one, range(count), chunksize=_CHUNK)
    finally:
        # Also when the caller stops early, or Ctrl-C does: nobody waits for what is left.
        pool.shutdown(cancel_futures=True)


def _begin(work: Work) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of them: one traceback each is no use


def _one(index: int) -> FileReport:
    assert _work is not None
    return _work(index)
