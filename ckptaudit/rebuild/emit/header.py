"""The docstring of the source: of which file, how sure, what is unknown, and how to load the weights."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.emit.text import quoted, told
from ckptaudit.rebuild.emit.tree import STATE
from ckptaudit.rebuild.plan import Confidence, Plan
from ckptaudit.text import plural, some

_SURE: Final[tuple[Confidence, ...]] = ("certain", "likely", "guess")


def header(plan: Plan, runs: bool) -> list[str]:
    """The paragraphs of the docstring; `runs` says that all of it is code of torch.nn."""
    file = told(os.path.basename(plan.checkpoint.rstrip("/\\")) or plan.checkpoint)
    found = [f"The architecture of {file}, written by ckptaudit.", "", f"Level: {plan.level}.", ""]
    for paragraph in (_known(plan), _unknown(plan, runs), _lost(plan)):
        found += [paragraph, ""] if paragraph else []
    found += ["To load the weights:", "", *(f"    {line}" for line in _loading(plan))]
    if _root(plan) and _load_call(plan):
        found += ["", "Where torch.load refuses the file for what else is in it, ckptaudit.rebuild reads it."]
    return found


def is_module(plan: Plan) -> bool:
    """Whether the file holds a module with its classes, and not only its state dict."""
    return any(part.cls is not None for part in plan.parts.values())


def _known(plan: Plan) -> str:
    if is_module(plan):
        return "Classes, arguments and settings are read from the file."
    counts = Counter(part.confidence for part in plan.parts.values() if part.layer is not None)
    if not counts:
        return "Names, shapes and dtypes are read from the file; which layers own them is not known."
    told = ", ".join(f"{counts[sure]:,} {sure}" for sure in _SURE if sure in counts)
    return f"Layers are inferred from the names and shapes of their tensors: {told}."


def _unknown(plan: Plan, runs: bool) -> str:
    unset = sum(bool(part.unknown) for part in plan.parts.values())
    words = f" Arguments that comments name have stand-ins, in {plural(unset, 'module')}." if unset else ""
    if runs and plan.level in ("exact config", "verified"):
        whole = not any(part.hooks or part.odd for part in plan.parts.values()) and not plan.unsaved
        how = "as it is" if whole else "without what is named below"
        return f"All of it is torch.nn's own: it runs {how}."
    if runs:
        return f"It runs, and computes the same as the model only if the layers are what they seem.{words}"
    if not is_module(plan):
        return (
            "Unknown, as no state dict tells it: the order in which modules run, and what is between them, "
            "such as activations, dropout and residual connections." + words
        )
    classes = dict.fromkeys(
        told(part.cls) for part in plan.parts.values() if part.cls is not None and part.layer is None
    )
    named = f": the code of {some(list(classes))}" if classes else ": what modules compute"
    return f"Unknown, as it is not in the file{named}.{words}"


def _lost(plan: Plan) -> str:
    pieces = []
    odd = sum(len(part.odd) for part in plan.parts.values())
    if odd:
        pieces.append(f"Attributes that the file has and this has not, as comments name them: {odd:,}.")
    if plan.unsaved:
        pieces.append(f"In no state dict, so not loaded: {_names(plan.unsaved)}.")
    hooks = sum(len(part.hooks) for part in plan.parts.values())
    if hooks:
        pieces.append(f"Hooks that the file has and this has not: {hooks:,}.")
    other = [key for key in plan.extra if key.rpartition(".")[2] != STATE]
    if other:
        pieces.append(f"Keys of the state dict that hold no tensor, and are left out: {_names(other)}.")
    return " ".join(pieces)


def _names(names: Iterable[str]) -> str:
    return some([told(name) for name in names], 6)


def _loading(plan: Plan) -> Iterator[str]:
    name = quoted(os.path.basename(plan.checkpoint))
    if plan.checkpoint.endswith(".safetensors"):
        yield "model = build()"
        yield f"safetensors.torch.load_model(model, {name})"
        return
    call = _load_call(plan)
    if call is None:
        # What torch.load would run, refuse, or not find.
        yield "from ckptaudit.rebuild import rebuild  # runs nothing that the file holds"
        yield f"state = rebuild({name}).module.state_dict()"
    else:
        yield f"state = {call}"
    yield "model = build()"
    if any(map(_cannot_be_copied, plan.tensors.values())):
        yield "model.load_state_dict(state, assign=True)  # some are of kinds that cannot be copied"
    else:
        yield "model.load_state_dict(state)"


def _cannot_be_copied(row: TensorMeta) -> bool:
    is_dense = row.layout in ("strided", "sparse_coo")
    return not is_dense or row.dtype.startswith("q") or row.storage.startswith("wrapper:")


def _load_call(plan: Plan) -> str | None:
    """How torch or safetensors loads the state dict; None where they run code, refuse, or do not know it."""
    root = _root(plan)
    name = os.path.basename(plan.checkpoint)
    lazy = any(row.shape is None for row in plan.tensors.values())
    if is_module(plan) or lazy or root is None or name.endswith(".json") or "." not in name:
        return None
    steps = "".join(f"[{quoted(step) if isinstance(step, str) else step}]" for step in root)
    return f"torch.load({quoted(name)}, weights_only=True){steps}"


def _root(plan: Plan) -> tuple[str | int, ...] | None:
    """Where in the file the state dict hangs; None where its tensors do not all hang in one dict."""
    roots = {row.path[:-1] if row.path[-1:] == (key,) else None for key, row in plan.tensors.items()}
    return roots.pop() if len(roots) == 1 else None
