"""One versioned JSON document for programs, written in pieces.

It is plain ASCII whatever the names hold: a lone surrogate becomes its escape. Numbers that JSON or its
readers cannot take (not finite, or of thousands of digits) are written as text. Rows are put together
by hand because json.dumps takes several times as long for the rows of a large checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from json.encoder import encode_basestring_ascii as quoted
from typing import TextIO

from ckptaudit.errors import CkptAuditError
from ckptaudit.layers import Guess
from ckptaudit.model import Checkpoint, GlobalRef, ModuleMeta, Path, Problem, TensorMeta
from ckptaudit.reports.inspect.layers import inferred, inside, shown
from ckptaudit.reports.inspect.selection import ALL, Selection
from ckptaudit.summary import alias_name, members, pick, ties, totals
from ckptaudit.text import dotted, integer, value

SCHEMA = "ckptaudit.inspect/1"
TOTALS = ("tensors", "storages", "parameters", "bytes_tensors", "bytes_storages")

_NAME_ALONE = '"class":null,"config":null,"training":null,"layer":null,"confidence":null,"alternatives":[]}'

# Integers that every JSON reader takes; no dimension of a real tensor is larger.
_LARGEST = 2**63
_NESTING = 32


def write(checkpoint: Checkpoint, out: TextIO, selection: Selection = ALL) -> None:
    """Write the document of one checkpoint; `selection` narrows `tensors` alone."""
    groups = ties(checkpoint)
    counts = totals(checkpoint, groups)
    names = alias_name(checkpoint)
    tensors = selection.tensors(checkpoint)
    held = members(checkpoint)
    _document(
        out,
        {
            "schema": quoted(SCHEMA),
            "path": quoted(checkpoint.path),
            "format": quoted(checkpoint.format),
            "bytes": str(checkpoint.nbytes),
            "tensors": _tensors(checkpoint, tensors),
            "storages": _storages(checkpoint),
            "ties": (_value(names(group)) for group in groups),
            "state_dicts": (
                f'{{"root":{_value(found.root)},"role":"{found.role}","tensors":{len(held[found.root])}}}'
                for found in checkpoint.state_dicts
            ),
            "modules": _modules(checkpoint),
            "extras": _value(_named(checkpoint.extras)),
            "globals": _globals(checkpoint.globals),
            "problems": map(_problem, checkpoint.problems),
            "totals": _value({name: getattr(counts, name) for name in TOTALS}),
            "weights_only": _value(checkpoint.weights_only),
        },
    )


def write_error(path: str, error: CkptAuditError | None, detail: str, out: TextIO) -> None:
    """Write the document of a file that could not be read: everything empty, and one problem."""
    code = "internal-error" if error is None else error.code
    _document(
        out,
        {
            "schema": quoted(SCHEMA),
            "path": quoted(path),
            "format": "null",
            "bytes": "null",
            **dict.fromkeys(("tensors", "storages", "ties", "state_dicts", "modules"), "[]"),
            "extras": "{}",
            "globals": "[]",
            "problems": [_problem(Problem(code, detail))],
            "totals": _value(dict.fromkeys(TOTALS, 0)),
            "weights_only": "null",
        },
    )


def _document(out: TextIO, fields: Mapping[str, str | Iterable[str]]) -> None:
    """Write an object one field after the other; a field is its JSON, or the JSON of its rows."""
    opening = "{\n"
    for name, field in fields.items():
        out.write(f'{opening}"{name}": ')
        opening = ",\n"
        if isinstance(field, str):
            out.write(field)
        else:
            _array(out, iter(field))
    out.write("\n}\n")


def _array(out: TextIO, rows: Iterator[str]) -> None:
    separator = "[\n"
    while batch := ",\n".join(islice(rows, 1000)):
        out.write(separator + batch)
        separator = ",\n"
    out.write("[]" if separator == "[\n" else "\n]")


def _tensors(checkpoint: Checkpoint, tensors: Iterable[TensorMeta]) -> Iterator[str]:
    # Large checkpoints repeat few shapes many times: the parts of a row that repeat are made once.
    made: dict[tuple[object, ...], tuple[str, str]] = {}
    storages = checkpoint.storages
    for tensor in tensors:
        # Unpacked at once: eleven look-ups by name would cost as much as all the rest.
        path, name, dtype, shape, stride, offset, storage_id, kind, requires_grad, layout, subclass = tensor
        storage = storages.get(storage_id)
        device = "cpu" if storage is None else storage.device
        repeated = (dtype, shape, stride, offset, kind, requires_grad, layout, subclass, device)
        parts = made.get(repeated)
        if parts is None:
            parts = made[repeated] = _parts(tensor, device)
        key = quoted(name)
        place = f"[{key}]" if path == (name,) else _value(path)
        yield f'{{"path":{place},"key":{key},{parts[0]}{quoted(storage_id)},{parts[1]}'


def _parts(tensor: TensorMeta, device: str) -> tuple[str, str]:
    """What stands before and after the storage's name in the row of a tensor."""
    before = (
        f'"dtype":{quoted(tensor.dtype)},"shape":{_sizes(tensor.shape)},"stride":{_sizes(tensor.stride)},'
        f'"offset":{_value(tensor.offset)},"storage":'
    )
    after = (
        f'"device":{quoted(device)},"kind":{quoted(tensor.kind)},"requires_grad":{_value(tensor.requires_grad)},'
        f'"layout":{quoted(tensor.layout)},"subclass":{_value(tensor.subclass)},"nbytes":{_value(tensor.nbytes)}}}'
    )
    return before, after


def _sizes(sizes: tuple[int, ...] | None) -> str:
    # A size beyond 64 bits is a lie of the file (a problem says so), and no integer to JSON's readers.
    if sizes is None or any(abs(number) >= _LARGEST for number in sizes):
        return "null"
    return f"[{','.join(map(str, sizes))}]"


def _storages(checkpoint: Checkpoint) -> Iterator[str]:
    files: dict[str | None, str] = {}
    for name, _, device, nbytes, span in checkpoint.storages.values():
        path, start, _ = span or (None, "null", 0)
        file = files.get(path)
        if file is None:
            file = files[path] = _value(path)
        yield (
            f'{{"id":{quoted(name)},"nbytes":{nbytes},"device":{quoted(device)},"file":{file},"start":{start}}}'
        )


def _modules(checkpoint: Checkpoint) -> Iterator[str]:
    chosen = pick(checkpoint)
    told = inferred(checkpoint, chosen)
    # Many modules are the same layer, for which the row differs in its path alone.
    made: dict[tuple[object, ...], str] = {}
    for above, state_dict in shown(checkpoint, chosen):
        for path, module in state_dict.modules.items():
            name = inside(above, path)
            guess = told.get(name)
            if guess is None:
                yield _module(name, module)
                continue
            verdict = (guess.layer, guess.confidence, guess.alternatives)
            rest = made.get(verdict)
            if rest is None:
                rest = made[verdict] = _inferred(guess)
            yield f'{{"path":{quoted(name)},{rest}'


def _inferred(guess: Guess) -> str:
    """What stands after the path in the row of a module of which the file holds only the name."""
    return (
        f'"class":null,"config":null,"training":null,"layer":{_value(guess.layer)},'
        f'"confidence":{_value(guess.confidence)},"alternatives":{_value(guess.alternatives)}}}'
    )


def _module(path: str, module: ModuleMeta) -> str:
    cls, settings, training = module.cls, module.config, module.training
    if cls is None and settings is None and training is None:
        return f'{{"path":{quoted(path)},{_NAME_ALONE}'
    layer = cls.rpartition(".")[2] if cls is not None and cls.startswith("torch.nn.modules.") else None
    config = "null" if settings is None else _value(settings)
    return (
        f'{{"path":{quoted(path)},"class":{_value(cls)},"config":{config},'
        f'"training":{_value(training)},"layer":{_value(layer)},'
        f'"confidence":{_value("certain" if layer else None)},"alternatives":[]}}'
    )


def _named(extras: Mapping[Path, object]) -> dict[str, object]:
    """Leaves by dotted path; where two paths read alike the later one gets a number."""
    named: dict[str, object] = {}
    for path, leaf in extras.items():
        name, again = dotted(path), 1
        while name in named:
            again += 1
            name = f"{dotted(path)}#{again}"
        named[name] = leaf
    return named


def _globals(references: Iterable[GlobalRef]) -> Iterator[str]:
    from ckptaudit.readers.pickle.policy import verdict

    for found in references:
        yield (
            f'{{"module":{quoted(found.module)},"name":{quoted(found.name)},"called":{_value(found.called)},'
            f'"verdict":{quoted(verdict(found.module, found.name))}}}'
        )


def _problem(problem: Problem) -> str:
    span = "null"
    if problem.span is not None:
        place = f'"start":{problem.span.start},"nbytes":{problem.span.nbytes}'
        span = f'{{"file":{quoted(problem.span.file)},{place}}}'
    return f'{{"code":{quoted(problem.code)},"detail":{quoted(problem.detail)},"span":{span}}}'


def _value(thing: object, depth: int = _NESTING) -> str:
    """The JSON of a value out of a file; as text what JSON has no word for."""
    if isinstance(thing, str):
        return quoted(thing)
    if thing is None or isinstance(thing, bool):
        return {None: "null", True: "true", False: "false"}[thing]
    if isinstance(thing, int):
        return str(thing) if abs(thing) < _LARGEST else quoted(integer(thing))
    if isinstance(thing, float):
        return float.__repr__(thing) if abs(thing) < float("inf") else quoted(repr(thing))
    if depth and isinstance(thing, list | tuple):
        return f"[{','.join([_value(item, depth - 1) for item in thing])}]"
    if depth and isinstance(thing, Mapping):
        rows = [f"{_name(name)}:{_value(item, depth - 1)}" for name, item in thing.items()]
        return f"{{{','.join(rows)}}}"
    return quoted(value(thing))


def _name(key: object) -> str:
    return quoted(key if isinstance(key, str) else value(key))
