"""A generated adapter: one Python file that loads the original model through the unmodified mlx-audio.

It needs nothing but the patient's own packages. Data from the model (names, keys, values) stands in
it as literals only, so nothing in a name can become code.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mlx_diagnose.adapters import shims as loader_shims
from mlx_diagnose.adapters import snippets
from mlx_diagnose.adapters.adapter import Adapter
from mlx_diagnose.adapters.config_statements import HELPERS, statements
from mlx_diagnose.adapters.python_literals import INDENT, call, literal, text_literal
from mlx_diagnose.adapters.weight_calls import calls

#: What could end a docstring, or is not plain.
_NOT_PLAIN = re.compile(r"""[^ -~]|["\\]""")
_NAME = re.compile(r"[^0-9a-z]+")


def module_name(model: str) -> str:
    """The name of the module for a model: ``adapter_kokoro_82m_bf16``."""
    return f"adapter_{_NAME.sub('_', model.lower()).strip('_') or 'model'}"[:80]


def adapter_source(adapter: Adapter, model: str, config: Mapping[str, Any], revision: str | None = None) -> str:
    """The text of the file, for ``model`` (a path or an id) whose config.json holds ``config``.

    Raises PatchError or WeightMapError where ``adapter`` does not fit, KeyError for an unknown shim.
    """
    edits = statements(config, adapter.config_patch)
    steps = calls(adapter.weight_map)
    used = {step.function for step in steps}
    patterns = bool(used - {"add", "add_values"})
    needs = {helper for helper in HELPERS if any(f"{helper}(" in edit for edit in edits)}
    parts = [
        _head(adapter, model),
        _imports(patterns, bool(adapter.environment)),
        _constants(model, adapter, revision),
        _mend_config(edits),
        *([_mend_weights(steps)] if steps else []),
        *(_shim(name) for name in adapter.shims),
        _load(bool(steps), adapter),
        *snippets.sources("config", needs),
        *snippets.sources("weights", used | ({"replace_each"} if used - {"stack", "add", "add_values"} else set())),
        *snippets.sources(
            "loading", (*(["set_variables"] if adapter.environment else []), "find", "overlay", "load_mended")
        ),
        _main(),
    ]
    head, imports, constants, *rest = parts
    return "\n\n".join([head, imports, constants]) + "\n\n\n" + "\n\n\n".join(rest) + "\n"


def _head(adapter: Adapter, model: str) -> str:
    name = plain(model.rstrip("/").rsplit("/", 1)[-1])
    seen = ", ".join(f"{plain(package)} {plain(version)}" for package, version in adapter.verified.items())
    lines = textwrap.wrap(f"Loads {name} through mlx-audio, which does not load it as it is.", 80)
    lines += ["", *textwrap.wrap("No file is changed: the config and the weights are mended while they are read.", 80)]
    if adapter.title:
        lines += textwrap.wrap(f"What is mended: {plain(adapter.title)}.", 80)
    if seen:
        lines += textwrap.wrap(f"Seen to load with {seen}. That it sounds right was not seen.", 80)
    lines += ["", f"    from {module_name(name)} import load", "", "    model = load()"]
    return '"""' + "\n".join(lines) + '\n"""'


def plain(text: str) -> str:
    """``text`` without anything that could end a comment or a docstring."""
    return _NOT_PLAIN.sub("_", text)[:400].strip()


def _imports(patterns: bool, environment: bool) -> str:
    names = ["atexit", "importlib", "json", "os", *(["re"] if patterns else []), "shutil"]
    names += ["sys", "tempfile", "warnings"] if environment else ["tempfile"]
    return (
        "from __future__ import annotations\n\n"
        + "".join(f"import {name}\n" for name in names)
        + "from pathlib import Path"
    )


def _constants(model: str, adapter: Adapter, revision: str | None) -> str:
    rows = [f"MODEL = {text_literal(model)}", f"REVISION = {literal(revision)}"]
    rows.append(f"CATEGORY = {text_literal(adapter.category)}")
    if adapter.environment:
        rows.append(f"ENVIRONMENT = {literal(dict(adapter.environment))}")
    return "\n".join(rows)


def _mend_config(edits: Sequence[str]) -> str:
    body = "\n".join(edits) + "\n" if edits else ""
    return f'def mend_config(config):\n{INDENT}"""config.json as mlx-audio wants it."""\n{body}{INDENT}return config'


def _mend_weights(steps: Sequence[Any]) -> str:
    rows = []
    for step in steps:
        arguments = ["weights", *(literal(argument, 2, at=len(INDENT) * 2 + 1) for argument in step.arguments)]
        rows.append(f"{INDENT}weights = {call(step.function, arguments, 1)}\n")
    said = '"""The tensors under the names and in the form that mlx-audio wants."""'
    return f"def mend_weights(weights):\n{INDENT}{said}\n{''.join(rows)}{INDENT}return weights"


def _shim(name: str) -> str:
    """The source of a shim as a function: what it defines stays inside."""
    lines = [
        line for line in loader_shims.source(name).strip("\n").splitlines() if not line.startswith("from __future__")
    ]
    text = "\n".join(line.replace("  # type: ignore[no-untyped-def]", "") for line in lines)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return f"def {_shim_function(name)}():\n{textwrap.indent(text, INDENT)}\n\n{INDENT}return install()"


def _shim_function(name: str) -> str:
    return f"mend_{name.replace('-', '_')}"


def _load(weights: bool, adapter: Adapter) -> str:
    mend = "mend_weights" if weights else "None"
    rows = [
        "def load(model=MODEL, **options):",
        f'{INDENT}"""The model, loaded by mlx-audio; ``options`` are those of its ``load_model``."""',
        *([f"{INDENT}set_variables(ENVIRONMENT)"] if adapter.environment else []),
        *(f"{INDENT}{_shim_function(name)}()" for name in adapter.shims),
        f"{INDENT}original = find(model, REVISION)",
        f'{INDENT}name = Path(model).name or "model"',
        f"{INDENT}directory = overlay(original, name, mend_config)",
        f"{INDENT}return load_mended(directory, CATEGORY, {mend}, **options)",
    ]
    return "\n".join(rows)


def _main() -> str:
    return f'if __name__ == "__main__":\n{INDENT}print(type(load(lazy=True)).__module__, "loads")'
