"""What can be counted and compared in a checkpoint without reading a value: ties, overlaps, totals.

Pure functions; graph, reports and rules all ask here, so that they cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from operator import itemgetter

from ckptaudit.errors import SelectionError
from ckptaudit.model import DTYPE_BITS, Checkpoint, Path, Role, StateDict, Storage, TensorMeta, bytes_of
from ckptaudit.text import dotted, listing

Group = tuple[TensorMeta, ...]
Held = Mapping[Path | None, list[TensorMeta]]  # what `members` gives

# Fields of TensorMeta, picked without a Python call for each of a hundred thousand tensors.
_STORAGE = itemgetter(TensorMeta._fields.index("storage"))
_NBYTES = itemgetter(Storage._fields.index("nbytes"))
_SHAPE = itemgetter(TensorMeta._fields.index("shape"))
_DTYPE_SHAPE_LAYOUT = itemgetter(*map(TensorMeta._fields.index, ("dtype", "shape", "layout")))

# Names under which training scripts keep the model beside other state dicts.
MODEL_NAMES = ("model", "state_dict", "model_state_dict", "module", "net", "network", "params", "model_state")

# What BatchNorm, InstanceNorm and AveragedModel track: in a state dict, yet no parameters.
RUNNING_STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "n_averaged")


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over a whole checkpoint. `parameters` counts tied memory once, `untied` counts every key."""

    tensors: int
    storages: int
    parameters: int
    untied: int
    bytes_tensors: int
    bytes_storages: int


def owner_of(checkpoint: Checkpoint) -> Callable[[Path], StateDict | None]:
    """A function from the path of a tensor to the innermost state dict that holds it."""
    roots = {state_dict.root: state_dict for state_dict in checkpoint.state_dicts}
    lengths = sorted({len(root) for root in roots}, reverse=True)

    def owner(path: Path) -> StateDict | None:
        for length in lengths:
            if len(path) >= length and (found := roots.get(path[:length])) is not None:
                return found
        return None

    return owner


def roles(checkpoint: Checkpoint) -> dict[Path | None, Role]:
    """The role of every state dict by its root."""
    return {state_dict.root: state_dict.role for state_dict in checkpoint.state_dicts}


def members(checkpoint: Checkpoint) -> dict[Path | None, list[TensorMeta]]:
    """Tensors by the root of their state dict, in file order; under None those that are in none."""
    found: dict[Path | None, list[TensorMeta]] = {known.root: [] for known in checkpoint.state_dicts}
    owner = owner_of(checkpoint)
    for path, tensor in checkpoint.tensors.items():
        rows = found.get(path[:-1])
        if rows is None or not path:
            state_dict = owner(path)
            rows = found.setdefault(None if state_dict is None else state_dict.root, [])
        rows.append(tensor)
    return found


def ties(checkpoint: Checkpoint) -> tuple[Group, ...]:
    """Groups of two or more tensors that view the same memory alike: dtype, shape, stride and place."""
    groups: dict[tuple[object, ...], list[TensorMeta]] = {}
    for tensor in _contested(checkpoint):
        if tensor.numel > 0:
            groups.setdefault(_view(checkpoint, tensor), []).append(tensor)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def overlaps(checkpoint: Checkpoint) -> tuple[Group, ...]:
    """Groups of tensors whose byte ranges in one memory overlap, and that do not all view it alike."""
    rows = []
    for order, tensor in enumerate(_contested(checkpoint)):
        if tensor.numel > 0 and (bits := DTYPE_BITS.get(tensor.dtype)):
            memory, start = _place(checkpoint, tensor)
            low, high = _reach(tensor)
            rows.append((memory, start + low * bits // 8, start + (high + 1) * bits // 8, order, tensor))
    rows.sort(key=lambda row: row[:4])
    return tuple(group for group in _runs(rows) if len({_view(checkpoint, tensor) for tensor in group}) > 1)


def _runs(rows: Iterable[tuple[tuple[bool, str], int, int, int, TensorMeta]]) -> Iterable[Group]:
    """Maximal runs of ranges that touch one another, out of ranges sorted by where they start."""
    run: list[tuple[int, TensorMeta]] = []
    memory, end = None, 0
    for here, start, stop, order, tensor in rows:
        if here != memory or start >= end:
            yield tuple(member for _, member in sorted(run, key=lambda pair: pair[0]))
            run, memory, end = [], here, stop
        run.append((order, tensor))
        end = max(end, stop)
    yield tuple(member for _, member in sorted(run, key=lambda pair: pair[0]))


def _contested(checkpoint: Checkpoint) -> list[TensorMeta]:
    """Tensors whose storage a second tensor views, or whose bytes in the file a second storage claims."""
    viewed = list(map(_STORAGE, checkpoint.tensors.values()))
    contested: set[str] = set()
    if len(set(viewed)) < len(viewed):
        contested = {storage for storage, count in Counter(viewed).items() if count > 1}
    spans = [
        (span[0], span[1], span[1] + nbytes, name)
        for name, _, _, nbytes, span in checkpoint.storages.values()
        if span is not None and nbytes > 0
    ]
    spans.sort()
    file, end, last = "", 0, ""
    for here, start, stop, name in spans:
        if here == file and start < end:
            contested |= {name, last}
        if here != file or stop > end:
            file, end, last = here, stop, name
    if not contested:
        return []
    return [tensor for tensor in checkpoint.tensors.values() if tensor.storage in contested]


def _view(checkpoint: Checkpoint, tensor: TensorMeta) -> tuple[object, ...]:
    # A conjugated view has other values than what it looks at.
    return (
        *_place(checkpoint, tensor), tensor.dtype, tensor.shape, tensor.stride, tensor.layout, tensor.subclass
    )  # fmt: skip


def _place(checkpoint: Checkpoint, tensor: TensorMeta) -> tuple[tuple[bool, str], int]:
    """The memory of a tensor, and the byte in it of its first element.

    Old files know a view of a storage as a storage of its own: there the bytes of the file decide.
    """
    storage = checkpoint.storages.get(tensor.storage)
    start = tensor.offset * DTYPE_BITS.get(tensor.dtype, 8) // 8
    if storage is None or storage.span is None:
        return (False, tensor.storage), start
    return (True, storage.span.file), storage.span.start + start


def _reach(tensor: TensorMeta) -> tuple[int, int]:
    """The lowest and the highest element that a tensor touches, counted from its first."""
    steps = [(length - 1) * stride for length, stride in zip(tensor.shape or (), tensor.stride, strict=False)]
    return sum(step for step in steps if step < 0), sum(step for step in steps if step > 0)


def bytes_viewed(tensors: Iterable[TensorMeta]) -> int:
    """How many bytes of their one storage strided tensors look at; at most so many where they overlap."""
    views = {
        (tensor.dtype, tensor.shape, tensor.stride, tensor.offset): tensor for tensor in tensors
    }.values()
    ranges = []
    elements = 0
    for tensor in views:
        bits = DTYPE_BITS.get(tensor.dtype, 8)
        distinct = prod(
            size for size, step in zip(tensor.shape or (), tensor.stride, strict=False) if step or not size
        )
        elements += distinct * bits // 8
        low, high = _reach(tensor)
        if distinct:
            ranges.append(((tensor.offset + low) * bits // 8, (tensor.offset + high + 1) * bits // 8))
    covered = end = 0
    for start, stop in sorted(ranges):
        covered += max(0, stop - max(start, end))
        end = max(end, stop)
    return min(elements, covered)


def alias_name(checkpoint: Checkpoint) -> Callable[[Group], list[str]]:
    """A function that names a group of tensors: by key inside one state dict, by full path across several."""
    owner = owner_of(checkpoint)

    def names(group: Group) -> list[str]:
        if len({None if (found := owner(tensor.path)) is None else found.root for tensor in group}) == 1:
            return [tensor.key for tensor in group]
        return [dotted(tensor.path) for tensor in group]

    return names


def parameters(checkpoint: Checkpoint, groups: tuple[Group, ...] | None = None) -> dict[Path, int]:
    """How many parameters each tensor adds to the model: tied memory once, with its first name.

    Tensors that are no parameters of the model are left out: optimizer state, averaged copies, buffers,
    running statistics. Without any model in the file, all that is neither optimizer nor average counts.
    `groups` are the ties of the checkpoint where the caller has them already.
    """
    counts = _untied(checkpoint)
    for path in _repeats(counts, ties(checkpoint) if groups is None else groups):
        counts[path] = 0
    return counts


def _repeats(counts: Mapping[Path, int], groups: tuple[Group, ...]) -> list[Path]:
    """The second and later names of tied memory that counts."""
    counted = ([tensor.path for tensor in group if tensor.path in counts] for group in groups)
    return [path for paths in counted for path in paths[1:]]


def _untied(checkpoint: Checkpoint) -> dict[Path, int]:
    found = members(checkpoint)
    roles = {state_dict.root: state_dict.role for state_dict in checkpoint.state_dicts}
    sizes: dict[tuple[int, ...] | None, int] = {None: 0}
    typed = {
        known.root
        for known in checkpoint.state_dicts
        if any(module.cls is not None for module in known.modules.values())
    }
    for role in ("model", "other", "ema"):
        rows = [
            row for root in found if _role(roles, root) == role for row in _could_train(found, typed, root)
        ]
        if rows:
            sizes |= {shape: prod(shape) for shape in set(map(_SHAPE, rows)) if shape is not None}
            return {
                path: sizes[shape]
                for path, key, _, shape, _, _, _, kind, _, _, _ in rows
                if kind != "buffer" and not (key.endswith(RUNNING_STATISTICS) and is_statistic(key))
            }
    return {}


def _could_train(
    found: Mapping[Path | None, list[TensorMeta]], typed: set[Path], root: Path | None
) -> list[TensorMeta]:
    # Where modules are known, so are their parameters: a plain attribute is none.
    rows = found[root]
    return [row for row in rows if row.kind != "tensor"] if root in typed else rows


def _role(roles: Mapping[Path, Role], root: Path | None) -> Role:
    return "other" if root is None else roles[root]


def is_statistic(key: str) -> bool:
    """Whether a key names what a module tracks: a part of a state dict, and no parameter."""
    return key.rpartition(".")[2] in RUNNING_STATISTICS


def totals(checkpoint: Checkpoint, groups: tuple[Group, ...] | None = None) -> Totals:
    """Counts over the whole checkpoint; `groups` are its ties where the caller has them already."""
    counts = _untied(checkpoint)
    repeats = _repeats(counts, ties(checkpoint) if groups is None else groups)
    untied = sum(counts.values())
    kinds = Counter(map(_DTYPE_SHAPE_LAYOUT, checkpoint.tensors.values()))
    return Totals(
        tensors=len(checkpoint.tensors),
        storages=len(checkpoint.storages),
        parameters=untied - sum(counts[path] for path in repeats),
        untied=untied,
        bytes_tensors=sum(count * bytes_of(*kind) for kind, count in kinds.items()),
        bytes_storages=sum(map(_NBYTES, checkpoint.storages.values())),
    )


def pick(checkpoint: Checkpoint) -> StateDict | None:
    """The state dict that plainly is the model; None where two could be, or none is."""
    models = [state_dict for state_dict in checkpoint.state_dicts if state_dict.role == "model"]
    named = [model for model in models if model.root and model.root[-1] in MODEL_NAMES]
    whole = [model for model in models if model.root == ()]
    for candidates in (models, whole, named):
        if len(candidates) == 1:
            return candidates[0]
    return None


def select(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """The checkpoint narrowed to the state dict called `name`: its dotted path, or the end of it.

    Raises SelectionError where no state dict, or more than one, goes by that name.
    """
    exact = [state_dict for state_dict in checkpoint.state_dicts if dotted(state_dict.root) == name]
    ends = [state_dict for state_dict in checkpoint.state_dicts if dotted(state_dict.root[-1:]) == name]
    candidates = exact or ends
    if len(candidates) != 1:
        reason = f"{len(candidates) or 'no'} state dicts are called {name!r}"
        there = [dotted(state_dict.root) or "(the whole file)" for state_dict in checkpoint.state_dicts]
        remedy = f"there are: {listing(there, 12)}" if there else "it holds no state dict"
        raise SelectionError(checkpoint.path, reason, remedy=remedy)
    return _narrowed(checkpoint, candidates[0])


def _narrowed(checkpoint: Checkpoint, chosen: StateDict) -> Checkpoint:
    length = len(chosen.root)
    tensors = {path: tensor for path, tensor in checkpoint.tensors.items() if path[:length] == chosen.root}
    used = {tensor.storage for tensor in tensors.values()}
    return replace(
        checkpoint,
        tensors=tensors,
        storages={name: storage for name, storage in checkpoint.storages.items() if name in used},
        state_dicts=tuple(inner for inner in checkpoint.state_dicts if inner.root[:length] == chosen.root),
        extras={path: leaf for path, leaf in checkpoint.extras.items() if path[:length] == chosen.root},
    )
