"""Adapters as YAML: read strictly, with file, line and column of what is wrong, and written.

::

    adapter: soprano-80m            # its name: letters, digits, . _ -
    title: What is mended, in a line
    category: tts
    models: ["Soprano-80M*"]        # names of directories or repositories
    families: [soprano]             # model types
    mlx_audio: ">=0.4,<0.7"         # releases (PEP 440)
    config_patch:                   # RFC 6902, of config.json
      - {op: move, from: "/n_layers", path: "/num_hidden_layers"}
    weight_map:                     # see weight_operations.py
      - {op: rename, from: "module.{rest}", to: "{rest}"}
    shims: [metal-kernels]
    environment: {HF_HUB_CACHE: "/models/hub"}  # set before mlx-audio is imported; stays set
    verified: {mlx-audio: "0.6.2"}  # what it was seen to load with
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlx_diagnose.adapters import shims as loader_shims
from mlx_diagnose.adapters.adapter import CATEGORIES, Adapter
from mlx_diagnose.adapters.config_patch import PatchError, check_operation
from mlx_diagnose.adapters.weight_operations import WeightMapError, read
from mlx_diagnose.engine.model import RuleError
from mlx_diagnose.engine.rulebase.problems import Problem, did_you_mean, one_of
from mlx_diagnose.engine.rulebase.variables import refused
from mlx_diagnose.engine.rulebase.yaml_tree import Node, Tree, resolve

KEYS = (
    *("adapter", "title", "category", "models", "families", "mlx_audio"),
    *("config_patch", "weight_map", "shims", "environment", "verified"),
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PLAIN = re.compile(r"[a-z][a-z_-]*")


class InvalidAdapter(RuleError):
    """An adapter file that cannot be used, with every problem found in it (exit 4)."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            "invalid-adapter",
            f"{problems[0].file}: {count}",
            why="\n".join(map(str, problems)),
            next_step="Correct the file; `diagnose adapters validate FILE` checks it.",
        )
        self.problems = tuple(problems)


def read_adapter(text: str, file: str) -> Adapter:
    """The adapter in ``text``, which stands in ``file``. Raises InvalidAdapter."""
    tree = Tree(file, text)
    adapter = _adapter(tree, tree.root) if tree.root is not None else None
    if tree.problems or adapter is None:
        raise InvalidAdapter(sorted(tree.problems))
    return adapter


def _adapter(tree: Tree, root: Node) -> Adapter | None:
    found = tree.record(root, "an adapter", KEYS, ("adapter",))
    if found is None or "adapter" not in found:
        return None
    name = tree.text(found["adapter"], "adapter") or ""
    if name and not NAME.fullmatch(name):
        tree.problem(found["adapter"], f"{name!r} is no name", "Use letters, digits, '.', '_' and '-'.")
    category = tree.choice(found["category"], "category", CATEGORIES) if "category" in found else "tts"
    models = tuple(tree.texts(found["models"], "models")) if "models" in found else ()
    families = tuple(tree.texts(found["families"], "families")) if "families" in found else ()
    if not models and not families:
        tree.problem(root, "an adapter names models or families, so that it is known what it is for")
    return Adapter(
        name,
        title=(tree.text(found["title"], "title") or "") if "title" in found else "",
        category=category or "tts",
        models=models,
        families=families,
        mlx_audio=_range(tree, found.get("mlx_audio")),
        config_patch=_patch(tree, found.get("config_patch")),
        weight_map=_weight_map(tree, found.get("weight_map")),
        shims=_shims(tree, found.get("shims")),
        environment=_environment(tree, found.get("environment")),
        verified=_texts(tree, found.get("verified"), "verified"),
        source=tree.file,
    )


def _range(tree: Tree, node: Node | None) -> str:
    if node is None:
        return ""
    text = tree.text(node, "mlx_audio") or ""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        tree.problem(node, f"{text!r} is no range of versions", 'Write one such as ">=0.4,<0.7".')
    return text


def _patch(tree: Tree, node: Node | None) -> tuple[Mapping[str, Any], ...]:
    made = []
    for item in tree.items(node, "config_patch") or [] if node is not None else []:
        operation = _data(item)
        try:
            check_operation(operation)
        except PatchError as error:
            tree.problem(item, f"not an operation of RFC 6902: {error}")
        else:
            made.append(operation)
    return tuple(made)


def _weight_map(tree: Tree, node: Node | None) -> tuple[Mapping[str, Any], ...]:
    made = []
    for item in tree.items(node, "weight_map") or [] if node is not None else []:
        operation = _data(item)
        try:
            read([operation])
        except WeightMapError as error:
            tree.problem(item, str(error).removeprefix("operation 1").lstrip(": "))
        else:
            made.append(operation)
    return tuple(made)


def _shims(tree: Tree, node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    known = loader_shims.names()
    names = tuple(tree.texts(node, "shims"))
    for name in names:
        if name not in known:
            tree.problem(node, f"there is no shim {name!r}", did_you_mean(name, known) or one_of(known))
    return names


def _environment(tree: Tree, node: Node | None) -> dict[str, str]:
    found = _texts(tree, node, "environment")
    for name in found:
        why = refused(name)
        if why is not None and node is not None:
            tree.problem(node, why)
    return found


def _texts(tree: Tree, node: Node | None, what: str) -> dict[str, str]:
    items = tree.mapping(node, what) if node is not None else None
    return {name: tree.text(value, f"{what}.{name}") or "" for name, (_, value) in (items or {}).items()}


def _data(node: Node) -> Any:
    """A node as plain data. The tree has checked that it is no deeper than Python can follow."""
    if node.id == "scalar":
        return resolve(node)
    if node.id == "sequence":
        return [_data(item) for item in node.value]
    return {key.value: _data(value) for key, value in node.value}


# -- writing ------------------------------------------------------------------------------


def write_adapter(adapter: Adapter) -> str:
    """``adapter`` as YAML; what is a function in it is left out. It reads back as the same."""
    lines = [f"adapter: {_text(adapter.name)}"]
    if adapter.title:
        lines.append(f"title: {_text(adapter.title)}")
    lines.append(f"category: {_text(adapter.category)}")
    lines += [
        f"{key}: {_flow(list(value))}"
        for key, value in (("models", adapter.models), ("families", adapter.families))
        if value
    ]
    if adapter.mlx_audio:
        lines.append(f"mlx_audio: {_text(adapter.mlx_audio)}")
    for key, operations in (("config_patch", adapter.config_patch), ("weight_map", adapter.weight_map)):
        if operations:
            lines += [f"{key}:", *(f"  - {_flow(operation)}" for operation in operations)]
    if adapter.shims:
        lines.append(f"shims: {_flow(list(adapter.shims))}")
    if adapter.environment:
        lines.append(f"environment: {_flow(adapter.environment)}")
    if adapter.verified:
        lines.append(f"verified: {_flow(adapter.verified)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A value in one line. Texts are quoted, so that none is taken for something else."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return repr(value)


def _key(key: str) -> str:
    return key if _PLAIN.fullmatch(key) and key not in ("true", "false", "null") else _text(key)


def _text(text: str) -> str:
    return '"' + "".join(map(_char, text)) + '"'


def _char(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isascii() and char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
