"""Where two runs part: the first call whose inputs agree and whose outputs do not, and why.

Pure functions over two observations. Runs are compared event by event: a call is innermost when its return is
the first event that differs, for the calls inside it return before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ckptaudit.verify.comparison import Divergence
from ckptaudit.verify.facts import Event, Module, Observation, Weight

WEIGHTS, CONFIG = "weights differ", "weights equal, configuration differs"
FUNCTIONAL, TRAIN, RANDOM = "a functional step between two modules", "train mode", "randomness"
_NORMS = ("torch.nn.modules.batchnorm.", "torch.nn.modules.instancenorm.")
_SHOWN = 4  # keys of one cause

Same = Callable[[Event, Event], bool]


class _Step(NamedTuple):
    """What happened between two events: `owner` did it, in this call of it; `reads` in order."""

    owner: str
    call: int
    where: str
    reads: tuple[str, ...]
    earlier: tuple[str, ...]
    called: frozenset[str]


def same_bits(one: Event, other: Event) -> bool:
    """Whether what went in or came out is equal in every bit."""
    return one.digest == other.digest


def localise(one: Observation, other: Observation, same: Same = same_bits) -> Divergence | None:
    """The first divergence over all cases; None where none is seen, or nothing was traced."""
    differing = differing_weights(one, other)
    for left, right in zip(one.trace, other.trace, strict=False):
        step = _first(left, right, same)
        if step is not None:
            return _cause(step, one, other, differing)
    return None


def differing_weights(one: Observation, other: Observation) -> tuple[str, ...]:
    """Tensors that both hold under one name, and whose dtype, shape or bits differ; counters aside."""
    return tuple(
        name
        for name, weight in one.weights.items()
        if not (is_counter(name, one) and is_counter(name, other))
        and (there := other.weights.get(name)) is not None
        and not _are_equal(weight, there)
    )


def is_counter(name: str, found: Observation) -> bool:
    """What torch's own BatchNorm counts, in train mode only: nothing else reads it."""
    path, _, last = name.rpartition(".")
    module = found.modules.get(path)
    return (
        last == "num_batches_tracked"
        and module is not None
        and module.cls.startswith(_NORMS)
        and not module.late
    )


def _are_equal(one: Weight, other: Weight) -> bool:
    return (one.dtype, one.shape, one.digest) == (other.dtype, other.shape, other.digest)


def _first(left: tuple[Event, ...], right: tuple[Event, ...], same: Same) -> _Step | None:
    """The step before the first event that differs."""
    open_calls: list[str] = [""]
    counts: dict[str, int] = {}
    called: set[str] = set()
    earlier: list[str] = []
    for one, other in zip(left, right, strict=False):
        reads = tuple(dict.fromkeys((*one.reads, *other.reads)))
        if (one.kind, one.module) != (other.kind, other.module):
            owner = open_calls[-1]
            where = f"{_event(one)} where the other {_event(other)}"
            return _Step(owner, counts.get(owner, 1), where, reads, tuple(earlier), frozenset(called))
        if one.kind == "call":
            counts[one.module] = counts.get(one.module, 0) + 1
            called.add(one.module)
        if not same(one, other):
            owner = open_calls[-1] if one.kind == "call" else one.module
            where = f"before {one.module}" if one.kind == "call" else ""
            return _Step(owner, counts.get(owner, 1), where, reads, tuple(earlier), frozenset(called))
        if one.kind == "call":
            open_calls.append(one.module)
        elif len(open_calls) > 1:
            open_calls.pop()
        earlier += reads
    if len(left) == len(right):
        return None
    return _Step("", 1, "one of them calls more modules", (), tuple(earlier), frozenset(called))


def _event(event: Event) -> str:
    return f"{event.kind}s {event.module or '(model)'}".replace("returns", "returns from")


def _cause(step: _Step, one: Observation, other: Observation, differing: tuple[str, ...]) -> Divergence:
    """Why: what was read just before, then what the module is, then what was read at any time before."""
    if weights := _relevant(step, differing):
        return _weights(step, weights, one, other)
    if found := _configuration(step, one, other):
        return found
    if weights := [name for name in reversed(step.earlier) if name in set(differing)]:
        return _weights(step, list(dict.fromkeys(weights))[:1], one, other)
    if _is_random(one) or _is_random(other):
        return Divergence(step.call, step.owner, RANDOM)
    where = f" ({step.where})" if step.where else ""
    return Divergence(step.call, step.owner, FUNCTIONAL + where)


def _relevant(step: _Step, differing: tuple[str, ...]) -> list[str]:
    """Differing tensors that the step read, or that belong to what did it and were not seen to be read."""
    read = [name for name in step.reads if name in set(differing)]
    if read:
        return read
    return [name for name in differing if name.rpartition(".")[0] == step.owner and name not in step.earlier]


def _weights(step: _Step, names: list[str], one: Observation, other: Observation) -> Divergence:
    owner = _holder(names[0], one)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    kind = one.weights[names[0]].kind
    word = f"{WEIGHTS}: {shown}"
    if kind == "unsaved":
        word += " (no state dict holds it)"
    elif twin := _elsewhere(names[0], one, other):
        word += f" (here it has the values of {twin})"
    return Divergence(step.call if owner == step.owner else None, owner, word, tuple(names))


def _holder(name: str, one: Observation) -> str:
    """The module that a tensor belongs to: the longest path that leads to it."""
    path = name.rpartition(".")[0]
    while path and path not in one.modules:
        path = path.rpartition(".")[0]
    return path


def _elsewhere(name: str, one: Observation, other: Observation) -> str:
    """The name under which the reference has these values: layers may have been swapped."""
    mine = one.weights[name]
    return next((key for key, each in other.weights.items() if _are_equal(mine, each)), "")


def _configuration(step: _Step, one: Observation, other: Observation) -> Divergence | None:
    """Attributes, class, code or flag that differ, of the module or of those in it that nobody called."""
    for path in _suspects(step, one):
        mine, theirs = one.modules.get(path), other.modules.get(path)
        if mine is None or theirs is None:
            continue
        if names := unlike_config(mine, theirs):
            told = ", ".join(f"{name} {told}" for name, told in names.items())
            return Divergence(
                step.call if path == step.owner else None, path, f"{CONFIG}: {told}", tuple(names)
            )
        if mine.late != theirs.late:
            return Divergence(step.call if path == step.owner else None, path, TRAIN, ("training",))
    return None


def _suspects(step: _Step, one: Observation) -> Iterator[str]:
    yield step.owner
    prefix = f"{step.owner}." if step.owner else ""
    yield from (
        path
        for path in one.modules
        if path.startswith(prefix) and path not in step.called and path != step.owner
    )


def unlike_config(one: Module, other: Module) -> dict[str, str]:
    """The attributes that differ, each with both values; `class` and `code` are two of them."""
    names: Iterable[str] = dict.fromkeys((*one.config, *other.config))
    found = {}
    if one.cls != other.cls:
        found["class"] = f"{one.cls.rpartition('.')[2]} against {other.cls.rpartition('.')[2]}"
    found |= {
        name: f"{one.config.get(name, 'absent')[:40]} against {other.config.get(name, 'absent')[:40]}"
        for name in names
        if one.config.get(name) != other.config.get(name)
    }
    if _is_other_code(one.code, other.code):
        found["forward"] = "has other code"
    return found


def _is_other_code(one: str, other: str) -> bool:
    """Whether the digests say so: instructions of two versions of Python cannot be compared."""
    same_python = one.partition(" ")[0] == other.partition(" ")[0]
    return one != other and (same_python or not (one and other))


def _is_random(found: Observation) -> bool:
    return bool(found.checks.repeat or found.checks.seeds)
