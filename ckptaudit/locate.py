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
    file, name = split(location)
    if has_magic(file) and not os.path.lexists(file):
        raise AccessError(location, "no file matches the glob", remedy="check the path")
    return select(read(file, limits), name) if name else read(file, limits)


def split(location: str) -> tuple[str, str]:
    """`PATH::NAME` -> (PATH, NAME), where no file is called so as a whole; else (PATH, "")."""
    file, colons, name = location.rpartition("::")
    return (file, name) if colons and name and not os.path.lexists(location) else (location, "")


def expand(paths: Iterable[str]) -> list[str]:
    """Every checkpoint that `paths` name, each once, in their order; those of a folder or glob sorted.

    A folder stands for every checkpoint below it, an index for the shards that it names, `GLOB::NAME` for
    that state dict of each match. What matches nothing, holds no checkpoint, or cannot be looked into stays
    as it is, to be told as what it is.
    """
    found: dict[str, str] = {}
    for path in paths:
        for each in _expanded(path):
            found.setdefault(os.path.normpath(each), each)
    return without_shards(found.values())


def _expanded(path: str) -> list[str]:
    file, name = (path, "") if os.path.isdir(path) else split(path)
    is_glob = has_magic(file) and not os.path.lexists(file)
    matches = sorted(glob(file, recursive=True)) if is_glob else [file]
    files = [each for match in matches for each in (_inside(match) if os.path.isdir(match) else [match])]
    ending = f"::{name}" if name else ""
    return [each + ending for each in files] or [path]


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
    """The checkpoints in a folder and those below it; hidden folders are left out, links not followed.

    One that cannot be looked into stands for itself.
    """
    found: list[str] = []

    def stay(error: OSError) -> None:
        found.append(str(error.filename or folder))

    for here, folders, names in os.walk(folder, onerror=stay):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += (os.path.join(here, name) for name in sorted(names) if name.lower().endswith(_ENDS))
    return found
