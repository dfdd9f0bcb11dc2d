"""Would torch.load(weights_only=True) of torch 2.13 return the object? And if not, what stands against it.

That is torch.load(path, map_location="cpu", weights_only=True) in a process that imported torch and no more.
Nearly every file is as torch.save writes state dicts and models, which `plain_verdict` sees at once; what is
not is followed opcode by opcode, as torch's own restricted unpickler would (restricted/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from ckptaudit.readers.draft import Draft
from ckptaudit.readers.miniz import ArchiveError, TorchArchive
from ckptaudit.readers.pickle.machine import Pickled
from ckptaudit.readers.pickle.memory import Stored
from ckptaudit.readers.pickle.policy import WEIGHTS_ONLY
from ckptaudit.readers.pickle.symbols import Call, Global, Persistent
from ckptaudit.source import Source

_SUFFIX: Final = ".safetensors"
_OTHER: Final = "torch.load takes a file whose name does not end in .safetensors for a pickle"
_SUFFIXED: Final = "torch.load hands files with this suffix to safetensors, which reads nothing else"
_ORDERED: Final = ("collections", "OrderedDict")
_REBUILD: Final = ("torch._utils", "_rebuild_tensor_v2")
_STORAGES: Final = {("torch", name) for name in WEIGHTS_ONLY["torch"] if name.endswith("Storage")}
_PARAMETER: Final = ("torch._utils", "_rebuild_parameter")
_SET: Final = ("builtins", "set")
_PLAIN: Final = {_ORDERED, _REBUILD, _PARAMETER, _SET, ("torch.storage", "UntypedStorage"), *_STORAGES}
_PLAIN_USES: Final = ("build", "setitems")
_FOREIGN_USES: Final = ("newobj", "build")
_HEAVY: Final = ("opcodes", "objects", "key_nodes", "weak_keys", "pickle_bytes")
_MOST_TOLD: Final = 20
_HARMLESS: Final = ("duplicate-name", "ambiguous-format", "limit-reached")  # to the library of safetensors
_NOT_TORCHS: Final = ("float6_e2m3", "float6_e3m2")


class Verdict(NamedTuple):
    """Whether torch returns the object, the names to allow for it, and what no allowing cures.

    It is None where a limit of ours kept it from being known.
    """

    accepted: bool | None
    to_allow: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


def refused(reason: str) -> Verdict:
    """The verdict on what torch refuses whatever it is allowed."""
    return Verdict(False, (), (reason,))


def settle(draft: Draft, verdict: Verdict) -> None:
    """Write the verdict into the draft. torch.load tells by its suffix alone what it hands to safetensors."""
    if draft.source.path.endswith(_SUFFIX) != (draft.format == "safetensors"):
        verdict = refused(_OTHER if draft.format == "safetensors" else _SUFFIXED)
    draft.weights_only, draft.to_allow, draft.refusals = verdict


def plain_verdict(draft: Draft, pickled: Pickled, memory: Stored, parts: int) -> Verdict | None:
    """The verdict on a pickle as torch.save writes state dicts and whole models; None where it is another.

    It makes dense tensors, parameters, ordered dicts, sets of names and objects of foreign classes only, and
    each of its tensors was looked at and lies in its storage. `parts` are those of a persistent id in this
    format.
    """
    odd = pickled.fault is not None or pickled.rare or pickled.oddities
    if draft.problems or odd or not memory.countable:
        return None
    foreign = {found for found in pickled.globals if (found.module, found.name) not in _PLAIN}
    if any(not _is_class(found) for found in foreign):
        return None
    for use, func in pickled.uses:
        ordered = type(func) is Global and (func.module, func.name) == _ORDERED
        if not (use in _PLAIN_USES if ordered else use in _FOREIGN_USES and func in foreign):
            return None
    if not _calls_are_plain(pickled, memory, parts, foreign) or _graded_numbers(draft, pickled):
        return None
    found = _with_names(Verdict(True), [pickled]) if foreign else Verdict(True)
    return found._replace(accepted=not found.to_allow)


def _is_class(found: Global) -> bool:
    # Of torch's own classes it is known what they do when they are made and given their state.
    theirs = found.module.startswith("torch.nn.") and found.module != "torch.nn.parameter"
    return theirs and found.name[:1].isupper() and found.name.isalnum()


def _calls_are_plain(pickled: Pickled, memory: Stored, parts: int, foreign: set[Global]) -> bool:
    dense, references, tensors = pickled.dense, set(), pickled.dense.count
    for func, maker in dense.makers:
        if (func.module, func.name) != _REBUILD or (maker.module, maker.name) != _ORDERED:
            return False
    if dense.count and dense.widths != {parts}:
        return False
    for call in pickled.calls:
        func = call.func
        name = (func.module, func.name) if type(func) is Global else None
        if name == _REBUILD and _is_dense(call, parts):
            references.add(id(call.args[0]))
            tensors += 1
        elif name == _PARAMETER and _is_parameter(call):
            tensors += 1
        elif not (_is_object(call) if func in foreign else _is_container(name, call)):
            return False
    return len(references) == pickled.references and len(memory.views) == tensors


def _is_object(call: Call) -> bool:
    return call.how == "newobj" and call.args == ()


def _is_container(name: tuple[str, str] | None, call: Call) -> bool:
    if name == _ORDERED:
        return call.args == () and all(type(state) is dict for state in call.state or ())
    names = call.args[0] if name == _SET and type(call.args) is tuple and len(call.args) == 1 else None
    return type(names) is list and all(type(item) is str for item in names)


def _is_parameter(call: Call) -> bool:
    args = call.args
    if type(args) is not tuple or len(args) != 3 or type(args[1]) is not bool or call.state is not None:
        return False
    made = args[0].func if type(args[0]) is Call else None
    return type(made) is Global and (made.module, made.name) == _REBUILD


def _is_dense(call: Call, parts: int) -> bool:
    args = call.args
    if type(args) is not tuple or len(args) != 6 or type(args[4]) is not bool or call.state is not None:
        return False
    pid: Any = args[0].pid if type(args[0]) is Persistent else ()
    plain = len(pid) == parts and pid[5:] in ((), (None,)) and type(pid[2]) is str and type(pid[3]) is str
    return plain and pid[0] == "storage" and all(type(size) is tuple for size in args[2:4])


def _graded_numbers(draft: Draft, pickled: Pickled) -> bool:
    """Whether a tensor might be one of whole numbers that requires a gradient: torch makes none."""
    if pickled.dense.graded or any(_asks_grad(call) for call in pickled.calls if call.args):
        return any(
            tensor.requires_grad is not False
            and "float" not in tensor.dtype
            and "complex" not in tensor.dtype
            for tensor in draft.tensors.values()
        )
    return False


def _asks_grad(call: Call) -> bool:
    args = call.args
    return bool(args[1:2] == (True,) if len(args) == 3 else args[4:5] == (True,))


def judge_safetensors(draft: Draft) -> Verdict:
    """The verdict on a file of safetensors, by the problems that its reader found."""
    # Of two tensors of one name the library takes the last; it refuses any other field that stands twice.
    faults = [
        problem.detail
        for problem in draft.problems
        if problem.code not in _HARMLESS or not all((key,) in draft.tensors for key in problem.keys)
    ]
    if any(tensor.dtype in _NOT_TORCHS for tensor in draft.tensors.values()):
        faults.append("a tensor of a dtype that torch does not have")
    if not faults and any(problem.code == "limit-reached" for problem in draft.problems):
        return Verdict(None)
    return Verdict(not faults, (), tuple(faults[:_MOST_TOLD]))


def judge_zip(draft: Draft, source: Source, pickled: Pickled) -> Verdict:
    """The verdict on a zip archive with this `data.pkl`, followed step by step."""
    from ckptaudit.readers.pickle.restricted.storages import Archived
    from ckptaudit.readers.pickle.restricted.unpickler import Unpickler
    from ckptaudit.readers.pickle.restricted.values import Budget, RefusedError

    try:
        archive = TorchArchive(source, draft.limits.pickle_bytes)
        archive.check()
        data = archive.read(b"data.pkl")
    except ArchiveError as error:
        return _with_names(refused(f"the file: {error}"), [pickled])
    budget = Budget(draft.limits)

    def size_of(record: str) -> int:
        try:
            return archive.size_of(record.encode())
        except (ArchiveError, UnicodeEncodeError) as error:
            raise RefusedError(f"storage {record[:80]!r}: {error}") from None

    def read(record: str) -> bytes:
        return archive.read(record.encode())

    storages = Archived(size_of, read, budget)
    return _follow(budget, [pickled], Unpickler(data, 0, budget, storages.load).run)


def judge_legacy(draft: Draft, source: Source, pickles: Sequence[Pickled]) -> Verdict:
    """The verdict on a legacy file whose `pickles` were read, followed step by step."""
    from ckptaudit.readers.pickle.restricted.legacy import load
    from ckptaudit.readers.pickle.restricted.values import Budget

    budget = Budget(draft.limits)
    return _follow(budget, pickles, lambda: load(source, draft.limits, budget))


def _follow(budget: Any, pickles: Sequence[Pickled], load: Callable[[], object]) -> Verdict:
    from ckptaudit.readers.pickle.restricted.values import RefusedError, UnsureError

    limit = next((each.fault.limit for each in pickles if each.fault is not None and each.fault.limit), "")
    rare = sorted(set().union(*(each.rare for each in pickles)))
    if rare:
        # The unpickler would stop at the first of them at the latest.
        opcodes = ", ".join(f"0x{opcode:02x}" for opcode in rare[:_MOST_TOLD])
        return _with_names(refused(f"opcodes that torch's restricted unpickler lacks: {opcodes}"), pickles)
    try:
        if limit in _HEAVY:
            raise UnsureError
        load()
    except RefusedError as error:
        return _with_names(Verdict(False, tuple(budget.to_allow), (str(error),)), pickles)
    except UnsureError:
        return _unsure(tuple(budget.to_allow), pickles)
    return Verdict(not budget.to_allow, tuple(budget.to_allow))


def _unsure(to_allow: tuple[str, ...], pickles: Sequence[Pickled]) -> Verdict:
    """What is known where a limit was reached: a name that is not allowed is refused, whatever follows it."""
    found = _with_names(Verdict(None, to_allow), pickles)
    if found.to_allow or found.refusals:
        left = "what follows the limit that was reached was not looked at"
        return Verdict(False, found.to_allow, (*found.refusals, left))
    return found


def _with_names(verdict: Verdict, pickles: Sequence[Pickled]) -> Verdict:
    """The verdict with all names of the pickles, those behind where torch stops too."""
    from ckptaudit.readers.pickle.restricted.names import BLOCKED, IMPORTED, is_allowed, shown

    to_allow, refusals = dict.fromkeys(verdict.to_allow), dict.fromkeys(verdict.refusals)
    for module, name in _names(pickles):
        if module in BLOCKED:
            refusals.setdefault(f"{module}.{name}: names of {module} are refused even when allowed")
        elif not is_allowed(f"{module}.{name}") and f"{module}.{name}" not in IMPORTED:
            to_allow.setdefault(shown(module, name))
    return Verdict(verdict.accepted, tuple(to_allow), tuple(refusals))


def _names(pickles: Sequence[Pickled]) -> Iterator[tuple[str, str]]:
    """The names of pickles as torch maps them, in the order of the file."""
    from ckptaudit.readers.pickle.restricted.names import mapped

    for pickled in pickles:
        for found in sorted(pickled.globals, key=lambda each: each.position):
            text = pickled.data[found.position : found.position + found.width]
            lines = text[1:].split(b"\n") if text.startswith(b"c") else []
            if len(lines) == 3:
                yield mapped(lines[0].decode("utf-8", "replace"), lines[1].decode("utf-8", "replace"))
            else:
                yield found.module, found.name
