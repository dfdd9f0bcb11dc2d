"""A checkpoint against a golden record, or against another checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

from ckptaudit.errors import CkptAuditError
from ckptaudit.limits import Limits
from ckptaudit.locate import read_at
from ckptaudit.model import Checkpoint
from ckptaudit.verify.cases import parse
from ckptaudit.verify.comparison import INCOMPLETE, Comparison
from ckptaudit.verify.facts import Observation
from ckptaudit.verify.judge import judge
from ckptaudit.verify.observe import SEED
from ckptaudit.verify.processes import SECONDS, Job, observe_all, with_values
from ckptaudit.verify.records import load


class InputError(CkptAuditError):
    """What is said about inputs makes no sense."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models: a checkpoint, the code that builds its model (None: the file tells), renamings,
    and where it runs, in which floating dtype."""

    path: str
    model: str | None = None
    maps: tuple[str, ...] = ()
    device: str = "cpu"
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What both are run with: `inputs` as text (`2x20:float32`) or in a file; else they are derived."""

    inputs: tuple[str, ...] = ()
    inputs_file: str | None = None
    threads: int = 1
    seed: int = SEED
    seconds: float = SECONDS
    limits: Limits | None = None


USUAL = Settings()


def verify_record(side: Side, record: str, settings: Settings = USUAL) -> Comparison:
    """`side` against a golden record: its inputs, seeds and number of threads are used.

    Raises CkptAuditError where the checkpoint or the record cannot be read.
    """
    reference = load(record)
    checkpoint = read_at(side.path, settings.limits)
    own = reference.settings
    settings = replace(settings, threads=int(own["threads"]), seed=int(own["seed"]))
    with TemporaryDirectory(prefix="ckptaudit-") as folder:
        job = replace(
            job_for(side, settings, checkpoint, os.path.join(folder, "one")),
            inputs={"record": os.path.abspath(record)},
            reference=os.path.abspath(record),
        )
        jobs = [job, replace(anew(job, folder), reference="")]
        one, again = observe_all(jobs)
        found = judge(one, reference, again, fresh=True)
        if not found.equal:  # numbers are only looked at where bits differ
            found = judge(
                with_values(one, jobs[0]), load(record, values=True), with_values(again, jobs[1]), True
            )
    return _named(found, side.path, record, checkpoint)


def verify_against(side: Side, other: Side, settings: Settings = USUAL) -> Comparison:
    """`side` against `other`, the reference, on inputs that suit `side`.

    Raises CkptAuditError where one of the checkpoints cannot be read.
    """
    checkpoint, there = (read_at(each.path, settings.limits) for each in (side, other))
    with TemporaryDirectory(prefix="ckptaudit-") as folder:
        job = job_for(side, settings, checkpoint, os.path.join(folder, "one"))
        (one,) = observe_all([job])
        if one.cannot:
            return _named(judge(one, one), side.path, other.path, checkpoint)
        inputs = {"record": job.out}
        jobs = [
            replace(anew(job, folder), inputs=inputs),
            replace(
                job_for(other, settings, there, os.path.join(folder, "other")),
                build_seed=3,
                fill=True,
                inputs=inputs,
                reference=job.out,
            ),
        ]
        again, reference = observe_all(jobs)
        found = judge(one, reference, again, fresh=True)
        if not found.equal:
            filled = [with_values(*each) for each in zip((one, again, reference), (job, *jobs), strict=True)]
            found = judge(filled[0], filled[2], filled[1], True)
    found = _named(found, side.path, other.path, checkpoint)
    return _named(found, side.path, other.path, there)


def job_for(side: Side, settings: Settings, checkpoint: Checkpoint, out: str) -> Job:
    """The job of observing one side."""
    return Job(
        path=side.path,
        out=out,
        model=side.model,
        maps=side.maps,
        device=side.device,
        dtype=side.dtype,
        threads=settings.threads,
        seed=settings.seed,
        inputs=_inputs(settings),
        seconds=settings.seconds,
        nbytes=checkpoint.nbytes,
        limits=settings.limits or Limits(),
    )


def anew(job: Job, folder: str) -> Job:
    """The same, built from other random numbers."""
    return replace(job, build_seed=2, fill=True, out=os.path.join(folder, "again"))


def _inputs(settings: Settings) -> dict[str, Any]:
    if settings.inputs and settings.inputs_file:
        raise InputError("--input", "and --inputs exclude each other")
    if settings.inputs_file:
        return {"file": os.path.abspath(settings.inputs_file)}
    return {"specs": specs(settings.inputs)}


def specs(texts: Iterable[str]) -> list[list[Any]]:
    """The inputs that `texts` describe, for a process. Raises InputError where one is none."""
    try:
        return [[*each] for each in map(parse, texts)]
    except ValueError as error:
        raise InputError("--input", str(error)) from None


def _named(found: Comparison, subject: str, reference: str, checkpoint: Checkpoint) -> Comparison:
    """With the names of both; a file of which a part could not be read is not equal to anything."""
    found = replace(found, subject=subject, reference=reference)
    lacking = [problem.detail for problem in checkpoint.problems if problem.incomplete]
    if not lacking or not (found.equal or found.close):
        return found
    reason = f"{checkpoint.path} was not read completely: {lacking[0]}"
    return replace(found, verdict=INCOMPLETE, reason=reason)


def steadiness(one: Observation, again: Observation) -> Comparison:
    """A model against itself, built anew: equal where it can be recorded."""
    return judge(one, one, again, fresh=True)
