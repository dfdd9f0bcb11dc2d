"""torch.export: `.pt2` archives of torch 2.8 and later, and the zips of torch 2.1 to 2.7.

The archive keeps the program as `models/<name>.json`, and below `data/weights/` and `data/constants/`
a JSON that maps each name to a record of raw bytes and to the view of it: names that share a record
share memory. Sources: torch/export/pt2_archive/_package.py, torch/_export/serde/schema.py and, for the
older zips, torch/export/__init__.py (`load`). Loading one also unpickles the sample inputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from ckptaudit.errors import CkptAuditError, UnreadableError, UnsupportedFormatError
from ckptaudit.model import Checkpoint, Kind, ModuleMeta, Path, StateDict
from ckptaudit.readers.archive import Member
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.strict_json import parse_json
from ckptaudit.readers.torch_export_graph import modules_in, transient_buffers
from ckptaudit.readers.torch_export_payload import Payloads
from ckptaudit.readers.torch_zip import Records

FORMAT: Final = "torch-export"
_CONSTANTS: Final = "CONSTANTS"
_SMALL: Final = 4096
# The records of torch 2.1 to 2.7, which stand in no folder; torch 2.1 gave pickles the suffix `.json`.
_OLD_PROGRAM: Final = "serialized_exported_program.json"
_OLD_STATE: Final = ("serialized_state_dict.pt", "serialized_state_dict.json")
_OLD_CONSTANTS: Final = ("serialized_constants.pt", "serialized_constants.json")
_OLD_INPUTS: Final = ("serialized_example_inputs.pt",)


def sniff(probe: Probe) -> bool:
    """A zip that says `pt2` in its record `archive_format`, or has an older exported program."""
    archive = probe.archive
    if archive is None:
        return False
    if archive.find(_OLD_PROGRAM) is not None:
        return True
    return Records(archive).find("archive_format") is not None and archive.find(_root(archive) + "data.pkl") is None


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
    return draft.finish()


class _Reader:
    """One archive being read."""

    def __init__(self, draft: Draft, records: Records) -> None:
        self._draft = draft
        self._records = records
        self._payloads = Payloads(draft, records.archive)

    def read_all(self) -> None:
        """Every program of an archive, by the name of its `models/<name>.json`."""
        names = [name[len("models/") : -len(".json")] for name in self._names("models/") if name.endswith(".json")]
        compiled = list(self._names("data/aotinductor/"))
        if compiled:
            self._draft.problem(
                "native-code", f"{len(compiled):,} records of compiled code, which torch.export.load would run"
            )
        if not names:
            what = "compiled code of AOTInductor" if compiled else "no exported program"
            raise UnsupportedFormatError(self._draft.source.path, f"a .pt2 archive that holds {what}")
        for name in names:
            self._read_program(name, () if len(names) == 1 else (name,))
        for name in ("archive_version", "byteorder", ".data/version", ".data/serialization_id"):
            self._read_setting(name)
        self._finish()

    def read_old(self) -> None:
        """The one program of a zip of torch 2.1 to 2.7."""
        program = self._json(self._records.archive.find(_OLD_PROGRAM), _OLD_PROGRAM)
        transient = transient_buffers(program)
        self._unpickle(_OLD_STATE, (), dict.fromkeys(parameters_in(program), "parameter"), "buffer")
        self._unpickle(_OLD_CONSTANTS, (_CONSTANTS,), {}, "tensor")
        self._unpickle(_OLD_INPUTS, None, {}, "tensor")
        self._settle(program, (), transient)
        self._finish()

    def _finish(self) -> None:
        self._payloads.check_bounds()
        self._records.report(self._draft)

    def _read_program(self, name: str, root: Path) -> None:
        program = self._json(self._records.find(f"models/{name}.json"), f"models/{name}.json")
        transient = transient_buffers(program)
        self._read_payloads("data/weights/", f"{name}_weights_config.json", root, frozenset())
        self._read_payloads("data/constants/", f"{name}_constants_config.json", root, transient)
        inputs = self._records.find(f"data/sample_inputs/{name}.pt")
        if inputs is not None and inputs.nbytes:
            self._payloads.unpickled(inputs, None, {"": "tensor"})
        self._settle(program, root, transient)
