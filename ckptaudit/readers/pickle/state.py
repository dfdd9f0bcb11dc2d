"""The state of one run of the pickle machine, and what may be done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ckptaudit.limits import Limits
from ckptaudit.readers.pickle.instances import makes_instance
from ckptaudit.readers.pickle.policy import (
    GETTERS,
    LIVE,
    calls_back,
    in_family,
    only_kept,
    python3_name,
    role,
    verdict,
)
from ckptaudit.readers.pickle.symbols import Call, Global, How, PickleError, Use

_PLAIN = (str, int, bytes, type(None), float, bool)  # keys that are hashed by their own value
_LARGE = 2**60  # below it, numbers hash to themselves
_ODDITIES = 1000
_UNHASHABLE = frozenset({"OrderedDict", "Counter", "defaultdict", "dict", "list", "set", "bytearray"})


class State:
    """One run over `data`: position, stacks, memo, and what was seen on the way."""

    def __init__(
        self, data: bytes, start: int, limits: Limits, persistent: Callable[[object], object]
    ) -> None:
        self.data = data
        self.pos = start
        self.limits = limits
        self.persistent = persistent
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}
        self.names: dict[tuple[str, str], Global] = {}
        self.indirect: list[Call] = []
        self.calls: list[Call] = []
        self.planted: list[Any] = []  # what is put into classes and functions themselves
        self.sensitive = False  # a name was imported that is not known to be inert
        self.uses: set[tuple[Use, object]] = set()
        self.rare: set[int] = set()
        # What torch's pickler never writes: where first, and whether it is hostile or merely old.
        self.oddities: dict[str, tuple[int, bool]] = {}
        self.references = 0  # persistent ids, but for those of dense calls
        self.weak_keys = 0
        self.protocol = 0
        self.frame_end = 0
        self.objects = 0
        self.result: Any = None

    def take(self, nbytes: int) -> bytes:
        """The next `nbytes` bytes; moves past them."""
        end = self.pos + nbytes
        if end > len(self.data) or self.pos < self.frame_end < end:
            raise PickleError("the pickle ends before its STOP", truncated=True)
        taken = self.data[self.pos : end]
        self.pos = end
        return taken

    def line(self) -> bytes:
        """The text up to the next newline; moves past it."""
        cap = self.limits.name_bytes
        end = self.data.find(b"\n", self.pos, self.pos + cap + 1)
        if end < 0 and len(self.data) - self.pos > cap:
            raise PickleError(f"a line of more than {cap:,} bytes", limit="name_bytes")
        if end < 0:
            raise PickleError("the pickle ends before its STOP", truncated=True)
        text = self.data[self.pos : end]
        self.pos = end + 1
        return text

    def pop(self) -> Any:
        """The top of the stack; what lies below a MARK is out of reach."""
        if not self.stack:
            raise underflow()
        return self.stack.pop()

    def top(self) -> Any:
        """The top of the stack, left there."""
        if not self.stack:
            raise underflow()
        return self.stack[-1]

    def pop_mark(self) -> list[Any]:
        """Everything since the last MARK."""
        if not self.outer:
            raise PickleError("no MARK to go back to")
        items = self.stack
        self.stack = self.outer.pop()
        return items

    def push_global(self, module: str, name: str, start: int) -> None:
        """Push the name `module.name`, mapped from Python 2 as `_pickle` does below protocol 3."""
        if self.protocol < 3:
            module, name = python3_name(module, name)
        found = self.names.get((module, name))
        if found is None:
            if len(module) + len(name) > self.limits.name_bytes:
                raise PickleError(f"a name of {len(module) + len(name):,} characters", limit="name_bytes")
            found = self.names[module, name] = Global(module, name, start, self.pos - start)
            found.hands_out = (module, name) in GETTERS
            found.calls_back = calls_back(module, name)
            found.made_only = in_family(module, name) or only_kept(module, name)
            found.role = role(module, name)
            found.live = (module, name) in LIVE
            self.sensitive = (
                self.sensitive
                or found.hands_out
                or found.made_only
                or found.role == "run"
                or verdict(module, name) != "known"
            )
            if len(self.names) > self.limits.globals:
                raise PickleError(f"more than {self.limits.globals:,} names", limit="globals")
        self.stack.append(found)

    def push_call(self, func: Any, args: Any, how: How, start: int) -> Call:
        """Push the result of a call that is not made."""
        call = Call(func, args, start, how)
        if type(func) is not Global:
            self.indirect.append(call)
            func.called = True
            if not func.ran:
                func.ran = not makes_instance(call)
        else:
            func.called = True
            if (
                func.hands_out
                or (func.calls_back and type(args) is not tuple)
                or (func.made_only and not makes_instance(call))
            ):
                self.indirect.append(call)
        self.calls.append(call)
        if how != "reduce":
            self.uses.add((how, func if type(func) is Global else None))
        self.objects += 3
        self.stack.append(call)
        return call

    def hashable(self, key: Any) -> Any:
        """`key`, if it may key a dict; a PickleError where Python would refuse it, or hash it forever.

        Hashes of text are salted, those of numbers are not: a file can choose numbers that all collide.
        """
        if type(key) is int and -_LARGE < key < _LARGE:
            return key
        if type(key) in _PLAIN and type(key) is not int:
            return key
        weak = False
        budget = self.limits.key_nodes
        todo = [(key, 0)]
        while todo:
            part, depth = todo.pop()
            budget -= 1
            if budget < 0 or depth > self.limits.depth:
                raise PickleError("a dict key of many parts, or of parts nested deeply", limit="key_nodes")
            made = type(part) is Call and type(part.func) is Global and part.func.name in _UNHASHABLE
            if made or type(part) in (list, dict, set, bytearray):
                raise PickleError(f"a {type(part).__name__} as a dict key or set member: unhashable")
            weak = weak or type(part) not in (str, bytes, tuple, frozenset)
            if type(part) is tuple or type(part) is frozenset:
                todo.extend((inner, depth + 1) for inner in part)
        self.weak_keys += weak
        if self.weak_keys > self.limits.weak_keys:
            raise PickleError("many dict keys of large or nested numbers", limit="weak_keys")
        return key

    def set_items(self, target: Any, pairs: list[Any]) -> None:
        """`target[key] = value` for each two of `pairs`."""
        if type(target) is dict:
            into = target
        elif type(target) is Call:
            if target.pairs is None:
                target.pairs = {}
                self.objects += 6
            self.use("setitems", target)
            self._change_late(target)
            into = target.pairs
        elif type(target) is Global:
            self.plant(target, "sets items of", pairs)
            return
        elif type(target) in (list, bytearray):
            self.use("setitems", target)
            self._set_places(target, pairs)
            return
        else:
            raise PickleError(f"sets items of a {type(target).__name__}")
        if not into:
            self.objects += 3  # its table
        for index in range(0, len(pairs), 2):
            key = pairs[index]
            into[key if type(key) is str else self.hashable(key)] = pairs[index + 1]

    def extend(self, target: Any, items: list[Any]) -> None:
        """Append `items` to `target`."""
        if type(target) is list:
            target.extend(items)
        elif type(target) is bytearray:
            self._set_places(target, items, at_end=True)
        elif type(target) is Call:
            if target.items is None:
                target.items = []
                self.objects += 6
            self.use("append", target)
            self._change_late(target)
            target.items.extend(items)
        elif type(target) is Global:
            self.plant(target, "appends to", items)
        else:
            raise PickleError(f"appends to a {type(target).__name__}")

    def _set_places(self, target: Any, items: list[Any], *, at_end: bool = False) -> None:
        """Set items of a list or bytearray by their index, or add numbers to the end of a bytearray."""
        try:
            if at_end:
                target.extend(items)
                return
            for index, value in zip(items[::2], items[1::2], strict=True):
                if not isinstance(index, int):
                    raise PickleError(f"sets items of a {type(target).__name__} by no index")
                target[index] = value
        except (TypeError, ValueError, IndexError) as error:
            raise PickleError(f"changes a {type(target).__name__} where it cannot ({error})") from None

    def _change_late(self, target: Call) -> None:
        # Picklers set the state of an object last: what is changed after it may call what was put there.
        if target.state is not None:
            self.planted += target.state

    def plant(self, target: Global, what: str, value: Any) -> None:
        """Note that the pickle puts `value` into what it imports: that can run code as well as a call can."""
        target.called = True
        self.planted.append(value)
        self.odd(self.pos, f"{what} {target.module}.{target.name} itself", hostile=True)

    def odd(self, position: int, what: str, *, hostile: bool = False) -> None:
        """Note what torch's pickler never writes; the same again is not noted again."""
        if what not in self.oddities and len(self.oddities) < _ODDITIES:
            self.oddities[what] = position, hostile

    def use(self, use: Use, target: Any) -> None:
        """Note what is done with an object, by the name that made it where one did."""
        made = type(target) is Call and type(target.func) is Global
        self.uses.add((use, target.func if made else None))

    def salvage(self) -> Any:
        """The outermost object under construction when a fault came, with what was ready to go into it."""
        while self.outer:
            items = self.pop_mark()
            if self.stack and not _fold(self.stack[-1], items):
                self.stack.pop()  # a call whose arguments were cut off
        return self.stack[0] if self.stack else None


def _fold(target: Any, items: list[Any]) -> bool:
    """Put `items` into the container that they were meant for; False where it is none."""
    if type(target) is list:
        target.extend(items)
    elif type(target) is dict or type(target) is Call:
        if type(target) is Call:
            target.pairs = target = target.pairs or {}
        for key, value in zip(items[::2], items[1::2], strict=False):
            if type(key) in _PLAIN:
                target[key] = value
    else:
        return False
    return True


def underflow() -> PickleError:
    """The stack holds too little, or a MARK is in the way."""
    return PickleError("stack underflow: an opcode wants more than was pushed")
