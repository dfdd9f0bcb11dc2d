"""What a person is told around the tree, in plain lines: what is counted, shared, odd, sure and unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ckptaudit.layers import Guess
from ckptaudit.model import Checkpoint, Path, Problem, StateDict
from ckptaudit.reports.inspect.layers import hidden
from ckptaudit.summary import Group, Totals, alias_name, members
from ckptaudit.text import clip, dotted, grouped, listing, percent, plural, safe, short, size, value

MOST = 20  # lines of one kind
_FEW = 6  # names in one line

_ROLES = {
    "model": "a model",
    "ema": "an averaged copy, not counted",
    "optimizer": "optimizer state, no parameters",
    "other": "no model",
}


def header(checkpoint: Checkpoint, chosen: StateDict | None) -> str:
    """`mlp.params  torch zip · state dict · 33.2 KiB · header only, nothing executed`."""
    facts = [
        checkpoint.format.replace("-", " "),
        _nature(checkpoint, chosen),
        size(checkpoint.nbytes),
        "header only, nothing executed",
    ]
    return f"{safe(checkpoint.path)}  {' · '.join(fact for fact in facts if fact)}"


def _nature(checkpoint: Checkpoint, chosen: StateDict | None) -> str:
    if chosen is None:
        models = sum(state_dict.role == "model" for state_dict in checkpoint.state_dicts)
        return f"{models} models" if models > 1 else plural(len(checkpoint.tensors), "tensor")
    if chosen.root:
        return "checkpoint"
    return "full model" if _has_classes(chosen) else "state dict"


def _has_classes(chosen: StateDict) -> bool:
    return any(module.cls for module in chosen.modules.values())


def counted(checkpoint: Checkpoint, totals: Totals, groups: tuple[Group, ...]) -> str:
    """`4 tensors   7,946 parameters   31.0 KiB   float32 100 %   device cpu   ties 0   problems 0`."""
    lazy = sum(tensor.shape is None for tensor in checkpoint.tensors.values())
    facts = [
        plural(totals.tensors, "tensor"),
        f"{plural(totals.parameters, 'parameter')}{_in_short(totals)}",
        f"{grouped(lazy)} lazy" if lazy else "",
        size(totals.bytes_storages),
        _dtypes(checkpoint),
        _devices(checkpoint),
        f"ties {len(groups)}",
        f"problems {len(checkpoint.problems)}",
    ]
    return "   ".join(fact for fact in facts if fact)


def _brief(number: int) -> str:
    return short(number) if number >= 1_000_000 else grouped(number)


def _in_short(totals: Totals) -> str:
    untied = f"{_brief(totals.untied)} if untied" if totals.untied != totals.parameters else ""
    brief = short(totals.parameters) if totals.parameters >= 1_000_000 else ""
    inside = ", ".join(words for words in (brief, untied) if words)
    return f" ({inside})" if inside else ""


def _dtypes(checkpoint: Checkpoint) -> str:
    weights: Counter[str] = Counter()
    for tensor in checkpoint.tensors.values():
        weights[tensor.dtype] += tensor.nbytes
    whole = weights.total()
    shares = [
        f"{safe(name)} {percent(part, whole)}" if whole else safe(name)
        for name, part in weights.most_common()
    ]
    return ", ".join(shares[:3]) + (f" and {len(shares) - 3} more" if len(shares) > 3 else "")


def devices(checkpoint: Checkpoint) -> list[str]:
    """The devices that tensors are tagged with, most bytes first."""
    weights: Counter[str] = Counter()
    for storage in checkpoint.storages.values():
        weights[storage.device] += storage.nbytes
    return [name for name, _ in weights.most_common()]


def _devices(checkpoint: Checkpoint) -> str:
    names = [safe(name) for name in devices(checkpoint)]
    return f"device{'s' if len(names) > 1 else ''} {listing(names)}" if names else ""


def notes(
    checkpoint: Checkpoint,
    chosen: StateDict | None,
    totals: Totals,
    tied: tuple[Group, ...],
    overlap: tuple[Group, ...],
    told: Mapping[str, Guess],
) -> Iterator[tuple[str, str]]:
    """What is told below the tree: (subject, line), the subject once for the lines it begins."""
    yield from _first("picked", _picked(checkpoint, chosen))
    yield from _first("also here", _others(checkpoint, chosen))
    yield from _first("ties", _ties(checkpoint, tied, totals))
    yield from _first("overlaps", _overlaps(checkpoint, overlap))
    yield from _first("problems", map(_problem, checkpoint.problems))
    yield from _first("imports", _imports(checkpoint))
    yield from _first("extras", _extras(checkpoint))
    yield from _first("metadata", _metadata(checkpoint))
    yield from _first("confirmed", _confirmed(checkpoint, chosen))
    yield from _first("unknown", _unknown(checkpoint, chosen, told))


def _first(subject: str, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    left_out = 0
    for place, line in enumerate(lines):
        if place < MOST:
            yield subject if place == 0 else "", line
        else:
            left_out += 1
    if left_out:
        yield "", f"and {grouped(left_out)} more (--format json has them all)"


def _picked(checkpoint: Checkpoint, chosen: StateDict | None) -> Iterator[str]:
    models = [found for found in checkpoint.state_dicts if found.role == "model"]
    if chosen is not None and len(checkpoint.state_dicts) > 1:
        yield f"{_root(chosen)}: the model (PATH::NAME shows another state dict)"
    elif chosen is None and len(models) > 1:
        names = listing([_root(model) for model in models])
        yield f"none: {names} could each be the model (PATH::NAME shows one)"


def _root(state_dict: StateDict) -> str:
    return safe(dotted(state_dict.root)) or "the saved object"


def _others(checkpoint: Checkpoint, chosen: StateDict | None) -> Iterator[str]:
    held, settings = members(checkpoint), Counter(_settings(checkpoint).values())
    for found in checkpoint.state_dicts:
        if found is not chosen and (chosen is not None or found.role == "optimizer"):
            tensors = held[found.root]
            weight = size(sum(tensor.nbytes for tensor in tensors))
            set_up = settings[found.root]
            facts = [plural(len(tensors), "tensor"), weight, *([plural(set_up, "setting")] if set_up else [])]
            yield f"{_root(found)}  {', '.join(facts)}: {_ROLES[found.role]}"
    if chosen is not None and None in held:
        names = listing([safe(_path(tensor.path)) for tensor in held[None]])
        yield f"{plural(len(held[None]), 'tensor')} in no state dict: {names}"


def _path(path: Path) -> str:
    return dotted(path) or "the saved object itself"


def _ties(checkpoint: Checkpoint, groups: tuple[Group, ...], totals: Totals) -> Iterator[str]:
    names = alias_name(checkpoint)
    untied = f" ({_brief(totals.untied)} if untied)" if totals.untied != totals.parameters else ""
    whole: dict[tuple[str, ...], list[str]] = {}
    for group in groups:
        parts = [name.rpartition(".") for name in names(group)]
        same = len({leaf for _, _, leaf in parts}) == 1 and all(above for above, _, _ in parts)
        key = tuple(above for above, _, _ in parts) if same else ()
        whole.setdefault(key, []).append(" = ".join(names(group)))
    for above, lines in whole.items():
        if above and len(lines) > 1:
            module = " = ".join(f"{name}.*" for name in above)
            yield f"{safe(module)}: {len(lines)} storages, each counted once{untied}"
        for line in lines:
            yield f"{safe(line)}: one storage, counted once{'' if len(lines) > 1 and above else untied}"


def _overlaps(checkpoint: Checkpoint, groups: tuple[Group, ...]) -> Iterator[str]:
    names = alias_name(checkpoint)
    for group in groups:
        yield f"{safe(listing(names(group)))}: views of the same bytes, not alike"


def _problem(problem: Problem) -> str:
    place = f" (byte {grouped(problem.span.start)})" if problem.span else ""
    return f"{safe(problem.code)}: {safe(clip(problem.detail, 400))}{place}"


def _imports(checkpoint: Checkpoint) -> Iterator[str]:
    from ckptaudit.readers.pickle.policy import verdict

    found: dict[tuple[str, str], bool] = {}
    for item in checkpoint.globals:
        found[item.module, item.name] = found.get((item.module, item.name), False) or item.called
    judged = [(verdict(*name), name, called) for name, called in found.items()]
    for rank, name, called in sorted(judged, key=lambda row: row[0] != "dangerous"):
        if rank != "known":
            told = "would be called" if called else "named, not called"
            yield f"{safe(clip('.'.join(name), 200))}: {rank}, {told}"


def _extras(checkpoint: Checkpoint) -> Iterator[str]:
    settings = _settings(checkpoint)
    for path, leaf in checkpoint.extras.items():
        if path not in settings:
            yield f"{safe(dotted(path))} = {value(leaf)}"


def _settings(checkpoint: Checkpoint) -> dict[Path, Path]:
    """The extras that are settings of an optimizer, with the root of that."""
    roots = {found.root for found in checkpoint.state_dicts if found.role == "optimizer"}
    lengths = {len(root) for root in roots}
    return {
        path: path[:length]
        for path in checkpoint.extras
        for length in lengths
        if length <= len(path) and path[:length] in roots
    }


def _metadata(checkpoint: Checkpoint) -> Iterator[str]:
    for key, text in checkpoint.metadata.items():
        # What torch.save writes into every file says nothing about this one.
        if not key.startswith(".") and key != "version" and (key, text) != ("byteorder", "little"):
            yield f"{safe(clip(key, 200))} = {value(text)}"


def _confirmed(checkpoint: Checkpoint, chosen: StateDict | None) -> Iterator[str]:
    if checkpoint.tensors:
        storages, keys = len(checkpoint.storages), len(checkpoint.tensors)
        aliasing = f"{plural(storages, 'storage')} for {plural(keys, 'key')}"
        yield f"keys, shapes, dtypes, devices, aliasing ({aliasing})"
    if chosen is not None and any(module.version is not None for module in chosen.modules.values()):
        yield f"the module tree: {plural(len(chosen.modules), 'module')}, those without tensors too"
    if chosen is not None and _has_classes(chosen):
        code = (
            "is in the file, and was not run" if checkpoint.format == "torchscript" else "is not in the file"
        )
        yield f"the classes of modules, by name: their code {code}"
    if checkpoint.weights_only is not None and checkpoint.format != "safetensors":
        yield f"torch.load(weights_only=True) {_verdict(checkpoint)}"


def _verdict(checkpoint: Checkpoint) -> str:
    """What torch's restricted loader does with the file, and the names it would have to allow."""
    if checkpoint.weights_only:
        return "accepts this file"
    if checkpoint.format not in ("torch-zip", "torch-legacy", "sharded"):
        return f"refuses files of this format ({checkpoint.format})"
    names = list(map(safe, checkpoint.to_allow))
    more = f" and {grouped(len(names) - _FEW)} more (--format json)" if len(names) > _FEW else ""
    missing = f"it does not allow {', '.join(names[:_FEW])}{more}" if names else ""
    if not checkpoint.refusals:
        return f"refuses this file, by default: {missing}"
    others = len(checkpoint.refusals) - 1
    reason = safe(clip(checkpoint.refusals[0], 200)) + (f", and {grouped(others)} more" if others else "")
    return f"refuses this file: {reason}{f'; and {missing}' if missing else ''}"


def _unknown(checkpoint: Checkpoint, chosen: StateDict | None, told: Mapping[str, Guess]) -> Iterator[str]:
    lazy = sum(tensor.shape is None for tensor in checkpoint.tensors.values())
    if lazy:
        yield f"the shapes of {plural(lazy, 'lazy parameter')}: no input has passed through the model yet"
    arrays = sum(str(leaf).startswith("numpy array ") for leaf in checkpoint.extras.values())
    if arrays:
        yield f"{plural(arrays, 'numpy array')}, under extras: not counted as tensors or parameters"
    if any(problem.incomplete for problem in checkpoint.problems):
        yield "what could not be read (see problems): more can be in the file than is shown"
    if any(guess.layer for guess in told.values()):
        yield "the classes of modules: those shown are inferred from names and shapes"
    if settings := hidden(told):
        yield f"settings that no tensor shows, {settings}"
    if chosen is None:
        return
    if not _has_classes(chosen):
        yield "activations, order of execution: a state dict does not hold them"
    elif checkpoint.format != "torchscript":
        yield "order of execution: a pickled model names its classes, and does not hold their code"
    if not _has_classes(chosen) and all(module.version is None for module in chosen.modules.values()):
        yield "modules without tensors: only keys tell the modules here"
