"""Bytes and structure of two models, before any output is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ckptaudit.text import plural, some
from ckptaudit.verify.comparison import DIFFERENT, EQUAL, INCOMPLETE, Stage
from ckptaudit.verify.facts import Module, Observation, Weight
from ckptaudit.verify.localise import differing_weights, unlike_config

_TORCH = "torch.nn."
# Attributes of torch.nn's own modules that change nothing in eval mode.
_HARMLESS = {
    "inplace",
    "momentum",
    "dropout",
    "scale_grad_by_freq",
    "sparse",
    "enable_nested_tensor",
    "mask_check",
    "use_nested_tensor",
    "_load_hook",  # of a lazy layer that has not run yet
    "_initialize_hook",
    "dropout_p",
    "device",
    "dtype",
    "num_batches_tracked",
}


def bytes_stage(one: Observation, other: Observation) -> Stage:
    """Whether tensors of one name are equal in every bit; how many odd values; where they came from."""
    cannot = one.cannot or other.cannot
    if cannot and not (one.weights and other.weights):
        return Stage("bytes", INCOMPLETE, cannot)
    differing = differing_weights(one, other)
    both = [name for name in one.weights if name in other.weights]
    facts = [f"{len(both) - len(differing)} of {plural(len(both), 'tensor')} equal in every bit"]
    if differing:
        facts.append(f"differing: {some(list(differing))}")
    facts += _odd(one.weights)
    facts += _sources(one.weights)
    return Stage("bytes", DIFFERENT if differing else EQUAL, "; ".join(facts))


def _odd(weights: Mapping[str, Weight]) -> Iterator[str]:
    counts = {
        "NaN": sum(each.nan for each in weights.values()),
        "-0.0": sum(each.negative_zero for each in weights.values()),
    }
    found = [f"{number} {name}" for name, number in counts.items() if number]
    if found:
        yield f"holds {', '.join(found)}"


def _sources(weights: Mapping[str, Weight]) -> Iterator[str]:
    counts = Counter(each.source for each in weights.values() if each.source)
    if counts:
        yield ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(counts.items()))


def from_init(found: Observation) -> list[str]:
    """Tensors of the state dict that keep what the code put there: the file says nothing of them."""
    return [
        name for name, each in found.weights.items() if each.source == "from_init" and each.kind != "unsaved"
    ]


def incomplete_load(found: Observation) -> str:
    """What of a checkpoint and its model did not come together; "" where all did."""
    load = found.load
    if load is None:
        return ""
    kinds = {
        "missing": load.missing,
        "unexpected": load.unexpected,
        "mismatched": load.mismatched,
        "not loaded": load.unloaded,
        "others in the model than in the file": load.lost,
        "hooks that are not rebuilt": load.hooks,
        "attributes that are not rebuilt": load.odd,
    }
    facts = [f"{len(keys)} {word}: {some(list(keys))}" for word, keys in kinds.items() if keys]
    if (left := [name for name in from_init(found) if name not in load.missing]) and not load.mismatched:
        facts.append(f"{len(left)} left as the code makes them: {some(left)}")
    if facts and load.suggested:
        facts.append(f"a mapping might help: {some(list(load.suggested))}")
    return "; ".join(facts)


def structure_stage(one: Observation, other: Observation) -> Stage:
    """Keys, shapes, dtypes, ties, classes and configuration."""
    if not one.modules or not other.modules:
        return Stage("structure", INCOMPLETE, one.cannot or other.cannot)
    facts = list(_structure(one, other))
    loaded = incomplete_load(one) or incomplete_load(other)
    if loaded:
        return Stage("structure", INCOMPLETE, "; ".join([loaded, *facts]))
    alike = f"{plural(len(one.weights), 'tensor')}, {plural(len(one.modules), 'module')}"
    return Stage("structure", DIFFERENT if facts else EQUAL, "; ".join(facts) or alike)


def _structure(one: Observation, other: Observation) -> Iterator[str]:
    for only, word in (
        (one.weights.keys() - other.weights.keys(), "only here"),
        (other.weights.keys() - one.weights.keys(), "only in the reference"),
    ):
        if only:
            yield f"{plural(len(only), 'tensor')} {word}: {some(sorted(only))}"
    for name in ("shape", "dtype"):
        unlike = [
            key
            for key, each in one.weights.items()
            if key in other.weights and getattr(each, name) != getattr(other.weights[key], name)
        ]
        if unlike:
            yield f"{name} differs: {some(unlike)}"
    if set(map(frozenset, one.ties)) != set(map(frozenset, other.ties)):
        yield "ties differ"
    if flags := [
        path
        for path, each in one.modules.items()
        if path in other.modules and each.training != other.modules[path].training
    ]:
        yield f"saved in train mode here or there only: {some([path or '(model)' for path in flags])}"
    if late := [path or "(model)" for path, each in one.modules.items() if each.late]:
        yield f"stays in train mode: {some(late)}"
    unlike = [f"{path or '(model)'} {', '.join(names)}" for path, names in _configurations(one, other)]
    if unlike:
        yield f"configuration differs: {some(unlike)}"


def _configurations(one: Observation, other: Observation) -> Iterator[tuple[str, dict[str, str]]]:
    for path, mine in one.modules.items():
        theirs = other.modules.get(path)
        if theirs is not None and (names := unlike_config(mine, theirs)):
            yield path, names


def telling_config(one: Observation, other: Observation, again: Observation | None) -> list[str]:
    """Attributes that differ and could change an output, though no output here shows it.

    What also differs between two constructions of the same model says nothing.
    """
    unstable = {
        (path, name) for path, names in (_configurations(one, again) if again else ()) for name in names
    }
    return [
        f"{path or '(model)'}.{name}"
        for path, names in _configurations(one, other)
        for name in names
        if (path, name) not in unstable and _is_telling(name, one.modules[path], other.modules[path])
    ]


def _is_telling(name: str, one: Module, other: Module) -> bool:
    """Whether an attribute could change an output. Nobody knows what code of its own makes of one."""
    is_torch = one.cls.startswith(_TORCH) and other.cls.startswith(_TORCH)
    if name == "class":
        return is_torch  # of others the code and the attributes tell
    if name == "forward":
        return one.cls == other.cls  # a class of another name is another text; what it computes was compared
    harmless = name in _HARMLESS or (name == "p" and "dropout" in one.cls.lower())
    return not (is_torch and harmless)


def unpaired(one: Observation, other: Observation) -> list[str]:
    """Tensors that only one side has, and whose values the other has under no name of its own.

    Read or not: what these inputs do not reach, others may.
    """
    found = []
    for mine, theirs in ((one, other), (other, one)):
        known = {
            (each.dtype, each.shape, each.digest)
            for name, each in theirs.weights.items()
            if name not in mine.weights
        }
        found += [
            name
            for name, each in mine.weights.items()
            if name not in theirs.weights and (each.dtype, each.shape, each.digest) not in known
        ]
    return found
