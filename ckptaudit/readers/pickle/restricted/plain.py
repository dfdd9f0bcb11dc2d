"""The builtins that torch's restricted unpickler calls: containers, complex numbers, encoded text.

They are followed on the plain values of a pickle. What Python would refuse is RefusedError.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from ckptaudit.readers.pickle.restricted.values import (
    Budget,
    Device,
    Layout,
    Made,
    RefusedError,
    Size,
    Tensor,
    UnsureError,
    is_int,
    kind_of,
    need,
    words,
)

_PLAIN: Final = (str, int, float, bool, bytes, type(None))
_LARGE: Final = 2**60  # below it, numbers hash to themselves
_DEEPEST: Final = 200
_UNHASHABLE: Final = (list, dict, set, bytearray, OrderedDict, Counter)
_ITERABLE: Final = (tuple, list, dict, set, str, bytes, bytearray, Size, OrderedDict, Counter)
_LAYOUTS: Final = frozenset(
    {"torch.strided", "torch.sparse_coo", "torch.sparse_csr", "torch.sparse_csc", "torch.sparse_bsr"}
    | {"torch.sparse_bsc", "torch._mkldnn", "torch.jagged"}
)
_DEVICES: Final = words(
    "cpu cuda ipu xpu mkldnn opengl opencl ideep hip ve fpga maia xla lazy vulkan mps meta hpu"
    " mtia privateuseone"
)
_MOST_INDEX: Final = 2**31 - 1
# Encodings of text that Python has built in, by their names as `encodings` spells them.
_ENCODINGS: Final = {
    **dict.fromkeys(("latin_1", "latin1", "latin", "l1", "8859", "cp819"), "latin-1"),
    **dict.fromkeys(("iso_8859_1", "iso8859_1", "iso8859", "iso_ir_100"), "latin-1"),
    **dict.fromkeys(("utf_8", "utf8", "utf", "u8", "cp65001"), "utf-8"),
    **dict.fromkeys(("ascii", "us_ascii", "646"), "ascii"),
    **dict.fromkeys(("utf_16", "utf16", "u16"), "utf-16"),
    **dict.fromkeys(("utf_32", "utf32", "u32"), "utf-32"),
}
_PUNCTUATION: Final = re.compile(r"[^a-z0-9.]+")
_ERRORS: Final = frozenset(
    {"strict", "ignore", "replace", "backslashreplace", "xmlcharrefreplace", "namereplace"}
    | {"surrogateescape", "surrogatepass"}
)


def hashable(key: Any, budget: Budget) -> Any:
    """`key`, if it may key a dict; UnsureError where Python would hash it forever, or many collide."""
    if type(key) in _PLAIN and not (type(key) is int and not -_LARGE < key < _LARGE):
        return key
    left = budget.key_nodes
    todo = [(key, 0)]
    while todo:
        part, depth = todo.pop()
        left -= 1
        if left < 0 or depth > _DEEPEST:
            raise UnsureError
        need(type(part) not in _UNHASHABLE, f"{kind_of(part)} as a key: it cannot be hashed")
        if isinstance(part, tuple):
            todo.extend((inner, depth + 1) for inner in part)
    budget.weak_keys -= 1
    if budget.weak_keys < 0:
        raise UnsureError
    return key


def unpacked(args: Any, budget: Budget) -> tuple[Any, ...]:
    """What `func(*args)` gives to the function: anything that can be iterated over serves."""
    if type(args) is tuple:
        return args
    if type(args) is Tensor:
        need(args.shape, "iterates over a tensor without dimensions")
        budget.spend(args.shape[0])
        return tuple(Tensor(args.dtype, args.shape[1:], args.memory) for _ in range(args.shape[0]))
    need(type(args) in _ITERABLE, f"{kind_of(args)} in place of arguments")
    budget.spend(len(args))
    return tuple(args)


def ordered_dict(args: tuple[Any, ...], budget: Budget) -> OrderedDict[Any, Any]:
    """collections.OrderedDict(*args)."""
    need(len(args) <= 1, f"OrderedDict of {len(args)} arguments")
    made: OrderedDict[Any, Any] = OrderedDict()
    if args:
        update(made, args[0], budget)
    return made


def counter(args: tuple[Any, ...], budget: Budget) -> Counter[Any]:
    """collections.Counter(*args)."""
    need(len(args) <= 1, f"Counter of {len(args)} arguments")
    made: Counter[Any] = Counter()
    if args and isinstance(args[0], dict):
        update(made, args[0], budget)
    elif args and args[0] is not None:
        for item in unpacked(args[0], budget):
            key = hashable(item, budget)
            made[key] = made.get(key, 0) + 1
    return made


def update(target: dict[Any, Any], source: Any, budget: Budget) -> None:
    """`target.update(source)`, of a mapping or of pairs."""
    if type(source) is Made:
        return
    if isinstance(source, dict):
        budget.spend(len(source))
        target.update(source)
        return
    for pair in unpacked(source, budget):
        two = unpacked(pair, budget)
        need(len(two) == 2, f"{len(two)} values in place of a key and a value")
        target[hashable(two[0], budget)] = two[1]


def make_set(args: tuple[Any, ...], budget: Budget) -> set[Any]:
    """set(*args)."""
    need(len(args) <= 1, f"set of {len(args)} arguments")
    return {hashable(item, budget) for item in unpacked(args[0], budget)} if args else set()


def make_bytearray(args: tuple[Any, ...], budget: Budget) -> bytearray:
    """bytearray(*args)."""
    need(len(args) <= 3, f"bytearray of {len(args)} arguments")
    if not args:
        return bytearray()
    first = args[0]
    if type(first) is str or len(args) > 1:
        need(len(args) > 1, "bytearray of a text without its encoding")
        return bytearray(_encoded(args, budget))
    if isinstance(first, int):
        need(0 <= first < 2**40, f"bytearray of {first} bytes")
        return bytearray(0)  # how long it is makes no difference to what follows
    if type(first) in (bytes, bytearray):
        return bytearray(first)
    items = unpacked(first, budget)
    need(
        all(isinstance(item, int) and 0 <= item < 256 for item in items),
        "bytearray of something else than bytes",
    )
    return bytearray(items)


def encode(args: tuple[Any, ...], budget: Budget) -> bytes:
    """_codecs.encode(*args): how bytes are written below protocol 3."""
    need(1 <= len(args) <= 3, f"encode with {len(args)} arguments")
    return _encoded(args, budget)


def _encoded(args: tuple[Any, ...], budget: Budget) -> bytes:
    text: Any
    text, *how = args
    need(type(text) is str and all(type(word) is str for word in how), "encode of something else than text")
    word = how[0] if how else "utf-8"
    name = _ENCODINGS.get(_PUNCTUATION.sub("_", word.lower()).strip("_"))
    if name is None:
        raise RefusedError(f"an encoding {word[:40]!r} of text")
    errors = how[1] if len(how) > 1 else "strict"
    try:
        made: bytes = text.encode(name, errors if errors in _ERRORS else "strict")
    except UnicodeEncodeError:
        raise RefusedError(f"text that cannot be encoded as {name}") from None
    return made


def make_complex(args: tuple[Any, ...], budget: Budget) -> complex:
    """complex(*args)."""
    need(len(args) <= 2, f"complex of {len(args)} arguments")
    if args and type(args[0]) is str:
        need(len(args) == 1, "complex of a text and a number")
    else:
        need(
            all(isinstance(part, int | float | complex) for part in args),
            "complex of something else than numbers",
        )
    try:
        return complex(*args)
    except (ValueError, OverflowError):
        raise RefusedError("complex of no number") from None


def make_size(args: tuple[Any, ...], budget: Budget) -> Size:
    """torch.Size(*args)."""
    need(len(args) <= 1, f"Size of {len(args)} arguments")
    items = unpacked(args[0], budget) if args else ()
    need(all(_is_size(item) for item in items), "a Size of something else than whole numbers")
    return Size(1 if type(item) is Tensor else int(item) for item in items)


def _is_size(item: Any) -> bool:
    if type(item) is Tensor:
        return item.numel == 1 and item.dtype.lstrip("u").startswith("int")
    return isinstance(item, int) and item in range(-(2**63), 2**63)


def make_device(args: tuple[Any, ...], budget: Budget) -> Device:
    """torch.device(*args): a name with or without its index; a bare number wants an accelerator here."""
    need(1 <= len(args) <= 2, f"device with {len(args)} arguments")
    name = args[0].decode("latin-1") if type(args[0]) is bytes else args[0]
    if type(name) is Device and len(args) == 1:
        return name
    need(type(name) is str, f"a device called by {kind_of(args[0])}")
    if len(args) == 2:
        need(is_int(args[1]) and args[1] >= 0, "a device whose index is no number")
        need(":" not in name, "a device with two indices")
    return Device(device_type(name))


def device_type(name: str) -> str:
    """The type in a name such as cuda:0, as c10::Device parses it."""
    kind, colon, index = name.partition(":")
    need(kind in _DEVICES, f"a device called {name[:40]!r}")
    if colon:
        number = index.isascii() and index.isdigit() and (index == "0" or not index.startswith("0"))
        need(number and len(index) <= 10 and int(index) <= _MOST_INDEX, f"a device called {name[:40]!r}")
    return kind


def get_layout(args: tuple[Any, ...], budget: Budget) -> Layout:
    """torch.serialization._get_layout(*args)."""
    need(len(args) == 1, f"_get_layout with {len(args)} arguments")
    name = hashable(args[0], budget)
    need(name in _LAYOUTS, "a layout that torch does not have")
    return Layout(name.removeprefix("torch."))


def truth(value: Any) -> bool:
    """bool(value), of what has an emptiness."""
    if type(value) is Tensor:
        need(value.numel <= 1, "the truth of a tensor of many elements")
        return True
    return bool(value) if type(value) in (*_ITERABLE, *_PLAIN, complex) else True


def items_of(value: Any, budget: Budget) -> Iterable[tuple[Any, Any]]:
    """value.items()."""
    if type(value) is Made:
        return ()
    need(isinstance(value, dict), f"{kind_of(value)} in place of a mapping")
    return value.items()  # type: ignore[no-any-return]


PLAIN_CALLS: Final[dict[str, Callable[[tuple[Any, ...], Budget], Any]]] = {
    "collections.OrderedDict": ordered_dict,
    "collections.Counter": counter,
    "builtins.set": make_set,
    "builtins.bytearray": make_bytearray,
    "builtins.complex": make_complex,
    "_codecs.encode": encode,
    "torch.Size": make_size,
    "torch.device": make_device,
    "torch.serialization._get_layout": get_layout,
}
