"""Every cap on hostile input, in one frozen place.

Honest checkpoints stay far below these; a file that reaches one is reported as a `limit-reached`
problem that names the field, and the command line raises it with `--limit NAME=VALUE`. The defaults
keep the worst file under two seconds and 256 MB.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what one file may cost; all are counts or bytes, inclusive."""

    opcodes: int = 8_000_000  # of one pickle; a tensor takes about 31
    objects: int = 2_500_000  # strings, containers, calls and memo entries of one pickle
    pickle_bytes: int = 64 * 2**20  # one pickle, read as a whole
    depth: int = 200  # nesting of containers and modules in the saved object
    repeats: int = 50_000  # further ways to a tensor or module already seen: shared lists multiply them
    letters: int = 64_000_000  # of all names that are joined from the parts of a deep object
    extras: int = 50_000  # values that are no tensors, one by one
    key_nodes: int = 10_000  # parts of one dict key: hashing a shared tuple costs 2**depth
    header_bytes: int = 100_000_000  # of a safetensors header: the format's own cap
    json_bytes: int = 100_000_000  # an index or a model.json
    json_depth: int = 100
    members: int = 2_000_000  # of one archive
    inflated_bytes: int = 64 * 2**20  # of one compressed member
    shards: int = 10_000  # files that one index may name
    name_bytes: int = 65_536  # one global, member or tensor name
