"""What running one model again and again shows: is it deterministic, does it change itself, how noisy?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from ckptaudit.verify.cases import Case, mapped
from ckptaudit.verify.facts import Checks, Kind, Weight
from ckptaudit.verify.held import tensors_of, weigh
from ckptaudit.verify.leaves import Leaf
from ckptaudit.verify.lib import library
from ckptaudit.verify.numbers import NO_NOISE, relative
from ckptaudit.verify.run import CannotRunError, Way, outputs, writes_inputs
from ckptaudit.verify.settings import random_state, seed_all

_SEEDS = 8  # that are tried where forward draws random numbers
_MOST_THREADS = 8
_LARGEST, _BLOCKS = 20, 4  # powers of two of bytes, and how many of each
Tensors = Mapping[str, tuple[Kind, Any]]


@dataclass(frozen=True, slots=True)
class Runs:
    """A way to call a model, the inputs, and what it gave for each of them as its first call.

    `restore` makes the model what it was before any."""

    way: Way
    cases: tuple[Case, ...]
    first: tuple[tuple[Leaf, ...], ...]
    seed: int
    restore: Callable[[], None] = lambda: None

    def again(self, place: int, seed: int | None = None) -> tuple[Leaf, ...]:
        """The outputs of another run of one case."""
        return outputs(self.way, self.cases[place], self.seed if seed is None else seed)


class Measured(NamedTuple):
    """Which noise to measure: that of threads and batches, and that of rounding in every weight."""

    noise: bool = True
    floor: bool = False


def check(runs: Runs, tensors: Tensors, weights: Mapping[str, Weight], measured: Measured) -> Checks:
    """Run the model on, and put together what shows. Raises CannotRunError where it stops running."""
    # Backwards: what one case leaves behind meets another one's repetition.
    repeat = _differing(runs, range(len(runs.cases) - 1, -1, -1), (runs.seed,))
    drawn = _draws(runs)
    seeds = _differing(runs, range(len(runs.cases)), (runs.seed + 1, runs.seed + 2))
    if drawn and not seeds:
        seeds = _differing(runs, range(1), range(runs.seed + 3, runs.seed + 3 + _SEEDS))
    # Once more in the end: what hangs on the seed alone is the same again, what counts its calls is not.
    late = _differing(runs, range(len(runs.cases)), (runs.seed,))
    repeat = tuple(dict.fromkeys((*repeat, *late, *_after_others(runs), *_unfilled(runs))))
    steady = not (repeat or seeds)
    batch, mix = _batch_noise(runs) if steady and measured.noise else (None, False)
    return Checks(
        repeat=repeat,
        seeds=tuple(name for name in seeds if name not in repeat),
        drawn=drawn,
        inputs_changed=any(writes_inputs(runs.way, case, runs.seed) for case in runs.cases[:1]),
        constant=_constant(runs) if steady else (),
        not_finite=_not_finite(runs),
        one_valued=_is_one_valued(runs.cases),
        threads=_thread_noise(runs) if steady and measured.noise else None,
        batch=batch,
        rows_mix=mix,
        rounding=_rounding_noise(runs, tensors) if steady and measured.floor else None,
        changed=_changed(tensors_of(runs.way.model), weights),
    )


def _after_others(runs: Runs) -> tuple[str, ...]:
    """Outputs that hang on which inputs came first: those that a model adjusts itself to, say."""
    runs.restore()
    with suppress(CannotRunError):
        outputs(runs.way, _stirred(runs.cases[0], 1), runs.seed)
    return _differing(runs, range(1), (runs.seed,))


def _unfilled(runs: Runs) -> tuple[str, ...]:
    """Outputs made of memory that nobody wrote to: torch fills it in the other runs, and not in this one."""
    holder = library().utils.deterministic
    before = holder.fill_uninitialized_memory
    holder.fill_uninitialized_memory = False
    try:
        found: dict[str, None] = {}
        for place, first in enumerate(runs.first):
            _soil(runs.way.device)
            found |= dict.fromkeys(unlike(runs.again(place), first))
        return tuple(found)
    finally:
        holder.fill_uninitialized_memory = before


def _soil(device: str) -> None:
    """Leave numbers in the memory that is handed out next."""
    torch = library()
    blocks = [
        torch.full((2**power,), 85, dtype=torch.uint8, device=device)
        for power in range(4, _LARGEST)
        for _ in range(_BLOCKS)
    ]
    del blocks


def _changed(tensors: Tensors, weights: Mapping[str, Weight]) -> tuple[str, ...]:
    """Tensors of the model that are no longer what they were before it ran: written to, or replaced."""
    now = weigh(tensors)
    return tuple(
        name
        for name, weight in weights.items()
        if (there := now.get(name)) is None or there.digest != weight.digest
    )


def _differing(runs: Runs, places: range, seeds: tuple[int, ...] | range) -> tuple[str, ...]:
    """Outputs that are others than at first in a run with one of these seeds."""
    found: dict[str, None] = {}
    for place in places:
        for seed in seeds:
            found |= dict.fromkeys(unlike(runs.again(place, seed), runs.first[place]))
    return tuple(found)


def unlike(ones: tuple[Leaf, ...], others: tuple[Leaf, ...]) -> list[str]:
    """The names of outputs that are not equal in every bit, or that only one side has."""
    left, right = ({leaf.name: leaf.facts for leaf in each} for each in (ones, others))
    return [name for name in {**left, **right} if left.get(name) != right.get(name)]


def _draws(runs: Runs) -> bool:
    seed_all(runs.seed)
    before = random_state()
    for place in range(len(runs.cases)):
        runs.again(place)
        if random_state() != before:
            return True
    return False


def _constant(runs: Runs) -> tuple[str, ...]:
    """Outputs that stay the same whatever goes in; none where nothing goes in."""
    if not any(_tensors(case) for case in runs.cases):
        return ()
    # A dict for its order: a name leaves it once its output has been seen to change.
    left = {leaf.name for leaf in runs.first[0] if leaf.is_tensor}
    for seed in range(3):
        for case, first in zip(runs.cases, runs.first, strict=True):
            if not left:
                return ()
            with suppress(CannotRunError):
                left -= set(unlike(outputs(runs.way, _stirred(case, seed), runs.seed), first))
    return tuple(leaf.name for leaf in runs.first[0] if leaf.name in left)


def _tensors(case: Case) -> list[Any]:
    found: list[Any] = []

    def keep(tensor: Any) -> Any:
        if tensor.numel():
            found.append(tensor)
        return tensor

    mapped(case, keep)
    return found


def _is_one_valued(cases: tuple[Case, ...]) -> bool:
    """Whether all inputs of more than one element hold one value each: zeros or ones, say."""
    long = [tensor for case in cases for tensor in _tensors(case) if tensor.numel() > 1]
    return bool(long) and all(bool((tensor == tensor.reshape(-1)[0]).all()) for tensor in long)


def _stirred(case: Case, seed: int) -> Case:
    """The case with other values in it, of the same kind and in the same range."""
    torch = library()
    draw = torch.Generator().manual_seed(seed)

    def stir(tensor: Any) -> Any:
        tensor = tensor.detach().to("cpu")
        if not tensor.numel():
            return tensor
        if tensor.is_floating_point() or tensor.is_complex():
            noise = torch.randn(tensor.shape, generator=draw, dtype=torch.float64).to(tensor.dtype)
            return tensor * (1 + seed) + noise * (1 + 10 * seed)
        order = torch.randperm(tensor.numel(), generator=draw)
        if tensor.dtype == torch.bool:
            return tensor.reshape(-1)[order].reshape(tensor.shape) ^ (seed > 0)
        low, high = int(tensor.min()), int(tensor.max())
        return torch.randint(low, high + 1 + (low == high), tensor.shape, generator=draw).to(tensor.dtype)

    return mapped(case, stir)


def _not_finite(runs: Runs) -> tuple[str, ...]:
    """Floating outputs that hold elements, and no finite number in any case."""
    found: dict[str, bool] = {}
    for leaf in (leaf for case in runs.first for leaf in case if leaf.is_tensor and leaf.value.numel()):
        if leaf.value.is_floating_point() or leaf.value.is_complex():
            found[leaf.name] = found.get(leaf.name, False) or bool(leaf.value.isfinite().any())
    return tuple(name for name, finite in found.items() if not finite)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    torch = library()
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _thread_noise(runs: Runs) -> float | None:
    """Differences between one thread and several; None on a device that has none of ours."""
    if not runs.way.device.startswith("cpu"):
        return None
    with _threads(max(2, min(_MOST_THREADS, os.cpu_count() or 1))):
        found = max(relative(runs.again(place), first) for place, first in enumerate(runs.first))
    return found if found < NO_NOISE else None


def _batch_noise(runs: Runs) -> tuple[float | None, bool]:
    """Differences between a row alone and the same row among others; and whether rows hang together."""
    for case, first in zip(runs.cases, runs.first, strict=True):
        rows = _rows(case, first)
        if rows < 2:
            continue
        noise = 0.0
        for row in range(rows):
            alone = mapped(case, lambda tensor, row=row: tensor[row : row + 1])
            try:
                found = outputs(runs.way, alone, runs.seed)
            except CannotRunError:
                return None, False
            noise = max(noise, relative(found, tuple(_row(leaf, row) for leaf in first)))
        return (noise, False) if noise < NO_NOISE else (None, True)
    return None, False


def _rows(case: Case, first: tuple[Leaf, ...]) -> int:
    """The batch that all tensors of a case and its outputs have as their first dimension; 0 for none."""
    sizes = {
        tuple(tensor.shape[:1])
        for tensor in (*_tensors(case), *(leaf.value for leaf in first if leaf.is_tensor))
    }
    return int(next(iter(sizes))[0]) if len(sizes) == 1 and sizes != {()} else 0


def _row(leaf: Leaf, row: int) -> Leaf:
    if not leaf.is_tensor:
        return leaf
    value = leaf.value[row : row + 1]
    return leaf._replace(shape=tuple(value.shape), value=value, digest="")


def _rounding_noise(runs: Runs, tensors: Tensors) -> float | None:
    """The effect of moving every weight by a unit in its last place, or not; the weights are put back."""
    torch = library()
    draw = torch.Generator().manual_seed(runs.seed)
    moved = {
        id(tensor): tensor
        for _, tensor in tensors.values()
        if tensor.is_floating_point() and tensor.element_size() > 1 and tensor.layout == torch.strided
    }
    kept = {name: tensor.detach().clone() for name, tensor in moved.items()}
    try:
        with torch.no_grad():
            for tensor in moved.values():
                sign = torch.randint(-1, 2, tensor.shape, generator=draw).to(tensor.device)
                tensor.mul_(1 + sign.to(tensor.dtype) * torch.finfo(tensor.dtype).eps)
        found = max(relative(runs.again(place), first) for place, first in enumerate(runs.first))
    except (CannotRunError, RuntimeError):
        return None
    finally:
        with torch.no_grad():
            for name, tensor in moved.items():
                tensor.copy_(kept[name])
    return found if found < NO_NOISE else None
