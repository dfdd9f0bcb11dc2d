"""Names that pickles import, judged: what is inert, what runs code, and everything else.

`KNOWN` is an allow-list (the names stand in names_torch.py, names_stdlib.py and names_others.py), with the
families of classes that only hold what they are given. All else of the standard library is dangerous, and
so are the functions of torch and numpy; of what nobody here knows, the rest only ranks how bad a name is.
Names, never objects: nothing is imported to look at it.
"""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Final, Literal

from ckptaudit.readers.pickle.names_foreign import FOREIGN
from ckptaudit.readers.pickle.names_others import (
    ACTIVE,
    DANGEROUS_MODULES,
    DANGEROUS_NAMES,
    DANGEROUS_PACKAGES,
    FAMILIES_OTHERS,
    INERT_OTHERS,
    NUMPY_FUNCTIONS,
    TELLING,
)
from ckptaudit.readers.pickle.names_stdlib import INERT_STDLIB, SHADOWED, STDLIB
from ckptaudit.readers.pickle.names_torch import (
    COMPUTING,
    DANGEROUS_TORCH,
    DTYPE_NAMES,
    FAMILIES_TORCH,
    NO_OPERATIONS,
    OPERATIONS,
    WEIGHTS_ONLY,
    known_of_torch,
)

__all__ = ["DTYPE_NAMES", "KNOWN", "WEIGHTS_ONLY", "Verdict", "verdict"]

Verdict = Literal["known", "unknown", "dangerous"]


def _union() -> dict[str, frozenset[str]]:
    known = known_of_torch()
    for inert in (INERT_STDLIB, INERT_OTHERS):
        for module, names in inert.items():
            known[module] = known.get(module, frozenset()) | frozenset(names.split())
    return known


def _prefixes(modules: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{module}." for module in modules)


KNOWN: Final = _union() | {"builtins": frozenset([*INERT_STDLIB["builtins"].split(), "getattr"])}
_FAMILIES: Final = _prefixes(FAMILIES_TORCH + FAMILIES_OTHERS)
_DANGEROUS: Final = _prefixes(DANGEROUS_TORCH + DANGEROUS_MODULES)
_LIBRARIES: Final = ("torch", "numpy")

# Calls that hand out something else: calls.py and embedded.py follow them, and where they lead is judged.
RESOLVERS: Final = frozenset(
    {("pkgutil", "resolve_name"), ("pydoc", "locate"), ("importlib", "import_module")}
    | {(f"numpy.{core}", "_ufunc_reconstruct") for core in ("core", "_core")}
)
# Their result, called, fetches what the pickle asks for.
MAKERS: Final = frozenset(
    (module, name)
    for module in ("operator", "_operator")
    for name in ("attrgetter", "itemgetter", "methodcaller")
)
# How pickles spell types: `operator.getitem(typing.List, int)`, `type(None)`, `reduce(or_, [int, None])`.
SPELLERS: Final = frozenset(
    {("operator", "getitem"), ("_operator", "getitem"), ("builtins", "type")}
    | {("functools", "reduce"), ("_functools", "reduce")}
)
GETTERS: Final = (
    frozenset({("torch.storage", "_load_from_bytes"), ("builtins", "getattr")})
    | RESOLVERS
    | MAKERS
    | SPELLERS
)

_OPERATORS: Final = frozenset(
    {"__add__", "__and__", "__eq__", "__ge__", "__gt__", "__le__", "__lt__", "__matmul__", "__mod__"}
    | {"__mul__", "__ne__", "__neg__", "__or__", "__pow__", "__sub__", "__truediv__"}
)
# Calls that hand out what the process goes on to use, rather than something new.
LIVE: Final = frozenset(
    {("builtins", "getattr"), ("logging", "getLogger")}
    | {("torch.nn.backends.thnn", "_get_thnn_function_backend")}
)
# How classes are called that make other classes, open files, or listen, as soon as they are made.
_ACTIVE_ENDS: Final = ("Meta", "Store", "Server", "FileHandler", "FileLock", "TemporaryFile", "Manager")
# Known functions of other modules that pickles keep, and never call: to compute belongs to no checkpoint.
_COMPUTE: Final = frozenset({"numpy", "torch", "torch.functional", "torch.nn.functional", "torch.nn.init"})
_CALLED: Final = frozenset({"dtype", "device", "set_rng_state", "_reconstruct", "scalar"})
# Builtins that look into what they are given, and so call its methods.
_LOOKING: Final = frozenset({"str", "list", "tuple", "dict", "bytes", "sum", "any", "all", "len", "repr"})
# Methods that lazy modules keep as hooks, and schedulers as functions.
_METHODS: Final = frozenset(
    {"_infer_parameters", "_lazy_load_hook", "_triangular_scale_fn", "_triangular2_scale_fn"}
    | {"_exp_range_scale_fn", "_annealing_cos", "_annealing_linear", "_cosine_anneal", "_linear_anneal"}
)

_REBUILDERS: Final = frozenset(
    (module, name)
    for module in ("torch._tensor", "torch.tensor")
    for name in ("_rebuild_from_type", "_rebuild_from_type_v2")
)
_COPYREG: Final = frozenset(("copyreg", name) for name in ("_reconstructor", "__newobj__", "__newobj_ex__"))
# Known functions whose first argument is a class, of which they make an instance without calling it.
_INSTANTIATE: Final = (
    _COPYREG
    | {("torch._utils", "_rebuild_wrapper_subclass"), ("numpy.ma.core", "_mareconstruct")}
    | {("pandas.core.indexes.base", "_new_Index"), ("array", "_array_reconstructor")}
    | {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
    | {(f"numpy.{core}._multiarray_umath", "_reconstruct") for core in ("core", "_core")}
)  # fmt: skip
# Known functions that call what they are given, wherever it stands among their arguments.
_RUN: Final = (
    frozenset({("builtins", "iter"), ("builtins", "max"), ("builtins", "min"), ("builtins", "sorted")})
    | {("enum", name) for name in ("Enum", "Flag", "IntEnum", "IntFlag", "StrEnum")}  # they make classes
    | {("numpy.random._pickle", f"__{name}_ctor") for name in ("randomstate", "bit_generator", "generator")}
    | {("numpy.random.mtrand", "__randomstate_ctor"), ("torch.utils.checkpoint", "checkpoint")}
)  # fmt: skip
# Those that keep it, to be called by whoever calls their result.
_KEEP: Final = frozenset(
    {("functools", "partial"), ("_functools", "partial"), ("collections", "defaultdict")}
)

Role = Literal["", "class", "run", "rebuild", "keep"]


def role(module: str, name: str) -> Role:
    """What a known function does with a class or function among its arguments; "" for nothing."""
    key = (module, name)
    if key in _REBUILDERS:
        return "rebuild"
    if key in _INSTANTIATE:
        return "class"
    if key in _RUN or (module == "builtins" and name in _LOOKING):
        return "run"
    return "keep" if key in _KEEP else ""


def only_kept(module: str, name: str) -> bool:
    """Whether it is a function that honest pickles keep as a value and never call."""
    owner, dot, leaf = name.partition(".")
    if dot:
        return module == "torch._C" and owner in OPERATIONS and leaf.islower()
    if module in COMPUTING:
        return module != "torch.return_types"  # whose named tuples pickles make
    return module in _COMPUTE and name.islower() and _is_function(module, name)


def _is_function(module: str, name: str) -> bool:
    # Scalar types of numpy and dtypes of torch are written in lower case too; pickles do call some of them.
    if module == "numpy":
        return name in NUMPY_FUNCTIONS
    return name in KNOWN.get(module, ()) and name not in WEIGHTS_ONLY.get(module, ()) and name not in _CALLED


def calls_back(module: str, name: str) -> bool:
    """Whether `module.name` may call what it is given: some known functions do, all unknown ones may."""
    return bool(role(module, name)) or (module, name) in GETTERS or verdict(module, name) != "known"


def verdict(module: str, name: str) -> Verdict:
    """How far `module.name` can be trusted when a pickle imports or calls it.

    What hands out something else (GETTERS) counts as known: what it fetches is listed, and judged, as a
    name of its own. So does a class of a family, of which calls.py tells any use but plain instances.
    """
    if name.endswith("()"):
        return "dangerous"  # the result of a call that is called, or a call of what is only kept
    if name in KNOWN.get(module, ()) or in_family(module, name):
        return "known"
    parts = name.split(".")
    if _is_known_attribute(module, parts):
        return "known"
    if parts[0] == "torch" and len(parts) == 2 and module.startswith("torch."):
        return verdict(*parts)  # most modules of torch import it, and pickles find its values there
    if "__main__" in module.split(".")[1:]:
        return "dangerous"  # a program, which importing it runs
    if "?" in parts or any(_is_dunder(part) for part in parts):
        return "dangerous"
    top = module.partition(".")[0]
    if len(parts) > 1 and (module in KNOWN or top in _LIBRARIES or in_family(module, parts[0])):
        return "dangerous"  # an attribute of what is known may be anything: a method, a module it imports
    if top in STDLIB:
        return "unknown" if _is_users_own(module, parts) else "dangerous"
    if top == "torch" and name in FOREIGN:
        return "dangerous"  # by a way around the module that defines it, which no pickler takes
    if _is_dangerous(module, name, top) or not TELLING.isdisjoint(parts):
        return "dangerous"
    if top in _LIBRARIES and (module in _LIBRARIES or not is_class_name(name)):
        return "dangerous"
    return "unknown"


def in_family(module: str, name: str) -> bool:
    """Whether it is a class of which only plain instances are known to be inert."""
    dotted = f"{module}."
    return (
        dotted.startswith(_FAMILIES)
        and is_class_name(name)
        and name.isidentifier()
        and name not in FOREIGN
        and not is_active(name)
        and name not in KNOWN.get(module, ())
        and not dotted.startswith(_DANGEROUS)
    )


def is_class_name(name: str) -> bool:
    """Whether a name, or each part of a dotted one, is written as those of classes are."""
    return all(part.lstrip("_")[:1].isupper() for part in name.split("."))


def is_active(name: str) -> bool:
    """Whether a class of that name may do something as soon as it is made from text or numbers."""
    last = name.rpartition(".")[2]
    return last in ACTIVE or last in TELLING or (last.endswith(_ACTIVE_ENDS) and last != "TensorMeta")


def python3_name(module: str, name: str) -> tuple[str, str]:
    """The name that Python 3 imports for one written by Python 2: `_pickle` maps it below protocol 3."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


def _is_known_attribute(module: str, parts: list[str]) -> bool:
    """Operations of torch by the class that pickles fetch them from, hooks of lazy modules, enum members."""
    if len(parts) == 1:
        made = module.startswith("numpy.random.") and parts[0].startswith("__pyx_unpickle_")
        return made or (module in COMPUTING and parts[0][:1].islower())
    if len(parts) != 2:
        return False
    owner, leaf = parts
    if module == "torch._C" and owner in OPERATIONS:
        return (leaf[:1].islower() and leaf not in NO_OPERATIONS) or leaf in _OPERATORS
    if owner in KNOWN.get(module, ()) or in_family(module, owner):
        member = leaf.isupper() and is_class_name(owner) and leaf[:1] != "_"
        return member or (leaf in _METHODS and module.startswith("torch."))
    return False


# What CPython's own package `test` has besides test_*.py; importing some of it runs every test there is.
_OF_TEST: Final = ("__main__", "autotest", "libregrtest", "regrtest", "support", "test_", "_test")


def _is_dunder(part: str) -> bool:
    return part.startswith("__") and part.endswith("__") and len(part) > 4


def _is_users_own(module: str, parts: list[str]) -> bool:
    """Whether it is none of what the library's module of that name has: people write a test.py."""
    top, _, below = module.partition(".")
    if top not in SHADOWED or is_active(parts[0]):
        return False
    if below and top != "test":
        return True  # the library's is no package
    if below.startswith(_OF_TEST):
        return False
    return is_class_name(parts[0]) and (bool(below) or parts[0] not in SHADOWED[top])


def _is_dangerous(module: str, name: str, top: str) -> bool:
    return (
        top in DANGEROUS_PACKAGES
        or f"{module}.".startswith(_DANGEROUS)
        or (module, name) in DANGEROUS_NAMES
        or module == "copyreg._inverted_registry"
    )
