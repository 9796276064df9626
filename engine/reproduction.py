"""Writes a reproduction: one Python file that makes a small model directory and loads it with mlx-audio.

Everything that comes from a model (names, texts, keys, messages) is written as an ASCII literal
of Python or as a comment of one line, so that nothing in it can be code. What the script needs is
mlx-audio and the standard library.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mlx_diagnose import __version__
from mlx_diagnose.engine.model_files import ModelFile

_WIDTH = 100

_WRITE_TENSORS = '''
def write_tensors(path, tensors, longer):
    """A safetensors file of zeros, ``longer`` than they need by so many bytes."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end + longer)


BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4,
         "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8}
'''

_EXPAND = '''
def expand(tensors):
    """Names such as layers.{0..27}.weight written out."""
    for pattern, tensor in tensors.items():
        parts = re.split(r"\\{(\\d+)\\.\\.(\\d+)\\}", pattern)
        ranges = [range(int(a), int(b) + 1) for a, b in zip(parts[1::3], parts[2::3])]
        for numbers in itertools.product(*ranges):
            yield parts[0] + "".join(str(n) + text for n, text in zip(numbers, parts[3::3])), tensor

'''


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be reproduced.

    ``name`` is the model directory's, ``config`` the text of config.json (None for none), ``module``
    and ``function`` the loader. ``story`` says what happens, a line each; ``environment`` holds variables.
    """

    name: str
    config: bytes | None
    module: str
    function: str
    story: Sequence[str]
    files: Sequence[ModelFile] = ()
    environment: dict[str, str] = field(default_factory=dict)


def script(case: Case) -> str:
    """The source of the reproduction: ASCII, ends in a line feed."""
    tables = [file for file in case.files if file.how == "tensors"]
    contents = [file for file in case.files if file.how == "content"]
    packed = any(_text(file.content) is None for file in contents) or (
        case.config is not None and _text(case.config) is None
    )
    modules = ["importlib", "inspect", "os", "tempfile"]
    modules += ["base64", "zlib"] if packed else []
    modules += ["json", "math", "struct"] if tables else []
    modules += ["itertools", "re"] if any(file.collapsed for file in tables) else []
    lines = ["#!/usr/bin/env python3", *(_comment(line) for line in case.story)]
    lines.append(_comment(f"Written by diagnose {__version__}. Needs mlx-audio and nothing else."))
    lines += [f"import {module}" for module in sorted(modules)]
    lines += ["", f"NAME = {case.name!a}  # the loader takes hints from the directory's name", ""]
    lines += ["CONFIG = " + _literal(case.config) if case.config is not None else "CONFIG = None", ""]
    lines += _files(contents)
    lines += _tables(tables)
    lines += _functions(case, tables)
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    line = ascii(text)[1:-1]
    return "# " + (line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "...")


def _text(content: bytes) -> str | None:
    """``content`` as text that is readable in a literal, or None."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    longest = max((len(line) for line in text.split("\n")), default=0)
    return text if longest <= 20 * _WIDTH and "\0" not in text else None


def _literal(content: bytes) -> str:
    """An expression of Python whose value is ``content``."""
    text = _text(content)
    if text is None:
        data = base64.b64encode(zlib.compress(content, 9)).decode("ascii")
        rows = [f'    "{data[at : at + _WIDTH]}"' for at in range(0, len(data), _WIDTH)]
        return "\n".join(["zlib.decompress(base64.b64decode(", *rows, "))"])
    if "\n" not in text:
        return f"{text!a}.encode()"
    rows = [f"    {row!a}" for row in text.splitlines(keepends=True)]
    return "\n".join(["(", *rows, ").encode()"])


def _files(files: Sequence[ModelFile]) -> Iterator[str]:
    if not files:
        return
    yield "# Other files of the model: content, and length where that is not all of it."
    yield "FILES = {"
    for file in files:
        size = None if file.whole else file.size
        yield f"    {file.name!a}: ({_literal(file.content)}, {size}),"
    yield "}"
    yield ""


def _tables(files: Sequence[ModelFile]) -> Iterator[str]:
    if not files:
        return
    yield "# Weights: by how many bytes the file is too long, whether {0..3} in a name stands for numbers,"
    yield "# and type and shape of each tensor; the values are zeros."
    yield "TENSORS = {"
    for file in files:
        yield f"    {file.name!a}: ({file.size}, {file.collapsed}, {{"
        for name, (dtype, shape) in file.tensors.items():
            yield f"        {name!a}: ({dtype!a}, {tuple(int(axis) for axis in shape)!r}),"
        yield "    }),"
    yield "}"
    yield ""


def _functions(case: Case, tables: Sequence[ModelFile]) -> Iterator[str]:
    if tables:
        yield from _WRITE_TENSORS.splitlines()
    collapsed = any(file.collapsed for file in tables)
    if collapsed:
        yield from _EXPAND.splitlines()
    yield ""
    yield "def make(model):"
    yield '    """Write the model into the directory ``model``."""'
    yield "    os.makedirs(model)"
    yield "    if CONFIG is not None:"
    yield '        with open(os.path.join(model, "config.json"), "wb") as file:'
    yield "            file.write(CONFIG)"
    if any(file.how == "content" for file in case.files):
        yield "    for name, (content, size) in FILES.items():"
        yield "        path = os.path.join(model, name)"
        yield "        os.makedirs(os.path.dirname(path), exist_ok=True)"
        yield '        with open(path, "wb") as file:'
        yield "            file.write(content)"
        yield "            file.truncate(len(content) if size is None else size)"
    if tables:
        yield "    for name, (longer, ranges, tensors) in TENSORS.items():"
        yield "        path = os.path.join(model, name)"
        yield "        os.makedirs(os.path.dirname(path), exist_ok=True)"
        if collapsed:
            yield "        tensors = dict(expand(tensors)) if ranges else tensors"
        yield "        write_tensors(path, tensors, longer)"
    yield ""
    yield ""
    yield "def main():"
    for variable, value in case.environment.items():
        yield f"    os.environ.setdefault({variable!a}, {value!a})  # as when it was found"
    yield f"    load = getattr(importlib.import_module({case.module!a}), {case.function!a})"
    yield '    options = {"lazy": True} if "lazy" in inspect.signature(load).parameters else {}'
    yield "    with tempfile.TemporaryDirectory() as folder:"
    yield "        model = os.path.join(folder, NAME)"
    yield "        make(model)"
    yield "        load(model, **options)"
    yield '    print("It loads: the failure is gone.")'
    yield ""
    yield ""
    yield 'if __name__ == "__main__":'
    yield "    main()"
