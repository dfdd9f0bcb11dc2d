"""What a person names on a command line, as checkpoints: files, folders, globs, `PATH::NAME`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from glob import glob, has_magic

from ckptaudit.errors import AccessError
from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint
from ckptaudit.readers import read
from ckptaudit.summary import select

# What a folder is searched for. Here alone the name of a file counts: folders hold all sorts of files.
SUFFIXES = (
    *(".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".params", ".pt2", ".ptl", ".pkl", ".pickle"),
    *(".tar", ".t7", ".th", ".model", ".weights", ".torchscript"),
)
_INDEX = ".index.json"
_ENDS = (*SUFFIXES, _INDEX)


def read_at(location: str, limits: Limits | None = None) -> Checkpoint:
    """The checkpoint at `PATH`, or narrowed to one state dict of it at `PATH::NAME`.

    Raises CkptAuditError where it cannot be read, or holds no such state dict.
    """
    file, colons, name = location.rpartition("::")
    if not colons or not name or os.path.exists(location):
        return read(location, limits)
    return select(read(file, limits), name)


def expand(paths: Iterable[str]) -> list[str]:
    """Every checkpoint that `paths` name, each once, in their order; those of a folder or glob sorted.

    A folder stands for every checkpoint below it, an index for the shards that it names. A glob that matches
    nothing, and a folder without checkpoints, stay as they are, to be told as what they are.
    """
    found: dict[str, None] = {}
    for path in paths:
        is_glob = has_magic(path) and not os.path.lexists(path)
        matches = sorted(glob(path, recursive=True)) if is_glob else [path]
        files = [file for match in matches for file in (_inside(match) if os.path.isdir(match) else [match])]
        found.update(dict.fromkeys(files or [path]))
    return without_shards(found)


def without_shards(paths: Iterable[str]) -> list[str]:
    """`paths` but for the shards that an index among them names: they are read with it.

    What an index does not name stays, whatever its name looks like.
    """
    kept = list(paths)
    indexes = [path for path in kept if path.lower().endswith(_INDEX)]
    if not indexes:
        return kept
    from ckptaudit.readers.sharded import named_shards  # most calls are about no index

    shards = {os.path.abspath(shard) for index in indexes for shard in named_shards(index, Limits())}
    return [path for path in kept if os.path.abspath(path) not in shards]


def _inside(folder: str) -> list[str]:
    """The checkpoints in a folder and those below it; hidden folders are left out, links not followed."""
    found: list[str] = []

    def lose(error: OSError) -> None:
        raise AccessError(folder, error.strerror or str(error), where=str(error.filename or "")) from None

    for here, folders, names in os.walk(folder, onerror=lose):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += (os.path.join(here, name) for name in sorted(names) if name.lower().endswith(_ENDS))
    return found
