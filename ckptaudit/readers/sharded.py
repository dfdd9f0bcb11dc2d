"""A checkpoint in several files, held together by an index: `*.safetensors.index.json`, `*.bin.index.json`.

The index is what transformers and huggingface_hub write: `weight_map` names the shard of each tensor,
`metadata.total_size` the bytes of all tensors. Loaders believe it; here it is compared with the shards.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Final

from ckptaudit.errors import AccessError, CkptAuditError, NotFetchedError, UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint, Path, StateDict, TensorMeta
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.strict_json import parse_json
from ckptaudit.readers.wording import counted, few, limit_error
from ckptaudit.source import LocalFile

FORMAT: Final = "sharded"
# What a loader takes from a folder, in the order of transformers' from_pretrained; the last row is
# for folders that no library has laid out.
PREFERRED: Final = (
    ("model.safetensors", "diffusion_pytorch_model.safetensors", "adapter_model.safetensors"),
    ("*.safetensors.index.json",),
    ("pytorch_model.bin", "diffusion_pytorch_model.bin", "adapter_model.bin"),
    ("*.bin.index.json",),
    ("*.index.json", "*.safetensors", "*.pt", "*.pth", "*.bin", "*.ckpt", "*.pt2", "*.params", "*.tar"),
)

_SHARD: Final = re.compile(r"(.*)-\d{5}-of-\d{5}\.\w+")
_KEYS: Final = 1000  # names of one problem that are kept


def find_index(folder: str) -> str:
    """The one file of `folder` that a loader would open: an index, or a whole checkpoint.

    Raises AccessError where there is none, or where nothing says which of several.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file())
    except OSError as error:
        raise AccessError(folder, error.strerror or str(error), remedy="check the path") from None
    for patterns in PREFERRED:
        found = [name for name in names if any(fnmatchcase(name.lower(), pattern) for pattern in patterns)]
        if len(found) == 1:
            return os.path.join(folder, found[0])
        if found:
            reason = f"the folder holds {len(found):,} checkpoints: {few(found, 5)}"
            raise AccessError(folder, reason, remedy="name one of them")
    raise AccessError(folder, "the folder holds no checkpoint", remedy="name a file")


def named_shards(path: str, limits: Limits) -> list[str]:
    """The files that the index at `path` names and `read` reads with it; none where it is no index."""
    try:
        with LocalFile(path) as file:
            probe = Probe(file, limits)
            draft = Draft(file, FORMAT, limits)
            shards = _weight_map(draft, _index(draft)["weight_map"])[0] if sniff(probe) else []
    except CkptAuditError:
        return []
    return [os.path.join(os.path.dirname(path), shard) for shard in shards]


def sniff(probe: Probe) -> bool:
    """Whether the file is a JSON object that has a weight_map."""
    if not probe.head.lstrip().startswith(b"{"):
        return False
    # The map may stand behind long metadata; a JSON text of this size is read as a whole later anyway.
    return b'"weight_map"' in probe.head or (
        probe.source.size <= probe.limits.json_bytes
        and b"\0" not in probe.head
        and b'"weight_map"' in probe.source.read(0, probe.source.size)
    )


def read(probe: Probe, read_file: Callable[[str], Checkpoint]) -> Checkpoint:
    """All shards that the index names, as one checkpoint, and where the two disagree.

    `read_file` reads one file by its path and never follows an index. A shard that it cannot read is
    a problem, the others are still read. Raises UnreadableError where the index itself is broken.
    """
    draft = Draft(probe.source, FORMAT, probe.limits)
    index = _index(draft)
    shards, weight_map = _weight_map(draft, index["weight_map"])
    read_shards = _read_shards(draft, shards, read_file)
    merge = _Merge(draft, weight_map)
    for shard, checkpoint in read_shards.items():
        merge.add(shard, checkpoint)
    merge.settle()
    _compare(draft, weight_map, read_shards, merge.found)
    _note_extra(draft, set(weight_map.values()))
    _take_metadata(draft, index.get("metadata"))
    whole = len(read_shards) == len(shards) and not any(problem.incomplete for problem in draft.problems)
    if whole:
        _check_total(draft, index.get("metadata"))
    _judge(draft, read_shards)
    return draft.finish()


def _judge(draft: Draft, shards: Mapping[str, Checkpoint]) -> None:
    """Whether torch loads each shard by itself, and what stands against those that it does not."""
    known = [checkpoint.weights_only for checkpoint in shards.values()]
    if False in known or (known and None not in known):
        draft.weights_only = all(known)
    draft.to_allow = tuple(dict.fromkeys(name for shard in shards.values() for name in shard.to_allow))
    draft.refusals = tuple(
        f"{few([name])}: {refusal}" for name, shard in shards.items() for refusal in shard.refusals
    )


# The index


def _index(draft: Draft) -> dict[str, Any]:
    source, limits = draft.source, draft.limits
    if source.size > limits.json_bytes:
        raise limit_error(source.path, "json_bytes", limits, f"an index of {source.size:,} bytes", "byte 0")
    try:
        index, repeated = parse_json(source.path, source.read(0, source.size).decode(), limits, where="index")
    except UnicodeDecodeError as error:
        raise UnreadableError(source.path, "the index is not UTF-8", where=f"byte {error.start}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UnreadableError(source.path, f"the index is no JSON: {error.msg}", where=where) from None
    if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict):
        raise UnreadableError(source.path, "the index has no weight_map of names to files")
    if repeated:
        draft.problem("duplicate-name", f"the index names {few(repeated)} twice; the last one counts")
    return index


def _weight_map(draft: Draft, raw: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The shards to open, in the order of the index, and the shard of each tensor."""
    weight_map = {}
    wrong, outside = [], set()
    for key, shard in raw.items():
        if not isinstance(shard, str) or not shard:
            wrong.append(key)
        elif _leaves_folder(shard):
            outside.add(shard)
        else:
            weight_map[key] = posixpath.normpath(shard)
    if wrong:
        detail = f"the index gives no file name for {counted(wrong, 'tensor')}: {few(wrong)}"
        draft.problem("index-mismatch", detail, incomplete=True)
    if outside:
        detail = f"the index points out of its folder, and was not followed: {few(sorted(outside))}"
        draft.problem("index-mismatch", detail, incomplete=True)
    shards = list(dict.fromkeys(weight_map.values()))
    if len(shards) > draft.limits.shards:
        draft.limit("shards", f"the index names {counted(shards, 'file')}")
        shards = shards[: draft.limits.shards]
    return shards, weight_map


def _leaves_folder(shard: str) -> bool:
    # By its text alone: caches keep each shard as a symbolic link to somewhere else.
    parts = shard.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or ":" in parts[0] or "\0" in shard


# The shards


def _read_shards(
    draft: Draft, shards: Iterable[str], read_file: Callable[[str], Checkpoint]
) -> dict[str, Checkpoint]:
    folder = os.path.dirname(draft.source.path)
    found, absent, unfetched = {}, [], []
    for shard in shards:
        path = os.path.join(folder, shard)
        if not os.path.exists(path):
            absent.append(shard)
            continue
        try:
            found[shard] = read_file(path)
        except NotFetchedError:
            unfetched.append(shard)
        except CkptAuditError as error:
            draft.problem(error.code, f"shard {few([shard])} was not read: {error}", incomplete=True)
    if absent:
        detail = f"{counted(absent, 'file')} named by the index but not there: {few(absent)}"
        draft.problem("index-mismatch", detail, incomplete=True)
    if unfetched:
        detail = f"{counted(unfetched, 'shard')} not fetched from git-LFS, run git lfs pull: {few(unfetched)}"
        draft.problem("not-fetched", detail, incomplete=True)
    return found


class _Merge:
    """Puts shards together; `found` says in which shards each key stands."""

    def __init__(self, draft: Draft, weight_map: Mapping[str, str]) -> None:
        self.found: dict[str, list[str]] = defaultdict(list)
        self._draft = draft
        self._weight_map = weight_map
        self._roots: dict[Path, StateDict] = {}
        self._twice: list[str] = []

    def add(self, shard: str, checkpoint: Checkpoint) -> None:
        """Take over everything of one shard; its storages get its name in front of their ids."""
        draft = self._draft
        for tensor in checkpoint.tensors.values():
            self._add_tensor(shard, tensor._replace(storage=f"{shard}!{tensor.storage}"))
        for id, storage in checkpoint.storages.items():
            draft.storages[f"{shard}!{id}"] = storage._replace(id=f"{shard}!{id}")
        for root in checkpoint.state_dicts:
            self._add_state_dict(root)
        draft.files.extend(checkpoint.files)
        draft.extras.update(checkpoint.extras)
        draft.globals.extend(checkpoint.globals)
        draft.problems.extend(checkpoint.problems)
        for name, value in checkpoint.metadata.items():
            draft.metadata.setdefault(name, value)

    def _add_tensor(self, shard: str, tensor: TensorMeta) -> None:
        if tensor.path in self._draft.tensors:
            self._twice.append(tensor.key)
            if self._weight_map.get(tensor.key) == shard:
                self._draft.tensors[tensor.path] = tensor
        else:
            self._draft.tensors[tensor.path] = tensor
        self.found[tensor.key].append(shard)

    def _add_state_dict(self, added: StateDict) -> None:
        known = self._roots.setdefault(added.root, replace(added, modules={}))
        modules = dict(known.modules)
        for name, module in added.modules.items():
            if name not in modules or modules[name].version is None:
                modules[name] = module
        self._roots[added.root] = replace(known, modules=modules)

    def settle(self) -> None:
        """Write the state dicts, and tell which names stand in several shards."""
        self._draft.state_dicts.extend(self._roots.values())
        if self._twice:
            detail = f"{counted(self._twice, 'tensor')} in more than one shard: {few(self._twice)}"
            self._draft.problem("duplicate-name", detail)


# The index against the shards


def _compare(
    draft: Draft,
    weight_map: Mapping[str, str],
    shards: Mapping[str, Checkpoint],
    found: Mapping[str, list[str]],
) -> None:
    whole = {
        name for name, shard in shards.items() if not any(problem.incomplete for problem in shard.problems)
    }
    missing = [key for key, shard in weight_map.items() if shard in whole and key not in found]
    moved = [key for key, shard in weight_map.items() if key in found and shard not in found[key]]
    unlisted = [key for key in found if key not in weight_map]
    for keys, what in (
        (missing, "named by the index but in no shard"),
        (moved, "in another shard than the index says"),
        (unlisted, "in a shard but not in the index"),
    ):
        if keys:
            detail = f"{counted(keys, 'tensor')} {what}: {few(keys)}"
            draft.problem("index-mismatch", detail, keys=tuple(keys[:_KEYS]))


def _note_extra(draft: Draft, named: set[str]) -> None:
    """Shards of the same series in the folder that the index does not name: left over from another save."""
    series = {match[1] for shard in named if (match := _SHARD.fullmatch(shard))}
    try:
        with os.scandir(os.path.dirname(draft.source.path) or ".") as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        return
    extra = [
        name
        for name in names
        if name not in named and (match := _SHARD.fullmatch(name)) and match[1] in series
    ]
    if extra:
        detail = f"{counted(extra, 'shard')} beside the index that it does not name: {few(extra)}"
        draft.problem("index-mismatch", detail, keys=("extra shard",))


def _take_metadata(draft: Draft, raw: object) -> None:
    if isinstance(raw, dict):
        draft.metadata.update(
            (name, value if isinstance(value, str) else json.dumps(value)) for name, value in raw.items()
        )


def _check_total(draft: Draft, raw: object) -> None:
    total = raw.get("total_size") if isinstance(raw, dict) else None
    if total is None:
        return
    # Writers differ on shared memory: each key counts, or each storage once by a view or as a whole.
    tensors = sum(tensor.nbytes for tensor in draft.tensors.values())
    viewed = sum({tensor.storage: tensor.nbytes for tensor in draft.tensors.values()}.values())
    stored = sum(draft.storages[id].nbytes for id in {tensor.storage for tensor in draft.tensors.values()})
    if isinstance(total, bool) or total not in (tensors, viewed, stored):
        detail = f"the index says that the tensors take {few([total])} bytes, they take {tensors:,}"
        draft.problem("index-mismatch", detail, keys=("total_size",))
