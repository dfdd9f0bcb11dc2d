"""What a checkpoint is, once read: frozen data that holds no opinion and opens no file.

Shapes, strides and offsets count elements the way torch counts them; sizes (`nbytes`) and positions
(`Span`) count bytes. Every string can come from a hostile file: escape it before printing.

What a checkpoint has by the ten thousand are named tuples: as frozen as a frozen dataclass, and made in
a fifth of its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Path = tuple[str | int, ...]
Kind = Literal["parameter", "buffer", "tensor", "lazy"]
Role = Literal["model", "ema", "optimizer", "other"]
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})

# Bits per element of every dtype that torch 2.13 or safetensors 0.8 can save, under torch's word.
# `float4_e2m1fn_x2` packs two numbers into the byte that torch counts as one element.
DTYPE_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "float64": 64,
        "float32": 32,
        "float16": 16,
        "bfloat16": 16,
        "complex128": 128,
        "complex64": 64,
        "complex32": 32,
        "int64": 64,
        "int32": 32,
        "int16": 16,
        "int8": 8,
        "uint64": 64,
        "uint32": 32,
        "uint16": 16,
        "uint8": 8,
        "bool": 8,
        "float8_e4m3fn": 8,
        "float8_e4m3fnuz": 8,
        "float8_e5m2": 8,
        "float8_e5m2fnuz": 8,
        "float8_e8m0fnu": 8,
        "float4_e2m1fn_x2": 8,
        "float6_e2m3": 6,
        "float6_e3m2": 6,
        "quint8": 8,
        "qint8": 8,
        "qint32": 32,
        "quint4x2": 8,
        "quint2x4": 8,
        "bits1x8": 8,
        "bits2x4": 8,
        "bits4x2": 8,
        "bits8": 8,
        "bits16": 16,
        **{f"{sign}int{bits}": 8 for sign in ("", "u") for bits in range(1, 8)},
    }
)


def bytes_of(dtype: str, shape: tuple[int, ...] | None, layout: str = "strided") -> int:
    """Bytes of so many elements; 0 for a lazy shape, an unknown dtype, or a layout that keeps only some."""
    if shape is None or layout.startswith("sparse"):
        return 0
    return prod(shape) * DTYPE_BITS.get(dtype, 0) // 8


class Span(NamedTuple):
    """Where bytes lie: `nbytes` bytes of `file` from byte `start`."""

    file: str
    start: int
    nbytes: int


class Storage(NamedTuple):
    """A run of memory that tensors view. `span` is None where the file holds no bytes for it (meta)."""

    id: str
    dtype: str | None
    device: str
    nbytes: int
    span: Span | None


class TensorMeta(NamedTuple):
    """One tensor as it hangs in the saved object.

    `path` leads to it from the saved object: ("model", "conv1.weight"); `key` is its name inside its
    state dict: "conv1.weight". The same `storage` id means the same memory. A lazy parameter has no
    shape yet (None).
    """

    path: Path
    key: str
    dtype: str
    shape: tuple[int, ...] | None
    stride: tuple[int, ...]
    offset: int
    storage: str
    kind: Kind = "tensor"
    requires_grad: bool | None = None
    layout: str = "strided"
    subclass: str | None = None

    @property
    def numel(self) -> int:
        """Number of elements; 0 for a lazy parameter."""
        return 0 if self.shape is None else prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements themselves, whatever the storage behind them weighs.

        0 for a sparse layout: its shape tells nothing of how many elements are kept.
        """
        return bytes_of(self.dtype, self.shape, self.layout)


class Hook(NamedTuple):
    """A hook of a module: when it is called, what is called, and what it keeps that is plain."""

    kind: str
    name: str
    settings: Mapping[str, object] = _NOTHING


class ModuleMeta(NamedTuple):
    """One module. What follows `path` is known only where the file holds it (full modules, TorchScript).

    `config` are its plain attributes, a function or class among them by its dotted name; `private` those
    whose names begin with an underscore, without what torch.nn.Module keeps for itself; in an exported
    program, the `operator` that the module is. `odd` are the names of attributes that are no plain values:
    objects, functions, and containers of such. `alias` is the path at which the same module hangs first,
    where this is another one.
    """

    path: str
    cls: str | None = None
    config: Mapping[str, object] | None = None
    training: bool | None = None
    version: int | None = None
    hooks: tuple[Hook, ...] = ()
    odd: tuple[str, ...] = ()
    private: Mapping[str, object] = _NOTHING
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class StateDict:
    """A mapping of names to tensors found at `root`; `modules` by dotted path, "" being the model itself."""

    root: Path
    role: Role
    modules: Mapping[str, ModuleMeta] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GlobalRef:
    """A name that a pickle would import, and whether it would call it. `span` is the opcode that names it.

    `instance` says that every call of it is one by which pickles make plain objects: `cls.__new__(cls)`,
    whose arguments, if any, are scalars. Any other call may run anything that bears the name.
    """

    module: str
    name: str
    called: bool
    span: Span
    instance: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong that a reader saw. `code` is the name of the rule that judges it.

    `incomplete` says that what was read stops short of what the file holds; `keys` are the tensors, members
    or names that it is about, where it is about some.
    """

    code: str
    detail: str
    span: Span | None = None
    incomplete: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything read from one checkpoint, in the order of the file.

    `weights_only` is whether torch.load(weights_only=True) returns it (None: unknown). Where it does not,
    `to_allow` are the names that torch.serialization.add_safe_globals would have to be given, and `refusals`
    what else stands against it, which allowing names does not cure.
    """

    path: str
    format: str
    files: tuple[Span, ...]
    tensors: Mapping[Path, TensorMeta]
    storages: Mapping[str, Storage]
    state_dicts: tuple[StateDict, ...] = ()
    extras: Mapping[Path, object] = field(default_factory=dict)
    globals: tuple[GlobalRef, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    weights_only: bool | None = None
    to_allow: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all files of the checkpoint together."""
        return sum(span.nbytes for span in self.files)
