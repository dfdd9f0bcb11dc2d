"""TorchScript: torch.jit.save since torch 1.4, a zip of the module tree, its code and its constants.

`data.pkl` holds the tree and refers to the records of `data/`, `constants.pkl` holds the tensors that
the code calls `CONSTANTS.c0` and so on, and refers to those of `constants/`; a frozen module keeps all
its weights there. Which tensor is a parameter and which a buffer is only told by `code/`. Sources:
torch/csrc/jit/serialization/export_module.cpp and import.cpp; torch.load takes a zip with a record
`constants.pkl` for TorchScript (torch/serialization.py), and refuses it under weights_only=True.
"""

from __future__ import annotations

import re

from ckptaudit.errors import CkptAuditError, UnreadableError, UnsupportedFormatError
from ckptaudit.model import Checkpoint, Span
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.member import Member
from ckptaudit.readers.pickle import interpret
from ckptaudit.readers.pickle.machine import Pickled, run
from ckptaudit.readers.pickle.memory import Stored
from ckptaudit.readers.pickle.revive import Reviver
from ckptaudit.readers.pickle.symbols import Persistent
from ckptaudit.readers.pickle.weights_only import refused, settle
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.records import Records
from ckptaudit.readers.torch_zip import SCRIPT_START
from ckptaudit.readers.torchscript_code import Code
from ckptaudit.readers.torchscript_objects import Objects, is_script_name
from ckptaudit.readers.wording import few

FORMAT = "torchscript"
_CONSTANTS = ("CONSTANTS",)
# The lexer of TorchScript lets blanks, comments and continued lines stand between any two tokens.
_GAP = rb"(?:\s|\\\r?\n|#[^\n]*\n)*+"
_FILE_OPERATION = re.compile(
    rb"\b(?:torch|aten)" + _GAP + rb"\." + _GAP + rb"(?:save|from_file)" + _GAP + rb"\("
)
# Pickles that torch itself puts beside the module: inputs of a trace, and the lite interpreter's own.
_SIDE_PICKLES = ("traced_inputs", "bytecode", "mobile_debug_handles")
# Classes that torch registers in C++, by namespace: no code of the archive defines them.
_NAMESPACES = ("quantized", "rnn", "sparse", "xnnpack", "mkldnn", "nnapi", "metal", "vulkan")
_TORCH_CLASSES = frozenset(f"__torch__.torch.classes.{space}" for space in _NAMESPACES)


def sniff(probe: Probe) -> bool:
    """A zip with a record `constants.pkl`, or of before torch 1.4; with its end missing, `data.pkl` tells."""
    if probe.archive is None:
        return False
    records = Records(probe.archive)
    if records.find("constants.pkl") is not None or _is_old(records):
        return True
    return probe.archive.cut_off and records.begins_with("data.pkl", SCRIPT_START)


def read(probe: Probe) -> Checkpoint:
    """Read the module tree, the constants, and what the code says of both; never the storages."""
    if probe.archive is None:
        raise UnreadableError(probe.source.path, "not a zip archive")
    records = Records(probe.archive)
    if _is_old(records):
        raise UnsupportedFormatError(
            probe.source.path,
            "TorchScript of torch 1.0 to 1.3 (model.json and tensors/), which is not read",
            remedy="load it with torch.jit.load and save it again",
        )
    draft = Draft(probe.source, FORMAT, probe.limits)
    _read_module(draft, records)
    _read_side_records(draft, records)
    records.read_settings(draft)
    records.check_root(draft)
    records.report(draft)
    settle(draft, refused("a TorchScript archive, which weights_only=True refuses"))
    return draft.finish()


def _is_old(records: Records) -> bool:
    return records.find("data.pkl") is None and records.find("model.json") is not None


def _read_module(draft: Draft, records: Records) -> None:
    code = Code(draft, records)
    objects = Objects(code)
    module = _read_pickle(draft, records, "data", "")
    constants = _read_constants(draft, records)
    objects.adapt(module.value)
    objects.adapt(constants)
    own, shared = records.locator(draft, "data/"), records.locator(draft, "")

    def locate(key: str, nbytes: int) -> Span | None:
        return shared(key, nbytes) if "/" in key else own(key, nbytes)

    memory = Stored(draft, locate)
    reviver = Reviver(draft, memory)
    reviver.walk(module.value)
    if type(constants) is tuple and constants:
        reviver.walk({f"c{index}": value for index, value in enumerate(constants)}, _CONSTANTS)
    reviver.roots.settle()
    memory.check_bounds()
    _drop_own_names(draft, code)


def _read_constants(draft: Draft, records: Records) -> object:
    try:
        return _read_pickle(draft, records, "constants", "constants/").value
    except CkptAuditError as error:
        if not records.archive.cut_off:
            draft.problem("malformed-file", f"constants.pkl: {error.reason}", incomplete=True)
        return ()


def _read_pickle(draft: Draft, records: Records, name: str, prefix: str) -> Pickled:
    """Interpret `<name>.pkl`; `prefix` sets its storage keys apart from those of the other pickles.

    Every storage that it names counts as used, also where no tensor that we list views it. Raises
    UnreadableError where the record cannot be had.
    """

    def persistent(pid: object) -> Persistent:
        if type(pid) is tuple and len(pid) == 5 and type(pid[2]) is str:
            records.find(f"{name}/{pid[2]}")
            pid = (*pid[:2], prefix + pid[2], *pid[3:])
        return Persistent(pid)

    return records.pickle(draft, f"{name}.pkl", persistent)


def _drop_own_names(draft: Draft, code: Code) -> None:
    """Leave out what the archive's own code defines, and torch's C++ classes: neither imports anything."""
    draft.globals = [
        found
        for found in draft.globals
        if not is_script_name(found.module)
        or (found.module not in _TORCH_CLASSES and code.find(found.module, found.name) is None)
    ]


def _read_side_records(draft: Draft, records: Records) -> None:
    """Look into the pickles that no tensor of the module comes from, and mark what belongs to the format."""
    for name in _SIDE_PICKLES:
        if records.find(f"{name}.pkl") is None:
            continue
        try:
            _read_pickle(draft, records, name, "")
        except CkptAuditError as error:
            draft.problem("malformed-file", f"{name}.pkl: {error.reason}")
    code = f"{records.root}code/"
    budget = draft.limits.inflated_bytes
    for member in records.archive.members:
        if member.name.startswith(code) and member.name.endswith((".py", ".debug_pkl")):
            records.used.add(member.name)
            budget -= member.nbytes
            if member.name.endswith(".debug_pkl"):
                _look_at_debug(draft, records, member)
            elif budget >= 0:
                _look_at_code(draft, records, member)


def _look_at_code(draft: Draft, records: Records, member: Member) -> None:
    """Note code that writes or maps files: that of `__setstate__` runs as soon as the archive is loaded."""
    try:
        text = records.archive.read(member, draft.limits.pickle_bytes)
    except CkptAuditError as error:
        draft.problem("malformed-file", f"{few([member.name])}: {error.reason}", incomplete=True)
        return
    found = _FILE_OPERATION.search(text)
    if found is not None:
        draft.problem(
            "code-opens-files",
            f"{few([member.name])} calls {found[0].decode()}): it opens files when it runs",
        )


def _look_at_debug(draft: Draft, records: Records, member: Member) -> None:
    """Source positions, which hold no name but those of torch.jit._pickle; note any other."""
    try:
        data = records.archive.read(member, draft.limits.pickle_bytes)
    except CkptAuditError as error:
        draft.problem("malformed-file", f"{member.name}: {error.reason}")
        return
    names = {found.module for found in run(data, 0, draft.limits).globals}
    if names - {"torch.jit._pickle"}:
        interpret(draft, data, base=records.plain_span(member), label=member.name)
