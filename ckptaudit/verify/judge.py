"""From observations to a verdict. Pure: nothing is run here.

`equal` is what is left in the end: whatever could make it false comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckptaudit.text import plural, some
from ckptaudit.verify.checks import unlike
from ckptaudit.verify.comparison import (
    DIFFERENT,
    EQUAL,
    INCOMPLETE,
    NONDETERMINISTIC,
    STOCHASTIC,
    Comparison,
    Divergence,
    Stage,
)
from ckptaudit.verify.facts import Observation
from ckptaudit.verify.localise import RANDOM, WEIGHTS, differing_weights, is_counter, localise
from ckptaudit.verify.outputs import Outcome, compare, leniency, sameness
from ckptaudit.verify.structure import (
    bytes_stage,
    from_init,
    incomplete_load,
    structure_stage,
    telling_config,
    unpaired,
)


class _Ruling(NamedTuple):
    verdict: str
    why: str


def judge(
    one: Observation, other: Observation, again: Observation | None = None, fresh: bool = False
) -> Comparison:
    """`one` against the reference `other`. `again` is `one` once more, built anew in a process of its own
    with other random numbers; `fresh` says that one is to be had, so that its absence counts."""
    outcome = compare(one, other)
    ruling = _rule(one, other, again, outcome)
    first = _divergence(one, other, again, outcome, ruling)
    stages = (
        bytes_stage(one, other),
        structure_stage(one, other),
        _consistency(one, other),
        _floor(one),
        *([_fresh(one, again)] if fresh or again else []),
        _outputs(one, other, outcome),
        _localised(first, one, other),
    )
    return Comparison(
        verdict=ruling.verdict,
        stages=stages,
        outputs=outcome.outputs,
        first_divergence=first,
        ties=one.ties,
        settings={**one.environment, **one.settings},
        reason=ruling.why,
    )


def _rule(one: Observation, other: Observation, again: Observation | None, outcome: Outcome) -> _Ruling:
    """The first objection that there is, else what the outputs say."""
    objections = (
        *_not_run(one, other, again),
        *_unsteady(one, other),
        *_undetermined(one, other, again),
        *_apart(outcome),
        *_unlike_weights(one, other),
        *_unlike_anew(one, again),
        *_unlike_config(one, other, again),
        *_vacuous(one),
    )
    if objections:
        return objections[0]
    if outcome.equal:
        apart = leniency(one, other)
        if not apart and _other_dtypes(one, other):
            apart = "the weights are not of the same dtype"
        if apart:  # on another machine other inputs may well differ
            return _Ruling(f"close ({outcome.dtype or 'exact'})", f"the outputs are equal; {apart}")
        return _Ruling(EQUAL, "")
    return _Ruling(f"close ({outcome.dtype})", leniency(one, other))


def _other_dtypes(one: Observation, other: Observation) -> bool:
    """Whether weights of one name are of other dtypes, or one of the models was turned into another."""
    return one.settings.get("dtype") != other.settings.get("dtype") or any(
        name in other.weights and other.weights[name].dtype != each.dtype
        for name, each in one.weights.items()
    )


def _not_run(one: Observation, other: Observation, again: Observation | None) -> Iterator[_Ruling]:
    for each, whose in ((one, ""), (other, "the reference: "), (again, "built once more: ")):
        if each is not None and each.cannot:
            yield _Ruling(INCOMPLETE, whose + each.cannot)
    for each, whose in ((one, ""), (other, "the reference: ")):
        if reason := incomplete_load(each):
            yield _Ruling(INCOMPLETE, whose + reason)
        if left := from_init(each):
            yield _Ruling(INCOMPLETE, f"{whose}not in the file: {some(left)}")
    if not one.outputs or not other.outputs:
        yield _Ruling(INCOMPLETE, "there are no outputs")


def _unsteady(one: Observation, other: Observation) -> Iterator[_Ruling]:
    for each, whose in ((one, ""), (other, "the reference: ")):
        if each.checks.repeat:
            yield _Ruling(NONDETERMINISTIC, f"{whose}two runs differ: {some(list(each.checks.repeat))}")
        if changed := [name for name in each.checks.changed if each.weights[name].kind != "unsaved"]:
            told = some(changed)
            yield _Ruling(NONDETERMINISTIC, f"{whose}running the model changes it: {told}")
        if each.checks.seeds:
            yield _Ruling(STOCHASTIC, f"{whose}outputs hang on the seed: {some(list(each.checks.seeds))}")
        elif each.checks.drawn:
            told = "forward draws random numbers, though no seed that was tried changes an output"
            yield _Ruling(STOCHASTIC, f"{whose}{told}")


def _undetermined(one: Observation, other: Observation, again: Observation | None) -> Iterator[_Ruling]:
    """What the file does not hold and the code fills in anew each time."""
    if again is None or not _unlike_again(one, again):
        return
    culprits = [name for name in differing_weights(one, again) if name not in one.checks.unread]
    told = f": {some(culprits)}" if culprits else ""
    reason = f"the file does not determine the outputs: the model built anew gives others{told}"
    apart = _unlike_again(one, other) and _unlike_again(again, other)
    yield _Ruling(DIFFERENT if apart else INCOMPLETE, reason)


def _unlike_again(one: Observation, again: Observation) -> list[str]:
    if len(one.outputs) != len(again.outputs):
        return ["outputs"]
    pairs = zip(one.outputs, again.outputs, strict=True)
    return list(dict.fromkeys(name for pair in pairs for name in unlike(*pair)))


def _apart(outcome: Outcome) -> Iterator[_Ruling]:
    if not outcome.agree:
        yield _Ruling(DIFFERENT, outcome.why or "outputs differ")


def _unlike_weights(one: Observation, other: Observation) -> Iterator[_Ruling]:
    """Weights that differ, though these inputs do not show it: other inputs may."""
    same_kind = [
        name for name in differing_weights(one, other) if one.weights[name].dtype == other.weights[name].dtype
    ]
    unread = set(one.checks.unread) | set(other.checks.unread)
    if read := [name for name in same_kind if name not in unread]:
        told = f"weights differ, though these outputs do not: {some(read)}; other inputs may show it"
        yield _Ruling(DIFFERENT, told)
    if left := [name for name in same_kind if name in unread]:
        yield _Ruling(INCOMPLETE, f"weights differ that these inputs do not reach: {some(left)}")
    if alone := unpaired(one, other):
        yield _Ruling(INCOMPLETE, f"weights that have no counterpart: {some(alone)}")


def _unlike_anew(one: Observation, again: Observation | None) -> Iterator[_Ruling]:
    if again is not None and (names := differing_weights(one, again)):
        told = f"the file does not determine {some(list(names))}, which these outputs do not show"
        yield _Ruling(INCOMPLETE, told)


def _unlike_config(one: Observation, other: Observation, again: Observation | None) -> Iterator[_Ruling]:
    if names := telling_config(one, other, again):
        yield _Ruling(INCOMPLETE, f"configuration differs, which these inputs do not show: {some(names)}")


def _vacuous(one: Observation) -> Iterator[_Ruling]:
    """Outputs that would be equal whatever the model were."""
    tensors = {leaf.name for case in one.outputs for leaf in case if leaf.is_tensor}
    filled = {leaf.name for case in one.outputs for leaf in case if leaf.is_tensor and 0 not in leaf.shape}
    if not tensors:
        yield _Ruling(INCOMPLETE, "no output is a tensor")
    elif not filled:
        yield _Ruling(INCOMPLETE, "all outputs are empty")
    if one.checks.one_valued:
        yield _Ruling(INCOMPLETE, "the inputs hold one value only; give --input with others")
    owned = [name for name, each in one.weights.items() if each.kind != "unsaved" and 0 not in each.shape]
    if owned and set(owned) <= set(one.checks.unread):
        yield _Ruling(
            INCOMPLETE, "no tensor of the model was seen to be read: its outputs are made of others"
        )
    if filled and filled <= set(one.checks.constant):
        yield _Ruling(INCOMPLETE, "the outputs do not depend on the inputs; give --input with other values")
    if filled and filled <= set(one.checks.not_finite):
        yield _Ruling(INCOMPLETE, "no output holds a finite number")


def _consistency(one: Observation, other: Observation) -> Stage:
    found = next(
        (
            each
            for each in (*_not_run(one, other, None), *_unsteady(one, other))
            if each.verdict != INCOMPLETE or one.cannot or other.cannot
        ),
        None,
    )
    if found is not None:
        return Stage("self-consistency", found.verdict, found.why)
    notes = [f"{plural(len(one.outputs), 'input')}, each run with the same and with other seeds"]
    if kept := [name for name in one.checks.changed if one.weights[name].kind == "unsaved"]:
        notes.append(f"forward rewrites {some(kept)}, which no state dict holds")
    if one.checks.inputs_changed:
        notes.append("forward writes into its inputs")
    return Stage("self-consistency", "deterministic", "; ".join(notes))


def _floor(one: Observation) -> Stage:
    checks = one.checks
    found = [
        f"{name} {value:.1e}"
        for name, value in (
            ("threads", checks.threads),
            ("batch", checks.batch),
            ("rounding of weights", checks.rounding),
        )
        if value is not None
    ]
    if checks.rows_mix:
        found.append("rows of a batch depend on one another")
    told = f"relative to max|y|: {', '.join(found)}" if found else "nothing could be measured"
    return Stage("noise floor", "measured" if found else "not measured", told)


def _fresh(one: Observation, again: Observation | None) -> Stage:
    if again is None or again.cannot:
        return Stage("fresh process", INCOMPLETE, again.cannot if again else "was not run")
    if names := _unlike_again(one, again):
        return Stage("fresh process", DIFFERENT, f"built anew it gives other outputs: {some(names)}")
    return Stage("fresh process", EQUAL, "built anew from other random numbers it gives the same bits")


def _outputs(one: Observation, other: Observation, outcome: Outcome) -> Stage:
    if one.cannot or other.cannot or not one.outputs:
        return Stage("outputs", INCOMPLETE, one.cannot or other.cannot or "there are none")
    allowed = f"allowed {outcome.allowed:.1e} of max|y| ({leniency(one, other)})" if outcome.allowed else ""
    if outcome.equal:
        outputs = plural(len(outcome.outputs), "output")
        notes = [f"{outputs} on {plural(len(one.outputs), 'input')}, bit by bit"]
        if one.checks.constant:
            notes.append(f"the same for every input: {some(list(one.checks.constant))}")
        if unread := [name for name in one.checks.unread if not is_counter(name, one)]:
            notes.append(f"nothing is said of tensors that were not read: {some(unread)}")
        if one.checks.dead:
            notes.append(f"these inputs bring nothing past {some(list(one.checks.dead))}")
        return Stage("outputs", EQUAL, "; ".join(notes))
    if outcome.agree:
        return Stage("outputs", f"close ({outcome.dtype})", allowed)
    return Stage(
        "outputs", DIFFERENT, "; ".join(filter(None, (outcome.why, allowed))) or "not equal in every bit"
    )


def _divergence(
    one: Observation, other: Observation, again: Observation | None, outcome: Outcome, ruling: _Ruling
) -> Divergence | None:
    """Where it parts, where anything does: from the reference, or from the same model built anew."""
    if one.cannot or other.cannot or ruling.verdict == EQUAL or ruling.verdict.startswith("close"):
        return None
    if ruling.verdict in (NONDETERMINISTIC, STOCHASTIC):
        places = [each.checks.random for each in (one, other) if each.checks.random is not None]
        return Divergence(None, places[0], RANDOM) if places else None
    if again is not None and not again.cannot and _unlike_again(one, again):
        return localise(one, again)  # what the file leaves open is not the reference's fault
    if not outcome.equal and (found := localise(one, other, sameness(outcome))):
        return found
    differing = list(differing_weights(one, other))
    if differing and ruling.verdict == DIFFERENT:
        read = [name for name in differing if name not in one.checks.unread] or differing
        return Divergence(None, read[0].rpartition(".")[0], f"{WEIGHTS}: {some(read)}", tuple(read))
    return None


def _localised(first: Divergence | None, one: Observation, other: Observation) -> Stage:
    if first is None:
        traced = one.checks.traced and other.checks.traced and one.trace and other.trace
        return Stage("localise", "nothing to find" if traced else "not traced", "")
    which = f", call {first.call}" if first.call and first.call > 1 else ""
    return Stage("localise", "found", f"{first.module or '(model)'}{which}: {first.cause}")
