"""The fresh process: builds and loads one model, observes it, and writes that down as a record."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated.inside import RefusalError, build, serve
from ckptaudit.limits import Limits
from ckptaudit.locate import read_at
from ckptaudit.rebuild.place import place
from ckptaudit.text import dotted
from ckptaudit.verify.cases import Case, Spec, as_cases, case_of, make
from ckptaudit.verify.derive import derived
from ckptaudit.verify.facts import Observation
from ckptaudit.verify.lib import library
from ckptaudit.verify.loading import Loaded, load
from ckptaudit.verify.observe import Asked, observe
from ckptaudit.verify.outputs import leniency
from ckptaudit.verify.records import dump
from ckptaudit.verify.records import load as load_record

_SEEDS = 3  # sets of inputs for one description of them


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Observe what `request` asks for, into the file that it names."""
    torch = library()
    torch.manual_seed(request["build_seed"])
    random.seed(request["build_seed"])
    # Memory that is never written to is often zero in a new process: then torch fills it with NaN.
    torch.set_deterministic_debug_mode(int(request["fill"]))
    try:
        factory = _factory(request)
        checkpoint = read_at(request["path"], Limits(**request["limits"]))
        loaded = load(checkpoint, factory, request["maps"], request["device"], request["dtype"])
    except CkptAuditError as error:
        raise RefusalError(error.reason, error.remedy) from error
    finally:
        torch.set_deterministic_debug_mode(0)
    found = _observe(request, loaded)
    with open(request["out"], "wb") as file:
        file.write(dump(found))
    return {}


def _factory(request: dict[str, Any]) -> Any:
    if request["model"] is None:
        return None
    module, factory = request["model"]
    return lambda: build(module, factory, on_meta=False)


def _observe(request: dict[str, Any], loaded: Loaded) -> Observation:
    asked = Asked(
        threads=request["threads"], seed=request["seed"], cannot=loaded.cannot, dtype=request["dtype"]
    )
    reference = load_record(request["reference"]) if request["reference"] else None
    if reference is not None:
        asked = asked._replace(needs_floor=lambda found: bool(leniency(found, reference)))

    def cases(model: Any, device: str) -> Sequence[Case]:
        return _cases(request, model, device)

    return observe(loaded.module, cases, asked, loaded.load, loaded.weights)


def _cases(request: dict[str, Any], model: Any, device: str) -> Sequence[Case]:
    asked, seed = request["inputs"], request["seed"]
    if "record" in asked:
        return [case_of(case) for case in load_record(asked["record"], values=True).inputs]
    if "file" in asked:
        found = _tensors(asked["file"])
        args = tuple(found[str(place)] for place in range(len(found)) if str(place) in found)
        return [Case(args, {name: each for name, each in found.items() if not name.isdecimal()})]
    if asked["specs"]:
        specs = [
            Spec(name, tuple(shape), dtype, high, value) for name, shape, dtype, high, value in asked["specs"]
        ]
        return [make(specs, seed + place) for place in range(_SEEDS)]
    return as_cases(list(derived(model, device, seed, request["seconds"] / 4)))


def _tensors(path: str) -> dict[str, Any]:
    """What a file of any format holds, by name."""
    checkpoint = read_at(path)
    rows = {dotted(each.path): each for each in checkpoint.tensors.values()}
    placed, left = place(checkpoint, rows)
    if left:
        raise RefusalError(f"{left[0].key} of the inputs cannot be had: {left[0].reason}")
    return {name: tensor.clone() for name, tensor in placed.items()}


if __name__ == "__main__":
    serve(answer)
