"""From bytes to a Checkpoint: one format a file, told apart by content and never by suffix.

To add a format, write a module with `FORMAT`, `sniff(probe) -> bool` and `read(probe) -> Checkpoint`,
and put it into READERS before any format whose `sniff` would take its files too.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Protocol, cast

from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint
from ckptaudit.readers.probe import Probe
from ckptaudit.source import LocalFile, Source


class Reader(Protocol):
    """What a module of this folder offers."""

    FORMAT: str

    def sniff(self, probe: Probe) -> bool:
        """Whether the file is of this format, broken or not."""
        ...

    def read(self, probe: Probe) -> Checkpoint:
        """Everything that the file holds. Raises CkptAuditError where nothing can be read."""
        ...


# In order: the zips by what is in them, then what begins with a sign of its own, then bare pickles.
READERS = ("torchscript", "torch_export", "torch_zip", "torch_tar", "safetensors", "torch_legacy", "raw_pickle")


def read(path: str | os.PathLike[str], limits: Limits | None = None) -> Checkpoint:
    """Read the checkpoint at `path`: a file of any format, an index of shards, or a folder with one.

    Nothing in it is run. Raises CkptAuditError where nothing could be read; what is wrong with a file
    that could be read, wholly or in part, are the `problems` of the answer.
    """
    name, limits = os.fspath(path), limits or Limits()
    if os.path.isdir(name):
        sharded = import_module("ckptaudit.readers.sharded")
        name = sharded.find_index(name)
    return _read_file(name, limits)


def _read_file(name: str, limits: Limits, *, as_shard: bool = False) -> Checkpoint:
    with LocalFile(name) as file:
        return read_source(file, limits, as_shard=as_shard)


def read_source(source: Source, limits: Limits, *, as_shard: bool = False) -> Checkpoint:
    """Read a checkpoint out of any source of bytes; an index of shards only where it is not one itself."""
    probe = Probe(source, limits)
    for name in READERS:
        reader = cast(Reader, import_module(f"ckptaudit.readers.{name}"))
        if reader.sniff(probe):
            return reader.read(probe)
    if not as_shard:
        sharded = import_module("ckptaudit.readers.sharded")
        if sharded.sniff(probe):
            return sharded.read(probe, lambda shard: _read_file(shard, limits, as_shard=True))  # type: ignore[no-any-return]
    return import_module("ckptaudit.readers.foreign").refuse(probe)  # type: ignore[no-any-return]
