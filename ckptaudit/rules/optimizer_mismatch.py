"""The rule `optimizer-mismatch`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ckptaudit.audit import Finding, rule, warning
from ckptaudit.model import Checkpoint, Path, StateDict, TensorMeta
from ckptaudit.summary import Held, parameters, pick
from ckptaudit.text import dotted, plural, shape, some

# What optimizers keep in the shape of the parameter itself (torch.optim, Lion, LAMB).
_MOMENTS = frozenset(
    {"exp_avg", "exp_avg_sq", "exp_inf", "max_exp_avg_sq", "momentum_buffer", "square_avg", "grad_avg"}
    | {"acc_delta", "sum", "ax", "prev", "momentum", "mu", "nu"}
)
Shape = tuple[int, ...]


@rule("structure")
def optimizer_mismatch(checkpoint: Checkpoint, held: Held) -> Iterator[Finding]:
    """The optimizer's state is not that of the model beside it.

    ## What it finds
    State for parameters that no parameter group lists, for more parameters than the model has, or in
    shapes that no parameter of the model has. The order of parameters is not known here, so that a mix-up
    between parameters of one shape goes unseen; frozen parameters without a state are normal.

    ## Why it matters
    Training that goes on from such a file fails at the first step, or goes on with the moments of other
    weights.

    ## Example
    `optimizer: the state of 2 parameters has shapes that the model does not have: [1000, 512]`.

    ## What to do
    Save model and optimizer of the same step together; after changing a layer, begin with a new
    optimizer.
    """
    chosen = pick(checkpoint)
    if chosen is None:
        return
    optimizers = [each for each in checkpoint.state_dicts if each.role == "optimizer"]
    # Of several optimizers each may have a part of several models.
    if len(optimizers) != 1:
        return
    optimizer = optimizers[0]
    states = _states(optimizer, held[optimizer.root])
    if states:
        yield from _unlisted(checkpoint, optimizer, states)
        yield from _misshapen(checkpoint, held[chosen.root], optimizer, states)


def _states(optimizer: StateDict, rows: list[TensorMeta]) -> dict[str, list[tuple[str, Shape]]]:
    """(name, shape) of what is kept for each parameter, by its number or name."""
    length = len(optimizer.root)
    states: dict[str, list[tuple[str, Shape]]] = {}
    for row in rows:
        inside = row.path[length:]
        if len(inside) == 3 and inside[0] == "state" and row.shape is not None:
            states.setdefault(str(inside[1]), []).append((str(inside[2]), row.shape))
    return states


def _unlisted(
    checkpoint: Checkpoint, optimizer: StateDict, states: dict[str, list[tuple[str, Shape]]]
) -> Iterator[Finding]:
    listed: set[str] = set()
    for path, leaf in checkpoint.extras.items():
        if _is_list_of_parameters(path, optimizer.root):
            if not isinstance(leaf, list):
                return  # too long to be kept
            listed.update(map(str, leaf))
    unlisted = [name for name in states if name not in listed]
    if listed and unlisted:
        where = dotted(optimizer.root) or "optimizer"
        count = plural(len(unlisted), "parameter")
        yield warning(f"{where}: state for {count} that no group lists: {some(unlisted)}", unlisted)


def _is_list_of_parameters(path: Path, root: Path) -> bool:
    length = len(root)
    inside = path[length:]
    return (
        path[:length] == root and len(inside) == 3 and inside[0] == "param_groups" and inside[2] == "params"
    )


def _misshapen(
    checkpoint: Checkpoint,
    rows: list[TensorMeta],
    optimizer: StateDict,
    states: dict[str, list[tuple[str, Shape]]],
) -> Iterator[Finding]:
    counted = parameters(checkpoint)
    shapes = Counter(row.shape for row in rows if row.shape is not None and row.path in counted)
    if not shapes:
        return
    where = dotted(optimizer.root) or "optimizer"
    needed: Counter[Shape] = Counter()
    wrong: dict[str, Shape] = {}
    for name, kept in states.items():
        moments = [size for moment, size in kept if moment in _MOMENTS]
        if moments:
            needed[moments[0]] += 1
            if moments[0] not in shapes:
                wrong[name] = moments[0]
    if wrong:
        count = plural(len(wrong), "parameter")
        sizes = some([shape(size) for size in dict.fromkeys(wrong.values())])
        yield warning(
            f"{where}: the state of {count} has shapes that no parameter of the model has: {sizes}",
            list(wrong),
            fix="save model and optimizer of the same step",
        )
    elif len(states) > shapes.total() or any(needed[size] > shapes[size] for size in needed):
        yield warning(
            f"{where}: state for {plural(len(states), 'parameter')}, the model has {shapes.total():,}",
            fix="save model and optimizer of the same step",
        )
