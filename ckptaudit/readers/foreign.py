"""Files that are no checkpoint of ours, told apart by their content: what they are, and what to do.

Signatures are those of each format's own specification; nothing behind a signature is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

from ckptaudit.errors import NotFetchedError, UnreadableError, UnsupportedFormatError
from ckptaudit.readers.probe import Probe

_FETCH: Final = "download the file itself"
_UNPACK: Final = "unpack it first"
_CONVERT: Final = "convert it to safetensors or a torch file first"
_NOT_WEIGHTS: Final = "check the path"
_POINTER_BYTES: Final = 1024  # git-lfs: a pointer file is smaller
_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\r?\n"
    rb"(?:ext-\d-[^\n]*\n)*oid sha256:([0-9a-f]{64})\r?\nsize (\d{1,19})\r?\n?"
)


class _Magic(NamedTuple):
    """A format known by the bytes `magic` at byte `at`."""

    at: int
    magic: bytes
    what: str
    remedy: str


class _Pattern(NamedTuple):
    """A format known by how its first 4,096 bytes read."""

    pattern: re.Pattern[bytes]
    what: str
    remedy: str


MAGICS: Final = (
    _Magic(0, b"GGUF", "a GGUF model (llama.cpp)", _CONVERT),
    *(_Magic(0, word, "a GGML model (llama.cpp)", _CONVERT) for word in (b"lmgg", b"fmgg", b"tjgg", b"algg")),
    _Magic(0, b"\x93NUMPY", "a NumPy array (.npy)", _CONVERT),
    _Magic(0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (.h5: Keras weights, as a rule)", _CONVERT),
    _Magic(4, b"TFL3", "a TensorFlow Lite model", _CONVERT),
    _Magic(0, b"PAR1", "a Parquet table", _NOT_WEIGHTS),
    _Magic(0, b"ARROW1", "an Arrow file", _NOT_WEIGHTS),
    _Magic(0, b"\x1f\x8b", "compressed with gzip", _UNPACK),
    _Magic(0, b"BZh", "compressed with bzip2", _UNPACK),
    _Magic(0, b"\xfd7zXZ\0", "compressed with xz", _UNPACK),
    _Magic(0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    _Magic(0, b"\x04\x22\x4d\x18", "compressed with lz4", _UNPACK),
    _Magic(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    _Magic(0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    _Magic(257, b"ustar", "a tar archive of other files", _UNPACK),
    _Magic(0, b"PK\x05\x06", "an empty zip archive", _FETCH),
    _Magic(0, b"PK\x03\x04", "a zip archive that holds no checkpoint", _UNPACK),
    _Magic(0, b"%PDF-", "a PDF document", _NOT_WEIGHTS),
    _Magic(0, b"\x89PNG\r\n\x1a\n", "a PNG picture", _NOT_WEIGHTS),
    _Magic(0, b"\xff\xd8\xff", "a JPEG picture", _NOT_WEIGHTS),
    _Magic(0, b"GIF8", "a GIF picture", _NOT_WEIGHTS),
    _Magic(0, b"\x7fELF", "an ELF program or library", _NOT_WEIGHTS),
    *(
        _Magic(0, word, "a Mach-O program or library", _NOT_WEIGHTS)
        for word in (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
    ),
    _Magic(0, b"SQLite format 3\0", "an SQLite database", _NOT_WEIGHTS),
    _Magic(0, b"version https://git-lfs.github.com/spec/", "a broken git-LFS pointer", "run git lfs pull"),
)

_ONNX: Final = re.compile(rb"\x08[\x01-\x20]\x12[\x00-\x40][ -~]{2}|\x08[\x03-\x20]\x3a")
_SAVED_MODEL: Final = re.compile(rb"\x08\x01\x12[\x80-\xff]{1,9}[\x01-\x7f]\x0a")
_HTML: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_PYTHON: Final = re.compile(
    rb"#!.*python|(?s:.*?)^(?:import \w|from [\w.]+ import |def \w+\(|class \w+[(:])", re.MULTILINE
)

# Protocol buffers have no signature: the first fields of each message tell them apart.
PATTERNS: Final = (
    _Pattern(re.compile(rb"MZ.{58}", re.DOTALL), "a Windows program or library", _NOT_WEIGHTS),
    _Pattern(_ONNX, "an ONNX model", _CONVERT),
    _Pattern(_SAVED_MODEL, "a TensorFlow SavedModel", _CONVERT),
    _Pattern(re.compile(rb"\x08[\x01-\x14]\x12.{1,9}\x0a", re.DOTALL), "a Core ML model", _CONVERT),
    _Pattern(_HTML, "an HTML page saved in place of a download", _FETCH),
    _Pattern(re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml|\s*<Error>"), "an XML document", _FETCH),
)

_TEXTS: Final = (
    _Pattern(re.compile(rb"\s*[{\[]"), "a JSON text", "name the weights, not their description"),
    _Pattern(_PYTHON, "Python source", _NOT_WEIGHTS),
    _Pattern(re.compile(rb"(?:#.*\n|[ \t\r]*\n)*(?:---\s|[\w.-]+:(?:\s|$))"), "a YAML text", _NOT_WEIGHTS),
    _Pattern(re.compile(rb""), "plain text", _FETCH),
)

# Names inside a zip archive that tell whose it is.
_ARCHIVES: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (lambda name: name == "model.weights.h5", "a Keras model (.keras)"),
    (lambda name: name.endswith("Manifest.json") and ".mlpackage" in name, "a Core ML package"),
    (lambda name: name == "[Content_Types].xml", "an Office document"),
    (lambda name: name.endswith(".npy"), "NumPy arrays (.npz)"),
    (lambda name: name.endswith(".dist-info/WHEEL"), "a Python wheel"),
)


def lfs_pointer(probe: Probe) -> tuple[str, int] | None:
    """The sha256 and the size of the file that a git-LFS pointer stands for; None for any other file.

    Keys and their order are those of git-lfs' docs/spec.md; lines that end in CRLF are taken too.
    """
    if probe.source.size >= _POINTER_BYTES:
        return None
    match = _POINTER.fullmatch(probe.head)
    return (match[1].decode(), int(match[2])) if match else None


def recognise(probe: Probe) -> str | None:
    """What the file is, in a few words; None where nothing tells."""
    found = _known(probe)
    return found[0] if found else None


def refuse(probe: Probe) -> NoReturn:
    """Raise the error that says what a file is that no reader took.

    NotFetchedError for a git-LFS pointer, UnsupportedFormatError for a format known by its content,
    UnreadableError for anything else.
    """
    path = probe.source.path
    pointer = lfs_pointer(probe)
    if pointer:
        reason = f"git-LFS pointer to {pointer[1]:,} bytes (sha256 {pointer[0]}): not fetched"
        raise NotFetchedError(path, reason, remedy="run git lfs pull")
    if not probe.source.size:
        raise UnreadableError(path, "the file is empty", remedy=_FETCH)
    found = _known(probe)
    if found:
        raise UnsupportedFormatError(path, f"{found[0]}, which ckptaudit does not read", remedy=found[1])
    if _is_zero(probe):
        raise UnreadableError(path, "begins and ends with zeros: a download that stopped", remedy=_FETCH)
    begins = probe.head[:16].hex(" ")
    reason = f"not a format that ckptaudit knows; it begins with {begins}"
    raise UnreadableError(path, reason, remedy=_NOT_WEIGHTS)


def _known(probe: Probe) -> tuple[str, str] | None:
    head = probe.head
    for at, magic, what, remedy in MAGICS:
        if head.startswith(magic, at):
            return _in_archive(probe) or (what, remedy)
    rows = (*PATTERNS, *_TEXTS) if _is_text(head) else PATTERNS
    return next(((row.what, row.remedy) for row in rows if row.pattern.match(head)), None)


def _in_archive(probe: Probe) -> tuple[str, str] | None:
    if not probe.head.startswith(b"PK\x03\x04"):
        return None
    try:
        members = probe.archive.members if probe.archive else []
    except UnreadableError:
        return "a zip archive that is cut short or broken", _FETCH
    for is_theirs, what in _ARCHIVES:
        if any(is_theirs(member.name) for member in members):
            return what, _CONVERT
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(head) < 4:  # the head may cut a character
            return False
        text = head[: error.start].decode()
    return bool(text.strip()) and all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)


def _is_zero(probe: Probe) -> bool:
    size = probe.source.size
    return not any(probe.head) and not any(probe.source.read(max(0, size - 4096), 4096))
