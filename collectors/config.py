"""The model's config.json as a file and as data: what stands in it, and where.

mlx-audio reads ``config.json`` as UTF-8 with :func:`json.load`
(``mlx_audio/utils.py::load_config``); what that would refuse is refused here with a reason.
Nothing that lies in the directory makes this collector raise.
"""

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.excerpts import excerpt_lines
from mlx_diagnose.collectors.json_errors import explain_json_error
from mlx_diagnose.collectors.json_positions import MAX_DEPTH, JsonPositions
from mlx_diagnose.collectors.text import clean, json_text, json_type, scalar_text
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

NAME = "config.json"

#: Bytes of config that are read; real ones have some kilobytes.
MAX_BYTES = 32 * 2**20
#: Facts, and entries of one nested container, that are asserted; vocabularies inside a config are not expanded.
MAX_KEYS = 5_000
MAX_ENTRIES = 200
MAX_LIST = 32

_LFS = b"version https://git-lfs.github.com/spec/"
#: Files that hold the configuration in other layouts of a model repository.
ALTERNATIVES = (
    "params.json",
    "config.yaml",
    "config.yml",
    "config.json5",
    "config.json.txt",
    "model_config.json",
    "model_config.yaml",
    "hyperparams.yaml",
    "config.toml",
)


@dataclass(frozen=True)
class ConfigDocument:
    """config.json as read. ``data`` is None unless ``state`` is ok; ``line`` and ``column``: where parsing failed."""

    directory: Path
    state: str
    data: dict[str, Any] | None = None
    text: str | None = None
    message: str | None = None
    line: int | None = None
    column: int | None = None
    positions: JsonPositions = field(default_factory=lambda: JsonPositions(""), compare=False, repr=False)

    @property
    def file(self) -> Path:
        return self.directory / NAME

    def line_of(self, path: str) -> int | None:
        """1-based line of the key at dotted ``path``, None where it has none."""
        found = self.positions.of(path) if self.data is not None else None
        return found[0] if found else None

    def value_at(self, path: str, default: Any = None) -> Any:
        """The value at dotted ``path``; list items by index; keys that themselves hold dots are found."""
        return value_at(self.data, path, default)

    def excerpt(self, where: str | int | None = None) -> str | None:
        """The user's lines around a dotted path or a line number, with a caret; None if there is nothing to show.

        Without ``where``: the place where parsing failed.
        """
        if self.text is None:
            return None
        if where is None:
            place = (self.line, self.column) if self.line is not None else None
        elif isinstance(where, int):
            place = (where, None)
        else:
            place = self.positions.of(where) if self.data is not None else None
        if place is None or place[0] is None:
            return None
        return excerpt_lines(self.text, NAME, place[0], place[1])


def value_at(data: Any, path: str, default: Any = None) -> Any:
    """The value at dotted ``path`` of nested ``data``, or ``default``; the empty path is ``data`` itself."""
    if not path:
        return data
    if isinstance(data, Mapping):
        if path in data:
            return data[path]
        head, _, rest = path.partition(".")
        while rest:
            if head in data:
                found = value_at(data[head], rest, _MISSING)
                if found is not _MISSING:
                    return found
            part, _, rest = rest.partition(".")
            head = f"{head}.{part}"
        return default
    if isinstance(data, list):
        head, _, rest = path.partition(".")
        if head.isdecimal() and int(head) < len(data):
            return value_at(data[int(head)], rest, default)
    return default


_MISSING = object()


def collect(memory: WorkingMemory, directory: Path | None) -> ConfigDocument:
    """Read ``directory/config.json``; assert config_file, config_key and quantization_block."""
    document = read_config(directory) if directory is not None else ConfigDocument(Path(), "absent")
    at = Provenance("config", file=str(document.file), line=document.line)
    duplicates = document.positions.duplicates if document.data is not None and document.message else ()
    memory.add(
        "config_file",
        at,
        file=NAME,
        state=document.state,
        line=document.line,
        column=document.column,
        message=clean(document.message, 500) if document.message else None,
        alternative=None if document.state == "ok" or directory is None else _alternative(directory),
        duplicate_keys=clean(", ".join(duplicates), 500) or None,
    )
    for path in duplicates:
        memory.add(
            "duplicate_key",
            Provenance("config", file=str(document.file), line=document.line_of(path), path=clean(path)),
            path=clean(path),
            first=json_text(document.positions.overridden(path)),
            last=json_text(document.value_at(path)),
        )
    if document.data is not None:
        for path, parent, name, value in _walk(document.data):
            line = document.line_of(path)
            memory.add(
                "config_key",
                Provenance("config", file=str(document.file), line=line, path=clean(path)),
                path=clean(path),
                parent=clean(parent),
                name=clean(name),
                type=json_type(value),
                value=scalar_text(value),
                line=line,
            )
        _assert_quantization(memory, document)
    return document


def read_config(directory: Path) -> ConfigDocument:
    """Read and parse ``directory/config.json``; never raises."""
    file = directory / NAME
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            return ConfigDocument(directory, "unreadable", message=f"{NAME} is {what}")
        if status.st_size > MAX_BYTES:
            size = f"{status.st_size / 2**20:,.0f} MiB"
            return ConfigDocument(directory, "unreadable", message=f"{NAME} has {size}, which no config has")
        with open(file, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if os.path.islink(file):
            return ConfigDocument(
                directory, "unreadable", message=f"{NAME} is a link to {os.readlink(file)}, which is not there"
            )
        return ConfigDocument(directory, "absent")
    except (OSError, ValueError) as error:
        return ConfigDocument(directory, "unreadable", message=getattr(error, "strerror", None) or str(error))
    return parse_config(directory, raw)


def parse_config(directory: Path, raw: bytes) -> ConfigDocument:
    """``raw``, the bytes of ``directory/config.json``, as a document; never raises."""
    if not raw.strip():
        return ConfigDocument(directory, "empty", message=f"{NAME} has {len(raw)} bytes and no content")
    if raw.startswith(_LFS):
        return ConfigDocument(directory, "lfs-pointer", text=raw.decode("utf-8", "replace"))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        return ConfigDocument(
            directory,
            "not-utf8",
            message=f"byte 0x{raw[error.start]:02x} at offset {error.start}: {error.reason}",
            line=before.count(b"\n") + 1,
            column=len(before) - (before.rfind(b"\n") + 1) + 1,
        )
    notes: dict[str, None] = {}
    try:
        data = json.loads(text, object_pairs_hook=_pairs(notes), parse_constant=_constant(notes))
    except json.JSONDecodeError as error:
        line, column = JsonPositions(text).line_column(error.pos)
        message = explain_json_error(text, error)
        return ConfigDocument(directory, "invalid-json", text=text, message=message, line=line, column=column)
    except RecursionError:
        return ConfigDocument(directory, "too-deep", message="its values are nested deeper than Python's parser goes")
    except ValueError as error:  # an integer of more than 4300 digits
        return ConfigDocument(directory, "invalid-json", text=text, message=str(error))
    if not isinstance(data, dict):
        message = f"the top level is of type {json_type(data)}; a config is an object"
        return ConfigDocument(directory, "not-an-object", text=text, message=message, line=1, column=1)
    return ConfigDocument(
        directory, "ok", data=data, text=text, message="; ".join(notes) or None, positions=JsonPositions(text)
    )


def _pairs(notes: dict[str, None]) -> Any:
    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    notes[f"the key {name!r} is given more than once; the last one counts"] = None
                seen.add(name)
        return built

    return build


def _constant(notes: dict[str, None]) -> Any:
    def build(name: str) -> float:
        notes[f"{name} is not JSON, though Python's parser takes it"] = None
        return float(name)

    return build


def _walk(data: dict[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    """(path, parent, name, value) of at most MAX_KEYS keys, the nearest to the top first."""
    queue: deque[tuple[str, Any, int]] = deque([("", data, 1)])
    count = 0
    while queue:
        parent, container, depth = queue.popleft()
        items = container.items() if isinstance(container, dict) else ((str(i), v) for i, v in enumerate(container))
        for name, value in items:
            if count >= MAX_KEYS:
                return
            count += 1
            path = f"{parent}.{name}" if parent else name
            yield path, parent, name, value
            if depth < MAX_DEPTH and _is_expanded(value):
                queue.append((path, value, depth + 1))


def _is_expanded(value: Any) -> bool:
    if isinstance(value, dict):
        return len(value) <= MAX_ENTRIES
    return isinstance(value, list) and len(value) <= MAX_LIST


def _assert_quantization(memory: WorkingMemory, document: ConfigDocument) -> None:
    # The order and the meaning of null are those of mlx_audio/utils.py::apply_quantization.
    assert document.data is not None
    key = next((k for k in ("quantization", "quantization_config") if document.data.get(k) is not None), None)
    block = document.data[key] if key else None
    settings = block if isinstance(block, dict) else {}
    line = document.line_of(key) if key else None

    def integer(name: str) -> int | None:
        value = settings.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31 else None

    def text(name: str) -> str | None:
        value = settings.get(name)
        return clean(value, 100) if isinstance(value, str) else None

    memory.add(
        "quantization_block",
        Provenance("config", file=str(document.file), line=line, path=key),
        present=key is not None,
        key=key,
        bits=integer("bits"),
        group_size=integer("group_size"),
        mode=text("mode"),
        method=text("quant_method"),
        is_object=isinstance(block, dict),
        per_layer=sum(isinstance(value, dict) or value is False for value in settings.values()),
        line=line,
    )


def _alternative(directory: Path) -> str | None:
    """Another file that could be the config: of another case, another name, or one folder down."""
    try:
        names = sorted(os.listdir(directory))[:2000]
    except OSError:
        return None
    for name in names:
        if name != NAME and name.lower() == NAME:
            return clean(name)
    for name in ALTERNATIVES:
        if name in names:
            return name
    for name in names:
        try:
            if os.path.isfile(directory / name / NAME):
                return clean(f"{name}/{NAME}")
        except OSError:
            continue
    return None
