"""Are the outputs equal? Models are run, watched and compared, bit by bit; needs torch.

`verify` compares a checkpoint with a golden record, or with another checkpoint, in fresh processes; `record`
writes a record; `compare_models` takes two modules in hand. `equal` is only said after a comparison that ran.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from ckptaudit.verify.comparison import Comparison, Divergence, Output, Stage

__all__ = [
    "Comparison",
    "Divergence",
    "Output",
    "Stage",
    "compare_models",
    "record",
    "record_model",
    "verify",
]


def verify(
    path: str,
    *,
    record: str | None = None,
    against: str | None = None,
    model: str | None = None,
    maps: Iterable[str] = (),
    device: str = "cpu",
    dtype: str | None = None,
    against_model: str | None = None,
    against_device: str | None = None,
    **settings: Any,
) -> Comparison:
    """Compare the outputs of the checkpoint at `path` with a golden `record`, or with those of `against`.

    `model` is `pkg.mod:factory`, the caller's own code, run in child processes only; without it the file has
    to tell the whole model. `maps` rename keys (`OLD=NEW`) of `path`; `dtype` is what it is run in. The other
    checkpoint takes the same model and device unless `against_model` and `against_device` say otherwise.
    `settings` are fields of `verifying.Settings`: inputs, inputs_file, threads, seed, seconds, limits.

    Raises CkptAuditError where a file cannot be read; ValueError unless there is one reference.
    """
    from ckptaudit.verify.verifying import Settings, Side, verify_against, verify_record

    if (record is None) == (against is None):
        raise ValueError("give record or against")
    side = Side(path, model, tuple(maps), device, dtype)
    if record is not None:
        return verify_record(side, record, Settings(**settings))
    other = Side(
        str(against),
        against_model or model,
        tuple(maps) if against_model is None else (),
        against_device or device,
    )
    return verify_against(side, other, Settings(**settings))


def record(
    path: str,
    output: str,
    *,
    model: str | None = None,
    maps: Iterable[str] = (),
    device: str = "cpu",
    dtype: str | None = None,
    **settings: Any,
) -> Comparison:
    """Write a golden record of the checkpoint at `path` to `output`: nothing, unless the answer is `equal`.

    The arguments are those of `verify`.
    """
    from ckptaudit.verify.recording import record as write
    from ckptaudit.verify.verifying import Settings, Side

    return write(Side(path, model, tuple(maps), device, dtype), output, Settings(**settings))


def record_model(model: Any, output: str, inputs: Any = None, **options: Any) -> Comparison:
    """Write a golden record of an nn.Module in hand; see `recording.record_model`."""
    from ckptaudit.verify.recording import record_model as write

    return write(model, output, inputs, **options)


def compare_models(model: Any, reference: Any, inputs: Any = None, **options: Any) -> Comparison:
    """Compare two nn.Modules in hand; see `compare.compare_models`."""
    from ckptaudit.verify.compare import compare_models as compare

    return compare(model, reference, inputs, **options)


class _Callable(ModuleType):
    __call__ = staticmethod(verify)


# `ckptaudit.verify(path)`, as `ckptaudit.rebuild(path)` is.
sys.modules[__name__].__class__ = _Callable
