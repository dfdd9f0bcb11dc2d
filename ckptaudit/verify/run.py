"""One run of a model: seeded, in a grad mode that it bears, on copies of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ckptaudit.verify.cases import Case, fresh, inputs_of
from ckptaudit.verify.leaves import Leaf, NotComparableError, leaves
from ckptaudit.verify.lib import library
from ckptaudit.verify.settings import seed_all

_MODES = ("inference_mode", "no_grad", "enable_grad")


class CannotRunError(Exception):
    """The model gives no output for these inputs, or none that can be compared."""


class NoOutputError(CannotRunError):
    """It runs, and what it gives cannot be compared."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to call `model`: `mode` is one of torch's, `dtype` what floating inputs are turned into."""

    model: Any
    device: str
    mode: str = _MODES[0]
    dtype: Any = None


def call(way: Way, case: Case) -> Any:
    """What the model returns, raising what it raises."""
    with getattr(library(), way.mode)():
        return way.model(*case.args, **case.kwargs)


def outputs(way: Way, case: Case, seed: int) -> tuple[Leaf, ...]:
    """The leaves of what the model returns. Raises CannotRunError."""
    given = fresh(case, way.device, way.dtype)
    seed_all(seed)
    try:
        return leaves(call(way, given))
    except NotComparableError as error:
        raise NoOutputError(f"an output cannot be compared: {error}") from None
    except Exception as error:
        where = _raised_in(way.model, error)
        raise CannotRunError(told(error) + (f" (in {where})" if where else "")) from None


def _raised_in(model: Any, error: BaseException) -> str:
    """The innermost module whose method was running; "" for the model itself."""
    paths = {id(module): path for path, module in model.named_modules()}
    found = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        owner = trace.tb_frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        found = paths.get(id(owner), found)
        trace = trace.tb_next
    return found


def told(error: BaseException) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return f"out of memory ({type(error).__name__})"
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def writes_inputs(way: Way, case: Case, seed: int) -> bool:
    """Whether forward changes the tensors that it is given."""
    given = fresh(case, way.device, way.dtype)
    before = [leaf.facts for leaf in inputs_of(given)]
    seed_all(seed)
    call(way, given)
    return [leaf.facts for leaf in inputs_of(given)] != before


def way_for(
    model: Any, device: str, case: Case, seed: int, restore: Callable[[], None] = lambda: None
) -> Way:
    """A way in which the model runs on this case. Raises CannotRunError with what it says to the first.

    `restore` undoes what a try has left behind in the model.
    """
    tries = [Way(model, device)]
    if (dtype := floating(model)) is not None:
        tries.append(Way(model, device, dtype=dtype))
    tries += [Way(model, device, mode) for mode in _MODES[1:]]
    first: CannotRunError | None = None
    for way in tries:
        restore()
        try:
            outputs(way, case, seed)
        except NoOutputError:
            raise
        except CannotRunError as error:
            first = first or error
        else:
            return way
    raise first or CannotRunError("no way to run it")


def floating(model: Any) -> Any:
    """The dtype of the model's first floating parameter or buffer; None where it has none."""
    tensors = (*model.parameters(), *model.buffers())
    return next((each.dtype for each in tensors if each.is_floating_point()), None)


def device_of(model: Any) -> str:
    """Where its first parameter or buffer lies."""
    return next((str(each.device) for each in (*model.parameters(), *model.buffers())), "cpu")


@contextmanager
def evaluated(model: Any, modules: dict[str, Any], as_is: bool) -> Iterator[dict[str, bool]]:
    """The model in eval mode, or as it is; gives the flags that modules had, and puts them back."""
    flags = {path: bool(module.training) for path, module in modules.items()}
    try:
        if not as_is:
            model.eval()
            _evaluate_unreached(model, modules)
        yield flags
    finally:
        for path, module in modules.items():
            module.training = flags[path]


def _evaluate_unreached(model: Any, modules: Mapping[str, Any]) -> None:
    """What lies in plain lists: `model.eval()` does not get there. In its own tree the model has the say."""
    reached = {id(module) for module in model.modules()}
    for module in modules.values():
        if id(module) not in reached:
            module.eval()
            reached |= {id(each) for each in module.modules()}
