"""What a module fetches while it is imported, it fetches when it is first used.

``mlx_audio/tts/models/llama/llama.py`` and ``qwen3/qwen3.py`` load the SNAC codec in a statement of
the module: without network or cache the import of the family fails, whatever model is loaded.
"""

from __future__ import annotations

from typing import Any

from mlx_diagnose.adapters.codemods._insertion import with_import

TITLE = "Load what a module fetches when it is first used, not while it is imported"
CAUSE = (
    "The module loads a companion from the hub in a statement of its own, so importing the family needs the network "
    "or a warm cache, and fails without, even where the companion is never used."
)
_FETCHES = ("from_pretrained", "snapshot_download", "hf_hub_download")


def transform(source: str, line: int | None) -> str:
    """Each ``NAME = ...from_pretrained(...)`` at the top of a module as a cached function ``NAME()``."""
    del line
    import libcst as cst

    module = cst.parse_module(source)
    for name in [name for row in module.body if (name := _fetched(row)) is not None]:
        at, row = next((at, row) for at, row in enumerate(module.body) if _fetched(row) == name)
        rest = _with_calls(module.with_changes(body=[*module.body[:at], *module.body[at + 1 :]]), name)
        module = rest.with_changes(body=[*rest.body[:at], _function(row, name), *rest.body[at:]])
        module = with_import(module, "from functools import lru_cache\n")
    return module.code


def _with_calls(module: Any, name: str) -> Any:
    """``module`` with a call of ``name`` where it stands as a value; attributes, parameters and keywords are others."""
    import libcst as cst

    class Calls(cst.CSTTransformer):
        def leave_Name(self, original_node: Any, updated_node: Any) -> Any:
            return cst.Call(updated_node) if updated_node.value == name else updated_node

        def leave_Attribute(self, original_node: Any, updated_node: Any) -> Any:
            return updated_node.with_changes(attr=original_node.attr)

        def leave_Param(self, original_node: Any, updated_node: Any) -> Any:
            return updated_node.with_changes(name=original_node.name)

        def leave_Arg(self, original_node: Any, updated_node: Any) -> Any:
            return updated_node.with_changes(keyword=original_node.keyword)

    return module.visit(Calls())


def _fetched(row: Any) -> str | None:
    """The name that a statement gives to something fetched."""
    import libcst as cst
    from libcst import matchers

    if not (isinstance(row, cst.SimpleStatementLine) and isinstance(row.body[0], cst.Assign)):
        return None
    assign = row.body[0]
    target = assign.targets[0].target
    fetch = matchers.Call(
        func=matchers.OneOf(
            *(matchers.Attribute(attr=matchers.Name(name)) for name in _FETCHES),
            *(matchers.Name(name) for name in _FETCHES),
        )
    )
    found = len(assign.targets) == 1 and isinstance(target, cst.Name) and matchers.findall(assign.value, fetch)
    return target.value if found and isinstance(target, cst.Name) else None


def _function(row: Any, name: str) -> Any:
    import libcst as cst

    function = cst.parse_statement(f"@lru_cache(maxsize=None)\ndef {name}():\n    return None\n")
    assert isinstance(function, cst.FunctionDef)
    value = cst.SimpleStatementLine([cst.Return(row.body[0].value)])
    return function.with_changes(body=cst.IndentedBlock([value]), leading_lines=row.leading_lines)


def regression_test(module: str) -> str:
    """Imports the module in a process without network and cache."""
    return f'''\
import os
import subprocess
import sys


def test_import_reaches_for_nothing(tmp_path):
    """Importing {module} must neither ask the hub nor need a cache."""
    environment = {{**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}}
    done = subprocess.run(
        [sys.executable, "-c", "import {module}"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
'''
