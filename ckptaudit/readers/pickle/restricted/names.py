"""GLOBAL as torch's restricted unpickler resolves it: names it maps, blocks, knows, or asks to allow.

Source: `_read_global_instruction`, `_get_allowed_globals` and `_blocklisted_modules` of
torch/_weights_only_unpickler.py, and the mappings at the end of torch/_utils.py, of torch 2.13.
"""

from __future__ import annotations

from typing import Final

from ckptaudit.readers.pickle.policy import DTYPE_NAMES, WEIGHTS_ONLY
from ckptaudit.readers.pickle.restricted.values import Foreign, Named, NamedKind, words
from ckptaudit.readers.pickle.storageid import STORAGE_DTYPES

BLOCKED: Final = frozenset({"sys", "os", "posix", "nt"})
# What `import torch` itself has allowed, as a user would.
IMPORTED: Final = frozenset(
    {
        "torch.nested._internal.nested_tensor.NestedTensor",
        "torch.nested._internal.nested_tensor._rebuild_njt",
        "torch.distributed._mesh_layout._FlatLayout",
        "torch.distributed._mesh_layout._MeshLayout",
    }
)
# Mapped whatever the protocol; fewer names than `_pickle` maps below protocol 3.
_MODULES: Final = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "Queue": "queue",
    "repr": "reprlib",
    "_abcoll": "collections.abc",
    "UserDict": "collections",
    "UserList": "collections",
    "UserString": "collections",
    "whichdb": "dbm",
    "StringIO": "io",
    "cStringIO": "io",
}
_NAMES: Final = {
    ("__builtin__", "xrange"): ("builtins", "range"),
    ("__builtin__", "reduce"): ("functools", "reduce"),
    ("__builtin__", "intern"): ("sys", "intern"),
    ("__builtin__", "unichr"): ("builtins", "chr"),
    ("__builtin__", "unicode"): ("builtins", "str"),
    ("__builtin__", "long"): ("builtins", "int"),
    ("itertools", "izip"): ("builtins", "zip"),
    ("itertools", "imap"): ("builtins", "map"),
    ("itertools", "ifilter"): ("builtins", "filter"),
    ("itertools", "ifilterfalse"): ("itertools", "filterfalse"),
    ("itertools", "izip_longest"): ("itertools", "zip_longest"),
    ("UserDict", "IterableUserDict"): ("collections", "UserDict"),
    ("UserList", "UserList"): ("collections", "UserList"),
    ("UserString", "UserString"): ("collections", "UserString"),
    ("__builtin__", "basestring"): ("builtins", "str"),
    ("exceptions", "StandardError"): ("builtins", "Exception"),
    ("UserDict", "UserDict"): ("collections", "UserDict"),
}
_CLASSES: Final = words(
    "collections.OrderedDict collections.Counter torch.nn.parameter.Parameter torch.Size"
    " torch.Tensor torch.device builtins.bytearray builtins.set builtins.complex"
    " torch.storage.TypedStorage torch.storage.UntypedStorage"
)
_TENSOR_DTYPES: Final = {
    name.replace("Storage", "Tensor"): dtype for name, dtype in STORAGE_DTYPES.items() if dtype != "uint8"
} | {"ByteTensor": "uint8"}
_SHOWN: Final = "builtins."


def mapped(module: str, name: str) -> tuple[str, str]:
    """The name that torch looks up for the one in the file."""
    if (module, name) in _NAMES:
        return _NAMES[module, name]
    return _MODULES.get(module, module), name


def shown(module: str, name: str) -> str:
    """A name as torch's message asks to allow it: without `builtins`."""
    return f"{module}.{name}".removeprefix(_SHOWN)


def is_allowed(full: str) -> bool:
    """Whether torch knows the dotted name, or allows it from the start."""
    module, _, name = full.rpartition(".")
    return name in WEIGHTS_ONLY.get(module, ()) or full in IMPORTED


def resolve(module: str, name: str) -> Named | Foreign:
    """What torch pushes for a name that is already mapped: its own object, or one that must be allowed."""
    full = f"{module}.{name}"
    if not is_allowed(full) or full in IMPORTED:
        return Foreign(full)
    last = full.rpartition(".")[2]
    return Named(full, _kind(full, last), _dtype(last))


def _kind(full: str, last: str) -> NamedKind:
    if full in _CLASSES:
        return "class"
    if last.endswith("Storage"):
        return "storage type"
    if last.endswith("Tensor"):
        return "tensor type"
    if last.startswith("_") or full == "_codecs.encode":
        return "function"
    return "value"


def _dtype(last: str) -> str | None:
    if last in DTYPE_NAMES:
        return last
    return STORAGE_DTYPES.get(last) or _TENSOR_DTYPES.get(last)
