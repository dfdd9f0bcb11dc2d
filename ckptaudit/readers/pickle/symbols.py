"""What a pickle builds when nothing in it may run: names, calls that were never made, references.

Containers and scalars are Python's own (list, dict, set, tuple, str, int, ...); whatever an import or
a call would have made is one of the symbols below. Symbols compare and hash by identity.
"""

from __future__ import annotations

from typing import Any, Literal

# A "dense" call is a reduce whose arguments are known to be a storage, numbers and plain tuples of numbers.
How = Literal["reduce", "dense", "newobj", "newobj_ex", "inst", "obj"]
Use = Literal[How, "build", "build_none", "setitems", "append"]


class Global:
    """A name that the pickle would import. One instance a name, as an import gives one object.

    `position` and `width` are the first opcode that names it; `called` says whether the pickle calls it, or
    changes it in place, which can run code just as well; `instance` that each of these calls only makes a
    plain object (told of names that are not known). `hands_out` says that its result is another name,
    `calls_back` that it may call what it is given, and `role` how; `made_only` that it is known as long as it
    makes plain objects, `live` that its result is not the pickle's own.
    """

    __slots__ = (
        "called", "calls_back", "hands_out", "instance", "live", "made_only", "module", "name", "position",
        "role", "width",
    )  # fmt: skip

    def __init__(self, module: str, name: str, position: int, width: int) -> None:
        self.module = module
        self.name = name
        self.position = position
        self.width = width
        self.called = False
        self.instance = False
        self.hands_out = False
        self.calls_back = False
        self.made_only = False
        self.live = False
        self.role = ""


class Call:
    """A call that the pickle asks for: `func(*args)`, or `func.__new__(func, *args, **kwargs)`.

    `position` is that of its opcode, 0 where it was made in one step with others.

    Everything done to its result afterwards is kept in order of kind: `state` are the arguments of
    BUILD, `items` what was appended or added, `pairs` what was set by key. `called` says that the result is
    called in turn, `ran` that this does more than make a plain object.
    """

    __slots__ = ("__dict__", "args", "func", "how", "position")
    # Most calls have none of these: they are set where there is one.
    kwargs: Any = None
    state: list[Any] | None = None
    items: list[Any] | None = None
    pairs: dict[Any, Any] | None = None
    # What `state` comes to, and what that tells of a module, once somebody asked.
    attributes: dict[Any, Any] | None = None
    looked_at: Any = None
    called: bool = False
    ran: bool = False

    def __init__(self, func: Any, args: Any, position: int, how: How = "reduce") -> None:
        self.func = func
        self.args = args
        self.position = position
        self.how = how


class Persistent:
    """An object outside the pickle, named by `pid`: torch keeps its storages so."""

    __slots__ = ("pid",)

    def __init__(self, pid: Any) -> None:
        self.pid = pid


class PickleError(Exception):
    """The pickle stops making sense, or asks for more than a limit allows.

    `limit` is the name of the field of Limits that was reached, "" where the pickle itself is wrong;
    `truncated` says that more bytes could have helped.
    """

    def __init__(self, reason: str, *, limit: str = "", truncated: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.limit = limit
        self.truncated = truncated
