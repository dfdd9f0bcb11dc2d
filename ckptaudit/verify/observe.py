"""Everything that is to be known of one model's outputs: it is run several times, and watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ckptaudit.verify.cases import Case, inputs_of
from ckptaudit.verify.checks import Measured, Runs, check
from ckptaudit.verify.described import describe
from ckptaudit.verify.facts import Event, Kind, Load, Observation, Weight
from ckptaudit.verify.held import modules_of, tensors_of, ties_of, weigh
from ckptaudit.verify.leaves import Leaf
from ckptaudit.verify.run import CannotRunError, device_of, evaluated, outputs, told, way_for
from ckptaudit.verify.settings import environment, steady
from ckptaudit.verify.snapshot import Undo, kept
from ckptaudit.verify.trace import watched

SEED = 20
_TRIES = 4  # to see randomness at work


class Asked(NamedTuple):
    """How a model is to be observed.

    `noise` asks for the effect of threads and batches; `floor` for that of rounding in every weight too, or
    `needs_floor` does once the model has run. `as_is` leaves modules in train mode that are. `cannot` is why
    it is not to be run at all; `dtype` what the model was turned into.
    """

    threads: int = 1
    seed: int = SEED
    floor: bool = False
    as_is: bool = False
    noise: bool = True
    cannot: str = ""
    dtype: str | None = None
    needs_floor: Callable[[Observation], bool] | None = None


_PLAINLY = Asked()


def observe(
    model: Any,
    cases: Callable[[Any, str], Sequence[Case]],
    asked: Asked = _PLAINLY,
    load: Load | None = None,
    weights: Mapping[str, Weight] | None = None,
) -> Observation:
    """Run `model` on what `cases(model, device)` gives, and tell what is seen; the model stays as it was.

    `weights` are the facts of its tensors as they were in a file; else they are taken here.
    """
    tensors = tensors_of(model)
    modules = modules_of(model)
    device = device_of(model)
    with (
        steady(asked.threads) as settings,
        evaluated(model, modules, asked.as_is) as flags,
        kept(modules, tensors) as restore,
    ):
        held = weigh(tensors) if weights is None or asked.dtype else weights
        found = Observation(
            environment=environment(device),
            settings={
                **settings,
                "eval": not asked.as_is,
                "seed": asked.seed,
                "mode": "inference_mode",
                "dtype": asked.dtype,
            },
            weights=held if weights is None else weights,
            ties=ties_of(tensors),
            modules={path: describe(module, flags[path]) for path, module in modules.items()},
            load=load,
        )
        lacking = [name for name, weight in held.items() if weight.digest in ("lazy", "meta")]
        if asked.cannot:
            return replace(found, cannot=asked.cannot)
        if lacking:
            kind = held[lacking[0]].digest
            return replace(found, cannot=f"{lacking[0]} has no values yet ({kind})")
        try:
            way = (model, device, tuple(cases(model, device)))
            return _run(*way, asked, found, tensors, held, restore)
        except CannotRunError as error:
            return replace(found, cannot=str(error))
        except Exception as error:  # what the model's own code can come up with
            return replace(found, cannot=told(error))


def _run(
    model: Any,
    device: str,
    cases: tuple[Case, ...],
    asked: Asked,
    found: Observation,
    tensors: Mapping[str, tuple[Kind, Any]],
    held: Mapping[str, Weight],
    restore: Undo,
) -> Observation:
    if not cases:
        raise CannotRunError("no inputs: give --input")
    way = way_for(model, device, cases[0], asked.seed, restore)
    first = []
    for case in cases:  # each of them as the first call: what finding inputs left behind is gone
        restore()
        first.append(outputs(way, case, asked.seed))
    runs = Runs(way, cases, tuple(first), asked.seed, restore)
    traces, read, same = _watch(runs, tensors)
    word = str(way.dtype).removeprefix("torch.") if way.dtype is not None else None
    found = replace(found, settings={**found.settings, "mode": way.mode, "inputs_as": word})
    floor = asked.floor or (asked.needs_floor is not None and asked.needs_floor(found))
    checks = check(runs, tensors, held, Measured(asked.noise, floor))
    return replace(
        found,
        inputs=tuple(inputs_of(case) for case in cases),
        outputs=tuple(first),
        trace=traces,
        checks=replace(
            checks,
            unread=_unread(found, read),
            dead=_dead(traces),
            traced=same,
            random=_random_at(runs, tensors, traces[0]) if checks.repeat or checks.seeds else None,
        ),
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


def _dead(traces: tuple[tuple[Event, ...], ...]) -> tuple[str, ...]:
    """Modules that give the same in all runs, though what they get is never the same."""
    if len(traces) < 2:
        return ()
    given: dict[str, set[str]] = {}
    got: dict[str, set[str]] = {}
    for case in traces[-2:]:  # the two of one shape, where inputs were made here
        for event in case:
            (given if event.kind == "call" else got).setdefault(event.module, set()).add(event.digest)
    return tuple(path for path, digests in got.items() if len(digests) == 1 and len(given.get(path, ())) > 1)


def _random_at(runs: Runs, tensors: Mapping[str, tuple[Kind, Any]], before: tuple[Event, ...]) -> str | None:
    """The innermost module that gives something else in one of a few other runs; None where none is seen."""
    for seed in range(runs.seed + 1, runs.seed + 1 + _TRIES):
        with watched(runs.way.model, tensors) as recorder:
            outputs(runs.way, runs.cases[0], seed)
        for one, other in zip(before, recorder.events, strict=False):
            if one.digest != other.digest:
                return one.module if one.kind == "return" else one.module.rpartition(".")[0]
    return None
