"""From bytes to a Checkpoint: one format a file, told apart by content and never by suffix.

To add a format, write a module with `FORMAT`, `sniff(probe) -> bool` and `read(probe) -> Checkpoint`,
and put its name into READERS before any format whose `sniff` would take its files too.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint
from ckptaudit.readers.probe import Probe
from ckptaudit.source import LocalFile, Source

# Asked in this order: the common ones first, since each costs its import; tar before the pickles, as torch
# does; bare pickles, which have no sign of their own, last.
READERS = (
    "torch_zip",
    "safetensors",
    "torch_tar",
    "torch_legacy",
    "torchscript",
    "torch_export",
    "raw_pickle",
)


def read(path: str | os.PathLike[str], limits: Limits | None = None) -> Checkpoint:
    """Read the checkpoint at `path`: a file of any format, an index of shards, or a folder with one.

    Nothing in it is run. Raises CkptAuditError where nothing could be read; what is wrong with a file
    that could be read, wholly or in part, are the `problems` of the answer.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        name = _reader("sharded").find_index(name)
    with _no_collections():
        return _read_file(name, limits or Limits(), whole=True)


@contextmanager
def _no_collections() -> Iterator[None]:
    # A large file becomes millions of small objects that all stay: to look for cycles among them again and
    # again takes as long as the reading itself.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_source(source: Source, limits: Limits, *, whole: bool = True) -> Checkpoint:
    """Read a checkpoint out of any source of bytes; an index of shards counts only as a `whole` one."""
    probe = Probe(source, limits)
    for name in READERS:
        if _reader(name).sniff(probe):
            return _reader(name).read(probe)  # type: ignore[no-any-return]
    sharded = _reader("sharded")
    if whole and sharded.sniff(probe):
        return sharded.read(probe, lambda shard: _read_file(shard, limits, whole=False))  # type: ignore[no-any-return]
    return _reader("foreign").refuse(probe)  # type: ignore[no-any-return]


def _read_file(name: str, limits: Limits, *, whole: bool) -> Checkpoint:
    with LocalFile(name) as file:
        return read_source(file, limits, whole=whole)


def _reader(name: str) -> Any:
    return import_module(f"ckptaudit.readers.{name}")
