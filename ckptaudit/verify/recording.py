"""Making a golden record: of a checkpoint, or of a module in hand."""

from __future__ import annotations

import os
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

from ckptaudit.locate import read_at
from ckptaudit.output import OutputError, write
from ckptaudit.verify.cases import as_cases, is_flat
from ckptaudit.verify.comparison import Comparison
from ckptaudit.verify.derive import derived
from ckptaudit.verify.observe import SEED, Asked, observe
from ckptaudit.verify.processes import observe_all
from ckptaudit.verify.records import SCHEMA, RecordError, dump
from ckptaudit.verify.verifying import USUAL, Settings, Side, anew, job_for, steadiness

_SECONDS = 30.0
_HEAD = 4096  # bytes in which a record says what it is


def record(side: Side, output: str, settings: Settings = USUAL) -> Comparison:
    """Write a golden record of `side` to the file `output`; the answer is the model compared with itself.

    It is built twice, in two fresh processes: what would not be equal to itself is no reference, and nothing
    is written unless the answer is `equal`. Raises CkptAuditError where the checkpoint cannot be read or the
    record not be written.
    """
    _keep(output)
    checkpoint = read_at(side.path, settings.limits)
    with TemporaryDirectory(prefix="ckptaudit-") as folder:
        job = job_for(side, settings, checkpoint, os.path.join(folder, "one"))
        one, again = observe_all([job, anew(job, folder)])
        found = replace(steadiness(one, again), subject=side.path)
        if found.equal:
            with open(job.out, "rb") as file:
                write(output, file.read())
    return found


def record_model(
    model: Any, output: str, inputs: Any = None, *, threads: int = 1, seed: int = SEED
) -> Comparison:
    """Write a golden record of an nn.Module in hand to `output`, unless the answer is not `equal`.

    `inputs` as in `compare_models`. That a file determines the outputs is not looked into.
    """
    _keep(output)

    def given(module: Any, device: str) -> Any:
        return as_cases(inputs) if inputs is not None else derived(module, device, seed, _SECONDS)

    if inputs is not None and not all(map(is_flat, as_cases(inputs))):
        raise RecordError(output, "a record holds tensors and plain values, no containers of them")
    one = observe(model, given, Asked(threads=threads, seed=seed))
    from ckptaudit.verify.judge import judge

    found = judge(one, one)
    if found.equal:
        write(output, dump(one))
    return found


def _keep(output: str) -> None:
    """Refuse to write over a file that is no record: a checkpoint, say, where two names were mixed up."""
    if os.path.isfile(output) and os.path.getsize(output):
        with open(output, "rb") as file:
            if SCHEMA.encode("ascii") not in file.read(_HEAD):
                raise OutputError(
                    output, "is no golden record, and is not overwritten", remedy="remove it first"
                )
