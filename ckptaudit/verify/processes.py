"""Observations made in processes of their own: one for each, started side by side where memory allows it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ckptaudit.isolated import ChildError, target
from ckptaudit.isolated.process import ask
from ckptaudit.limits import Limits
from ckptaudit.locate import split
from ckptaudit.verify.facts import Observation
from ckptaudit.verify.observe import SEED
from ckptaudit.verify.records import load

SECONDS = 300.0
_CHILD = "ckptaudit.verify.child"
_TIMES = 4  # memory of a process, in sizes of its checkpoint
_OWN = 2**29  # and of torch itself


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to observe, and the file that it writes.

    `build_seed` is for what the code draws while it builds the model, and for hashes; `fill` has NaN put into
    memory that it leaves as it gets it. `inputs` is one of {"record": path}, {"file": path} and
    {"specs": [...]}; where there are none, inputs are derived.
    """

    path: str
    out: str
    model: str | None = None
    maps: tuple[str, ...] = ()
    device: str = "cpu"
    dtype: str | None = None
    threads: int = 1
    seed: int = SEED
    build_seed: int = 1
    fill: bool = False
    inputs: dict[str, Any] = field(default_factory=lambda: {"specs": []})
    reference: str = ""
    seconds: float = SECONDS
    nbytes: int = 0
    limits: Limits = field(default_factory=Limits)


def observe_all(jobs: Sequence[Job]) -> list[Observation]:
    """The observation of each job; one that could not be made says why in `cannot`."""
    if len(jobs) < 2 or not _fit(jobs):
        return [observe_in_child(job) for job in jobs]
    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(observe_in_child, jobs))


def observe_in_child(job: Job) -> Observation:
    """The observation that a new process makes. Raises ChildError where `model` names no code."""
    model = None if job.model is None else target(job.model, job.model)
    request = {
        # Absolute: the model's code may go to another folder.
        "path": _absolute(job.path),
        "out": os.path.abspath(job.out),
        "model": model,
        "maps": list(job.maps),
        "device": job.device,
        "dtype": job.dtype,
        "threads": job.threads,
        "seed": job.seed,
        "build_seed": job.build_seed,
        "fill": job.fill,
        "inputs": job.inputs,
        "reference": os.path.abspath(job.reference) if job.reference else "",
        "seconds": job.seconds,
        "limits": asdict(job.limits),
    }
    try:
        # Sets of texts have another order for each seed of their hashes.
        environment = {"PYTHONHASHSEED": str(job.build_seed)}
        ask(_CHILD, request, job.model or job.path, job.seconds, environment=environment)
    except ChildError as error:
        told = f"{error.reason}; {error.remedy}" if error.remedy else error.reason
        return Observation({}, {}, {}, cannot=told)
    return load(job.out)


def _absolute(location: str) -> str:
    file, name = split(location)
    return f"{os.path.abspath(file)}::{name}" if name else os.path.abspath(file)


def with_values(found: Observation, job: Job) -> Observation:
    """The observation with the tensors that the process wrote."""
    return found if found.cannot else replace(found, **_tensors(load(job.out, values=True)))


def _tensors(found: Observation) -> dict[str, Any]:
    return {"inputs": found.inputs, "outputs": found.outputs}


def _fit(jobs: Iterable[Job]) -> bool:
    """Whether all have room in memory at once."""
    needed = sum(_TIMES * job.nbytes + _OWN for job in jobs)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return False
    return needed < free
