"""What was observed of one model, as plain data: a golden record is this, and so is a child's answer.

No torch here: two observations are judged by what they say, and by the digests of bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ckptaudit.verify.leaves import Leaf

Kind = Literal["parameter", "buffer", "unsaved"]


class Weight(NamedTuple):
    """One tensor that the model holds; `unsaved` are those that no state dict of it would hold.

    `digest` is the SHA-256 of its elements row by row. `source` is where the values came from:
    from_file, from_tie, from_init or computed; "" for a model in hand.
    """

    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    digest: str
    nan: int = 0
    negative_zero: int = 0
    source: str = ""


class Module(NamedTuple):
    """One module: its class, its flag before `eval()`, and its plain attributes, each as text.

    `code` is a digest of the code of `forward`, "" where it has none in Python. `late` says that it stays in
    train mode whatever `eval()` says.
    """

    cls: str
    training: bool
    config: Mapping[str, str]
    code: str = ""
    late: bool = False


class Event(NamedTuple):
    """A module is called, or returns: `digest` is that of its inputs, or of its outputs.

    `reads` are the tensors of the model that were read since the event before. `sample` are up to 64 numbers
    of every floating leaf, at even distances, and its largest magnitude.
    """

    kind: Literal["call", "return"]
    module: str
    digest: str
    reads: tuple[str, ...] = ()
    sample: tuple[tuple[float, tuple[float, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """How a checkpoint came into the model. `unloaded` are keys whose values could not be had, `lost` keys
    whose values in the file the model does not hold, `hooks` and `odd` attributes that
    the file names and the model has not;
    `suggested` are mappings that might help."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    lost_on_save: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    suggested: tuple[str, ...] = ()
    level: str = ""


@dataclass(frozen=True, slots=True)
class Checks:
    """What running one model several times showed.

    `repeat` and `seeds` name outputs that differ from run to run, and from seed to seed; `random` is the
    first module whose outputs do. `drawn` is whether forward draws random numbers. `changed` are tensors of
    the model that running it changed, and `inputs_changed` is whether it writes into its inputs. `constant`
    are outputs that no input changes, `not_finite` those without one finite number. `unread` are tensors that
    no function was seen to read, `dead` modules that give the same for all inputs, though they get different
    ones; `one_valued` is whether every input is one value again and again.

    `threads`, `batch` and `rounding` are the largest differences relative to max|y| between one thread and
    several, one row alone and among others, and weights moved by a unit in the last place; None: not
    measured. `rows_mix` is whether rows of a batch hang together, and `traced` whether the outputs stay the
    same while modules are watched.
    """

    repeat: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    random: str | None = None
    drawn: bool = False
    changed: tuple[str, ...] = ()
    inputs_changed: bool = False
    constant: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    one_valued: bool = False
    threads: float | None = None
    batch: float | None = None
    rounding: float | None = None
    rows_mix: bool = False
    traced: bool = True


@dataclass(frozen=True, slots=True)
class Observation:
    """All that was seen of one model. `cannot` says why it did not run; then there are no outputs.

    `inputs` and `outputs` hold the leaves of every case; those of inputs are named `0`, `1` or by keyword.
    """

    environment: Mapping[str, Any]
    settings: Mapping[str, Any]
    weights: Mapping[str, Weight]
    ties: tuple[tuple[str, ...], ...] = ()
    modules: Mapping[str, Module] = field(default_factory=dict)
    load: Load | None = None
    inputs: tuple[tuple[Leaf, ...], ...] = ()
    outputs: tuple[tuple[Leaf, ...], ...] = ()
    trace: tuple[tuple[Event, ...], ...] = ()
    checks: Checks = field(default_factory=Checks)
    cannot: str = ""
