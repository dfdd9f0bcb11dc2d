"""What torch and safetensors themselves say is in a file, as plain data to compare a reading with.

Loading runs what a pickle says: only for files that `fixtures/make.py` made, and the known wheels of
`fixtures/real.py`. Needs torch and safetensors.
"""

from __future__ import annotations

import json
import pickle
import re
import sys
import zipfile
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

LAZY = (UninitializedBuffer, UninitializedParameter)
FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

TensorPath = tuple[str | int, ...]
EMPTY: Mapping[int, str] = {}
# Where the classes are that `import torch` itself allows.
_ALLOWED_BY_TORCH = ("torch.nested._internal", "torch.distributed._mesh_layout")
Groups = frozenset[frozenset[TensorPath]]


class Seen(NamedTuple):
    """One tensor. `device` is the tag in the file, None where torch does not tell; lazy has no shape."""

    dtype: str
    shape: tuple[int, ...] | None
    stride: tuple[int, ...]
    offset: int
    device: str | None
    requires_grad: bool
    is_parameter: bool
    layout: str


@dataclass(frozen=True)
class Oracle:
    """The tensors of a file. `ties` view the same elements alike, `overlaps` share a storage otherwise."""

    tensors: Mapping[TensorPath, Seen]
    ties: Groups
    overlaps: Groups


class Place(NamedTuple):
    """Where a value hangs; inside an nn.Module that hangs at `root`, by dotted name."""

    root: TensorPath = ()
    dotted: str | None = None

    @property
    def path(self) -> TensorPath:
        return self.root if self.dotted is None else (*self.root, self.dotted)

    def below(self, key: object) -> Place:
        if self.dotted is not None:
            return Place(self.root, f"{self.dotted}.{key}" if self.dotted else str(key))
        step = key if isinstance(key, str | int) and not isinstance(key, bool) else str(key)
        return Place((*self.root, step))


def view(path: Path) -> Oracle:
    """What the loader for this kind of file says; the kind is told by the contents, sooner than by name."""
    if path.is_dir() or path.suffix == ".json":
        return sharded_view(path)
    if path.suffix == ".safetensors":
        return safetensors_view(path)
    names = _member_names(path)
    if any(name.endswith("/archive_format") for name in names):
        return export_view(path)
    if any(name.endswith("/constants.pkl") for name in names):
        return script_view(path)
    return pickle_view(path) if path.name.startswith("raw_") else torch_view(path)


def torch_view(path: Path) -> Oracle:
    """A file of torch.save, of any age. Classes that are not installed become stand-ins."""
    _import_systems()
    devices: dict[int, str] = {}
    storages = []  # kept, so that no address is used twice

    def on_cpu(storage: Any, tag: str) -> Any:
        storages.append(storage)
        devices[storage._cdata] = tag
        return storage

    try:
        loaded = _load(path, on_cpu)
    except RuntimeError:  # torch takes no callable where a tensor subclass is rebuilt
        devices.clear()
        loaded = _load(path, "cpu")
    return _oracle(tensors_of(loaded), devices)


def pickle_view(path: Path) -> Oracle:
    """A pickle that torch.save did not write."""
    _import_systems()
    return _oracle(tensors_of(pickle.loads(path.read_bytes())))


def safetensors_view(path: Path) -> Oracle:
    """A .safetensors file."""
    return _oracle({(name,): tensor for name, tensor in safetensors.torch.load_file(path).items()})


def sharded_view(path: Path) -> Oracle:
    """A folder with an index of shards, or the index itself: the tensors of all shards."""
    index = next(path.glob("*.index.json")) if path.is_dir() else path
    shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    views = [view(index.parent / shard) for shard in shards]
    return Oracle(
        {where: seen for one in views for where, seen in one.tensors.items()},
        frozenset().union(*(one.ties for one in views)),
        frozenset().union(*(one.overlaps for one in views)),
    )


def script_view(path: Path) -> Oracle:
    """A TorchScript file: parameters, buffers, and other attributes that are or hold tensors.

    Constants of the code are left out: torch numbers them anew for each method.
    """
    load: Callable[..., Any] = torch.jit.load
    module = load(str(path), map_location="cpu")
    parameters = {(name,) for name, _ in module.named_parameters(remove_duplicate=False)}
    found = _own_tensors(module, Place((), ""))
    declared = _declared_with_tensors(path)
    for name, part in module.named_modules(remove_duplicate=False):
        for attribute in declared:
            if part._c.hasattr(attribute):
                found |= tensors_of(getattr(part, attribute), Place((), name).below(attribute))
    return _oracle(found, parameters=parameters)


def export_view(path: Path) -> Oracle:
    """A .pt2 file: its state dict and its constants."""
    program = torch.export.load(path)
    held: dict[str, Any] = {**program.state_dict, **program.constants}
    return _oracle({(name,): value for name, value in held.items() if isinstance(value, Tensor)})


def weights_only_outcome(path: Path) -> bool:
    """Whether torch.load(weights_only=True) reads the file in a process that imported no more than torch.

    torch.distributed.tensor allows its own classes when it is imported, as loading a DTensor does.
    """
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(
        [each for each in allowed if getattr(each, "__module__", "").startswith(_ALLOWED_BY_TORCH)]
    )
    try:
        with mock.patch.dict(sys.modules):
            sys.modules.pop("torch.distributed.tensor", None)
            torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        return False
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed)
    return True


def tensors_of(value: object, place: Place | None = None) -> dict[TensorPath, Tensor]:
    """Every tensor in a loaded object, by the way that leads to it; shared ones once for each way."""
    found: dict[TensorPath, Tensor] = {}
    _walk(value, place or Place(), found, set())
    return found


class _StandIn:
    """An object of a class that cannot be imported: its arguments, and the state that it is given."""

    def __init__(self, *args: object, **options: object) -> None:
        self.args = args
        self.__dict__.update(options)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return type(name, (_StandIn,), {"__module__": module})


def _load(path: Path, map_location: Any) -> object:
    stands_in = SimpleNamespace(__name__="pickle", Unpickler=_Unpickler, load=pickle.load)
    return torch.load(path, map_location=map_location, weights_only=False, pickle_module=stands_in)


def _import_systems() -> None:
    """Make the classes that the full models name importable, as torch must import them."""
    if str(FIXTURES) not in sys.path:
        sys.path.append(str(FIXTURES))


def _member_names(path: Path) -> list[str]:
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _declared_with_tensors(path: Path) -> set[str]:
    """Attributes that the code of a TorchScript file declares with a type that says Tensor."""
    with zipfile.ZipFile(path) as archive:
        codes = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")]
    return {name for code in codes for name in re.findall(r"^  (\w+) : .*\bTensor\b", code, re.MULTILINE)}


def _walk(value: object, place: Place, found: dict[TensorPath, Tensor], active: set[int]) -> None:
    if isinstance(value, Tensor):
        found[place.path] = value
    if isinstance(value, Tensor) or id(value) in active:
        return
    active.add(id(value))
    for where, part in _parts(value, place, found):
        _walk(part, where, found, active)
    active.remove(id(value))


def _parts(value: object, place: Place, found: dict[TensorPath, Tensor]) -> Iterator[tuple[Place, object]]:
    if isinstance(value, nn.Module):
        inside = place if place.dotted is not None else Place(place.root, "")
        found |= _own_tensors(value, inside)
        for name, module in value.named_modules(remove_duplicate=False):
            owner = inside.below(name) if name else inside
            yield from ((owner.below(own), part) for own, part in _plain_attributes(module))
    elif isinstance(value, Mapping):
        yield from ((place.below(key), part) for key, part in value.items())
    elif isinstance(value, list | tuple | deque):
        yield from ((place.below(index), part) for index, part in enumerate(value))
    elif not isinstance(value, type | ModuleType | FunctionType | BuiltinFunctionType | MethodType):
        yield from ((place.below(name), part) for name, part in _attributes(value).items())


def _own_tensors(module: nn.Module, place: Place) -> dict[TensorPath, Tensor]:
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {place.below(name).path: tensor for name, tensor in named}


def _plain_attributes(module: nn.Module) -> Iterator[tuple[str, object]]:
    """What a module holds beside its parameters, buffers and modules.

    torch's own modules keep copies of references under private names (an LSTM's `_flat_weights`).
    """
    common, of_torch = vars(nn.Module()), type(module).__module__.startswith("torch.")
    for name, value in vars(module).items():
        if name not in common and not (of_torch and name.startswith("_")):
            yield name, value


def _attributes(value: object) -> dict[str, object]:
    slots = [name for cls in type(value).__mro__ for name in _slots(cls)]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**found, **getattr(value, "__dict__", {})}


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _oracle(
    tensors: Mapping[TensorPath, Tensor],
    devices: Mapping[int, str] = EMPTY,
    parameters: Collection[TensorPath] = (),
) -> Oracle:
    alike: dict[object, set[TensorPath]] = defaultdict(set)
    for path, tensor in tensors.items():
        if _storage_of(tensor) is not None and tensor.nbytes > 0:
            memory = _local(tensor)
            view = (memory.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
            alike[view].add(path)
    ties = frozenset(frozenset(group) for group in alike.values() if len(group) > 1)
    seen = {path: _seen(tensor, devices, path in parameters) for path, tensor in tensors.items()}
    return Oracle(seen, ties, _overlaps(tensors, list(alike.values())))


def _overlaps(tensors: Mapping[TensorPath, Tensor], views: list[set[TensorPath]]) -> Groups:
    """Groups of tensors on memory in common that at least two different views look at."""
    ranges = []
    for view in views:
        storage = _storage_of(tensors[next(iter(view))])
        if storage is not None:
            ranges.append((storage.data_ptr(), storage.data_ptr() + storage.nbytes(), view))
    groups: list[tuple[set[TensorPath], int]] = []
    end = 0
    for start, stop, view in sorted(ranges, key=lambda entry: entry[:2]):
        if start < end:
            group, count = groups[-1]
            groups[-1] = (group | view, count + 1)
        else:
            groups.append((set(view), 1))
        end = max(end, stop)
    return frozenset(frozenset(group) for group, count in groups if count > 1)


def _seen(tensor: Tensor, devices: Mapping[int, str], is_parameter: bool) -> Seen:
    lazy = isinstance(tensor, LAZY)
    strided = not lazy and tensor.layout == torch.strided
    storage = _storage_of(tensor)
    device = "meta" if tensor.device.type == "meta" else None
    return Seen(
        dtype=_word(tensor.dtype),
        shape=None if lazy else tuple(tensor.shape),
        stride=tensor.stride() if strided else (),
        offset=int(tensor.storage_offset()) if strided else 0,
        device=device if device or storage is None else devices.get(storage._cdata),
        requires_grad=tensor.requires_grad,
        is_parameter=is_parameter or isinstance(tensor, nn.Parameter),
        layout="strided" if lazy else _word(tensor.layout),
    )


def _word(thing: torch.dtype | torch.layout) -> str:
    return str(thing).removeprefix("torch.")


def _local(tensor: Tensor) -> Tensor:
    """The tensor that has the memory: a DTensor's is the part on this machine."""
    local = getattr(tensor, "_local_tensor", None)
    return local if isinstance(local, Tensor) else tensor


def _storage_of(tensor: Tensor) -> torch.UntypedStorage | None:
    """The memory behind a tensor; None where it has none of its own: lazy, sparse, meta, a bare wrapper."""
    tensor = _local(tensor)
    if isinstance(tensor, LAZY) or tensor.layout != torch.strided:
        return None
    try:
        storage = tensor.untyped_storage()
        return storage if storage.data_ptr() else None
    except (RuntimeError, NotImplementedError):
        return None
