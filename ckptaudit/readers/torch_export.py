"""torch.export: `.pt2` archives of torch 2.8 and later, and the zips of torch 2.1 to 2.7.

The archive keeps the program as `models/<name>.json`, and below `data/weights/` and `data/constants/`
a JSON that maps each name to a record of raw bytes and to the view of it: names that share a record
share memory. Sources: torch/export/pt2_archive/_package.py, torch/_export/serde/schema.py and, for the
older zips, torch/export/__init__.py (`load`). Loading one also unpickles the sample inputs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ckptaudit.errors import CkptAuditError, UnreadableError, UnsupportedFormatError
from ckptaudit.model import Checkpoint, Kind, Path, StateDict
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.member import Member
from ckptaudit.readers.pickle.weights_only import refused, settle
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.records import Records
from ckptaudit.readers.strict_json import parse_json
from ckptaudit.readers.torch_export_graph import modules_in, signature_of
from ckptaudit.readers.torch_export_payload import Hang, Payloads
from ckptaudit.readers.wording import few

FORMAT: Final = "torch-export"
_CONSTANTS: Final = "CONSTANTS"
_WEIGHTS: Final = "_weights_config.json"
_SMALL: Final = 4096
# The records of torch 2.1 to 2.7, which stand in no folder; torch 2.1 gave pickles the suffix `.json`.
_OLD_PROGRAM: Final = "serialized_exported_program.json"
_OLD_STATE: Final = ("serialized_state_dict.pt", "serialized_state_dict.json")
_OLD_CONSTANTS: Final = ("serialized_constants.pt", "serialized_constants.json")
_OLD_INPUTS: Final = ("serialized_example_inputs.pt",)

# Symbolic sizes, and what they are made of: numbers, sympy's and torch's functions of them, and symbols,
# whose names and assumptions are the only things that stand in quotes.
_ARITHMETIC = re.compile(
    r"(?>[\d\s+\-*/%(),.<>=&|~!]|Symbol\('[A-Za-z]\w*+'|(?:positive|integer|nonnegative|real)=True"
    r"|[su]\d++|u?zuf\d++"
    r"|Integer|Rational|Float|Add|Mul|Pow|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|CeilToInt|FloorToInt|IntTrueDiv"
    r"|FloatTrueDiv|ToFloat|TruncToInt|RoundToInt|Max|Min|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|true|false|True|False"
    r"|Piecewise|Where|LShift|RShift|PowByNatural|FloatPow|ModularIndexing|Identity|oo|int_oo|floor|ceiling)*+"
)


def sniff(probe: Probe) -> bool:
    """A zip with a record `archive_format` and no pickle of torch.save, or an older exported program."""
    archive = probe.archive
    if archive is None:
        return False
    if archive.find(_OLD_PROGRAM) is not None:
        return True
    records = Records(archive)
    if archive.cut_off:
        weights = f"{records.root}data/weights/"
        return any(member.name.startswith(weights) for member in archive.members)
    return records.find("archive_format") is not None and records.find("data.pkl") is None


def read(probe: Probe) -> Checkpoint:
    """The tensors, modules and signature of every program in the archive.

    Raises UnsupportedFormatError for an archive that holds compiled code only.
    """
    if probe.archive is None:
        raise UnreadableError(probe.source.path, "not a zip archive")
    draft = Draft(probe.source, FORMAT, probe.limits)
    reader = _Reader(draft, Records(probe.archive))
    if probe.archive.find(_OLD_PROGRAM) is not None:
        reader.read_old()
    else:
        reader.read_all()
    settle(draft, refused("torch.load finds no data.pkl in it"))
    return draft.finish()


class _Reader:
    """One archive being read."""

    def __init__(self, draft: Draft, records: Records) -> None:
        self._draft = draft
        self._records = records
        self._payloads = Payloads(draft, records.archive)
        self._json_left = draft.limits.json_bytes

    def read_all(self) -> None:
        """Every program of an archive, by the name of its `models/<name>.json`."""
        names = [name.removesuffix(".json") for name in self._names("models/") if name.endswith(".json")]
        if not names and self._records.archive.cut_off:
            # The weights stand before the programs.
            names = [
                name.removesuffix(_WEIGHTS)
                for name in self._names("data/weights/")
                if name.endswith(_WEIGHTS)
            ]
        compiled = len(list(self._names("data/aotinductor/")))
        if compiled:
            self._draft.problem(
                "native-code", f"{compiled:,} records of compiled code, which torch.export.load would run"
            )
        if not names and self._records.archive.cut_off:
            raise UnreadableError(
                self._draft.source.path,
                "a .pt2 archive that ends before it tells what its weights are",
                remedy="fetch or save it again",
            )
        if not names:
            what = "only code that AOTInductor compiled" if compiled else "no exported program"
            raise UnsupportedFormatError(self._draft.source.path, f"a .pt2 archive that holds {what}")
        for name in names:
            self._read_program(name, () if len(names) == 1 else (name,))
        for name in ("archive_version", "byteorder", ".data/version", ".data/serialization_id"):
            self._read_setting(name)
        self._records.report(self._draft)

    def read_old(self) -> None:
        """The one program of a zip of torch 2.1 to 2.7."""
        program = self._json(self._old((_OLD_PROGRAM,)), _OLD_PROGRAM)
        signature = signature_of(program)
        self._unpickle(self._old(_OLD_STATE), lambda key: ((key,), signature.get(key, "buffer")))
        self._unpickle(self._old(_OLD_CONSTANTS), lambda key: _constant((), key, signature))
        self._unpickle(self._old(_OLD_INPUTS), None)
        self._settle(program, ())
        self._old(("version",))
        self._records.report(self._draft)

    def _read_program(self, name: str, root: Path) -> None:
        where = f"models/{name}.json"
        program = self._json(self._records.find(where), where)
        signature = signature_of(program)
        # torch 2.8 could still write each of the two as one file of torch.save.
        weights = self._records.find(f"data/weights/{name}.pt")
        self._unpickle(weights, lambda key: ((*root, key), signature.get(key, "buffer")))
        constants = self._records.find(f"data/constants/{name}.pt")
        self._unpickle(constants, lambda key: _constant(root, key, signature))
        if weights is None:
            for key, entry in self._config("data/weights/", name + _WEIGHTS):
                kind: Kind = "parameter" if entry["is_param"] is True else "buffer"
                self._payloads.add((*root, key), key, self._payload("data/weights/", entry), entry, kind)
        if constants is None:
            for key, entry in self._config("data/constants/", f"{name}_constants_config.json"):
                path, kind = _constant(root, key, signature)
                self._payloads.add(path, key, self._payload("data/constants/", entry), entry, kind)
        self._unpickle(self._records.find(f"data/sample_inputs/{name}.pt"), None)
        self._settle(program, root)

    def _settle(self, program: Any, root: Path) -> None:
        """Write the state dicts of one program: its own, and that of its constants."""
        tensors = self._payloads.take()
        keys = [tensor.key for tensor in tensors if tensor.path[:-1] == root]
        self._draft.state_dicts.append(StateDict(root, "model", modules_in(program, keys)))
        if len(keys) < len(tensors):
            self._draft.state_dicts.append(StateDict((*root, _CONSTANTS), "other"))

    def _config(self, folder: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        document = self._json(self._records.find(folder + name), folder + name)
        config = document.get("config") if type(document) is dict else None
        if document is not None and type(config) is not dict:
            self._draft.problem("malformed-file", f"{folder}{name} maps no names", incomplete=True)
        for key, entry in (config if type(config) is dict else {}).items():
            if type(entry) is dict and type(entry.get("path_name")) is str:
                yield key, {"is_param": False, **entry}
            else:
                self._draft.problem(
                    "malformed-file", f"{folder}{name}: {few([key])} has no path_name", incomplete=True
                )

    def _payload(self, folder: str, entry: Mapping[str, Any]) -> Member | None:
        return self._records.find(folder + entry["path_name"])

    def _unpickle(self, record: Member | None, hang: Hang | None) -> None:
        if record is not None and record.nbytes:
            self._payloads.unpickled(record, hang)

    def _old(self, names: tuple[str, ...]) -> Member | None:
        """The first record of that name in no folder."""
        for name in names:
            member = self._records.archive.find(name)
            if member is not None:
                self._records.used.add(member.name)
                return member
        return None

    def _names(self, folder: str) -> Iterator[str]:
        """What stands below a folder of the archive, without that folder."""
        prefix = self._records.root + folder
        for member in self._records.archive.members:
            if member.name.startswith(prefix) and len(member.name) > len(prefix):
                yield member.name[len(prefix) :]

    def _json(self, member: Member | None, where: str) -> Any:
        """The document in a record; None, with a problem noted, where there is none."""
        draft = self._draft
        if member is None and self._records.archive.cut_off:
            return None
        if member is None:
            draft.problem("missing-record", f"no record {few([where])}", incomplete=True)
            return None
        try:
            if member.nbytes > self._json_left:
                draft.limit("json_bytes", f"{where}: {member.nbytes:,} bytes more of JSON")
                return None
            self._json_left -= member.nbytes
            text = self._records.archive.read(member, member.nbytes).decode("utf-8", "surrogateescape")
            document = parse_json(draft.source.path, text, draft.limits, where=where)[0]
            self._check_expressions(document, where)
            return document
        except json.JSONDecodeError as error:
            draft.problem(
                "malformed-file", f"{where}: {error.msg} at character {error.pos:,}", incomplete=True
            )
        except CkptAuditError as error:
            code = "limit-reached" if "the limit" in error.reason else "malformed-file"
            draft.problem(code, f"{where}: {error.reason}", incomplete=True)
        return None

    def _check_expressions(self, document: Any, where: str) -> None:
        """Note sizes that are no arithmetic: torch.export.load has sympify evaluate them."""
        odd: list[str] = []
        todo = [document]
        while todo:
            part = todo.pop()
            if isinstance(part, dict):
                found = part.get("expr_str")
                if isinstance(found, str) and not _ARITHMETIC.fullmatch(found):
                    odd.append(found)
                todo.extend(part.values())
            elif isinstance(part, list):
                todo.extend(part)
        if odd:
            told = f"{where}: torch.export.load would evaluate {few(odd)} as code"
            self._draft.problem("code-in-expression", told)

    def _read_setting(self, name: str) -> None:
        member = self._records.find(name)
        if member is None:
            return
        try:
            raw = self._records.archive.read(member, _SMALL)
        except CkptAuditError as error:
            self._draft.problem("malformed-file", f"{name}: {error.reason}")
            return
        self._draft.metadata[name] = raw.decode("utf-8", "replace").strip()


def _constant(root: Path, key: str, signature: Mapping[str, Kind]) -> tuple[Path, Kind]:
    """Where a constant hangs: a buffer that no state dict holds beside the others, all else apart."""
    if signature.get(key) == "buffer":
        return (*root, key), "buffer"
    return (*root, _CONSTANTS, key), "tensor"
