"""Everything that is to be known of one model's outputs: it is run several times, and watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ckptaudit.verify.cases import Case, inputs_of
from ckptaudit.verify.checks import Runs, check
from ckptaudit.verify.described import describe
from ckptaudit.verify.facts import Event, Load, Observation
from ckptaudit.verify.held import modules_of, tensors_of, ties_of, weigh
from ckptaudit.verify.leaves import Leaf
from ckptaudit.verify.run import CannotRunError, device_of, evaluated, outputs, told, way_for
from ckptaudit.verify.settings import environment, steady
from ckptaudit.verify.trace import watched

SEED = 20


class Asked(NamedTuple):
    """How a model is to be observed. `floor` asks for the effect of rounding in every weight too, or
    `needs_floor` does once it has run; `as_is` leaves modules in train mode that are. `cannot` says why it is
    not to be run at all."""

    threads: int = 1
    seed: int = SEED
    floor: bool = False
    as_is: bool = False
    cannot: str = ""
    needs_floor: Callable[[Observation], bool] | None = None


def observe(
    model: Any,
    cases: Callable[[Any, str], Sequence[Case]],
    asked: Asked = Asked(),
    load: Load | None = None,
    source: Callable[[str], str] = lambda name: "",
) -> Observation:
    """Run `model` on what `cases(model, device)` gives, and tell what is seen; the model stays as it was.

    `source` says of every tensor where its values came from.
    """
    tensors = tensors_of(model)
    modules = modules_of(model)
    device = device_of(model)
    with steady(asked.threads) as settings, evaluated(model, modules, asked.as_is) as flags:
        weights = weigh(tensors, source)
        found = Observation(
            environment=environment(device),
            settings={**settings, "eval": not asked.as_is, "seed": asked.seed, "mode": "inference_mode"},
            weights=weights,
            ties=ties_of(tensors),
            modules={path: describe(module, flags[path]) for path, module in modules.items()},
            load=load,
        )
        lacking = [name for name, weight in weights.items() if weight.digest in ("lazy", "meta")]
        if asked.cannot:
            return replace(found, cannot=asked.cannot)
        if lacking:
            kind = weights[lacking[0]].digest
            return replace(found, cannot=f"{lacking[0]} has no values yet ({kind})")
        try:
            return _run(model, tuple(cases(model, device)), asked, found, tensors, device)
        except CannotRunError as error:
            return replace(found, cannot=str(error))
        except Exception as error:  # what the model's own code can come up with
            return replace(found, cannot=told(error))


def _run(
    model: Any, cases: tuple[Case, ...], asked: Asked, found: Observation, tensors: Any, device: str
) -> Observation:
    if not cases:
        raise CannotRunError("no inputs: give --input")
    way = way_for(model, device, cases[0], asked.seed)
    first = [outputs(way, case, asked.seed) for case in cases]
    runs = Runs(way, cases, tuple(first), asked.seed)
    traces, read, same = _watch(runs, tensors)
    word = str(way.dtype).removeprefix("torch.") if way.dtype is not None else None
    found = replace(found, settings={**found.settings, "mode": way.mode, "inputs_as": word})
    floor = asked.floor or (asked.needs_floor is not None and asked.needs_floor(found))
    checks = check(runs, tensors, found.weights, floor)
    return replace(
        found,
        inputs=tuple(inputs_of(case) for case in cases),
        outputs=tuple(first),
        trace=traces,
        checks=replace(checks, unread=_unread(found, read), traced=same),
    )


def _watch(runs: Runs, tensors: Any) -> tuple[tuple[tuple[Event, ...], ...], set[str], bool]:
    """The events of every case, the tensors that were read, and whether the outputs stayed the same."""
    traces, read, same = [], set(), True
    for case, expected in zip(runs.cases, runs.first, strict=True):
        with watched(runs.way.model, tensors) as recorder:
            again: tuple[Leaf, ...] = outputs(runs.way, case, runs.seed)
        traces.append(tuple(recorder.events))
        read |= recorder.all_reads
        same = same and [leaf.facts for leaf in again] == [leaf.facts for leaf in expected]
    return tuple(traces), read, same


def _unread(found: Observation, read: set[str]) -> tuple[str, ...]:
    return tuple(name for name in found.weights if name not in read)
