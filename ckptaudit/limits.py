"""Every cap on hostile input, in one frozen place.

A file that reaches one is reported as a `limit-reached` problem that names the field, and the command
line raises it with `--limit NAME=VALUE`. The defaults let a state dict of 100,000 tensors pass as torch.save
writes it, and hold the hostile files of the tests under 256 MB.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what one file may cost; all are counts or bytes, inclusive."""

    opcodes: int = 4_000_000  # of one pickle; a tensor takes about 31, or one as torch.save writes it
    objects: int = 2_600_000  # of one pickle, in units of some 100 bytes: a string is one, a call three
    globals: int = 10_000  # different names that one pickle imports
    tensors: int = 150_000  # of one file
    pickle_bytes: int = 64 * 2**20  # one pickle, read as a whole
    depth: int = 200  # nesting of containers and modules in the saved object
    places: int = 200_000  # containers and objects in the saved object; scalars and tensors do not count
    repeats: int = 50_000  # further ways to a tensor or module already seen: shared lists multiply them
    letters: int = 64_000_000  # of all names that are joined from the parts of a deep object
    extras: int = 50_000  # values that are no tensors, one by one
    key_nodes: int = 10_000  # parts of one dict key: hashing a shared tuple costs 2**depth
    weak_keys: int = 5_000  # dict keys of large or nested numbers: a file can make their hashes collide
    header_bytes: int = 100_000_000  # of a safetensors header: the format's own cap
    json_bytes: int = 100_000_000  # an index or a model.json
    json_depth: int = 100
    members: int = 200_000  # of one archive
    directory_bytes: int = 32 * 2**20  # of an archive: the names and places of its members
    inflated_bytes: int = 64 * 2**20  # of one compressed member
    shards: int = 10_000  # files that one index may name
    name_bytes: int = 65_536  # one global, member or tensor name
