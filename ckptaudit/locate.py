"""What a person names on a command line, as checkpoints: files, folders, globs, `PATH::NAME`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
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

    A folder stands for every checkpoint below it, shards behind an index for one. A glob that matches
    nothing, and a folder without checkpoints, stay as they are, to be told as what they are.
    """
    found: dict[str, None] = {}
    for path in paths:
        if os.path.isdir(path):
            found.update(dict.fromkeys(_inside(path) or [path]))
        elif has_magic(path) and not os.path.lexists(path):
            matches = sorted(glob(path, recursive=True))
            files = [each for match in matches for each in ((match,) if os.path.isfile(match) else ())]
            found.update(dict.fromkeys(files or [path]))
        else:
            found[path] = None
    return list(found)


def _inside(folder: str) -> list[str]:
    """The checkpoints in a folder and those below it; hidden folders are left out, links not followed."""
    found: list[str] = []

    def lose(error: OSError) -> None:
        raise AccessError(folder, error.strerror or str(error), where=str(error.filename or "")) from None

    for here, folders, names in os.walk(folder, onerror=lose):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += (os.path.join(here, name) for name in _checkpoints(sorted(names)))
    return found


def _checkpoints(names: list[str]) -> Iterator[str]:
    indexes = [name for name in names if name.lower().endswith(_INDEX)]
    # model.safetensors.index.json stands for model-00001-of-00003.safetensors and its like.
    stems = tuple(name.lower().removesuffix(_INDEX).rpartition(".")[0] + "-" for name in indexes)
    for name in names:
        lower = name.lower()
        is_shard = bool(stems) and lower.startswith(stems) and "-of-" in lower
        if name in indexes or (lower.endswith(SUFFIXES) and not is_shard):
            yield name
