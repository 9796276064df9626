"""Which adapters there are: those of an installed package, of the user, and of an app that registers its own.

Entry points of the group ``mlx_diagnose.adapters`` name an :class:`Adapter`, or several in a list, or
a module that has them as ``ADAPTERS``. The user's folder holds YAML files, and Python files with the
same name in them. Python of either is executed: it is the user's own.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from mlx_diagnose.adapters.adapter import Adapter, AdapterError
from mlx_diagnose.adapters.adapter_yaml import InvalidAdapter, read_adapter
from mlx_diagnose.engine.model import DiagnoseError
from mlx_diagnose.engine.rulebase.problems import Problem

ENTRY_POINT_GROUP = "mlx_diagnose.adapters"
#: What a Python file or module calls its adapters.
VARIABLE = "ADAPTERS"
_YAML = (".yaml", ".yml")

_registered: dict[str, Adapter] = {}


@dataclass(frozen=True, slots=True)
class Broken:
    """A place that should hold adapters and cannot be used."""

    source: str
    reason: str


def register(adapter: Adapter) -> Adapter:
    """Make ``adapter`` known to this process; one of the same name is replaced."""
    known = replace(adapter, source=adapter.source or "registered by this process")
    _registered[adapter.name] = known
    return known


def adapters_folder() -> Path:
    """``adapters`` below the user's configuration folder of this tool."""
    from platformdirs import user_config_path

    return user_config_path("mlx-diagnose", appauthor=False) / "adapters"


def find_adapters(*, plugins: bool = True, folder: Path | None = None) -> tuple[dict[str, Adapter], list[Broken]]:
    """All adapters by name, a later place before an earlier one: packages, the user's folder, this process."""
    found: dict[str, Adapter] = {}
    broken: list[Broken] = []
    folder = adapters_folder() if folder is None else folder
    for place in (*(_installed(broken) if plugins else ()), *_files(folder, broken)):
        found[place.name] = place
    return {**found, **_registered}, broken


def read_file(path: Path) -> list[Adapter]:
    """The adapters in a YAML or Python file. Raises InvalidAdapter, with line and column where there are any."""
    if path.suffix in _YAML:
        try:
            return [read_adapter(path.read_text(encoding="utf-8"), str(path))]
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidAdapter([Problem(str(path), 1, 1, f"it cannot be read: {error}")]) from None
    if path.suffix != ".py":
        raise InvalidAdapter([Problem(str(path), 1, 1, "an adapter file ends in .yaml, .yml or .py")])
    spec = importlib.util.spec_from_file_location(f"diagnose_adapter_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return _adapters_of(module, str(path))
    except SyntaxError as error:
        problem = Problem(str(path), error.lineno or 1, error.offset or 1, f"not valid Python: {error.msg}")
        raise InvalidAdapter([problem]) from None
    except AdapterError as error:
        raise InvalidAdapter([Problem(str(path), 1, 1, str(error))]) from None
    except Exception as error:
        raise InvalidAdapter([_raised(path, error)]) from None


def _raised(path: Path, error: Exception) -> Problem:
    """The line of the file that was running."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return Problem(str(path), line, 1, f"it raises {type(error).__name__}: {error}")


def _files(folder: Path, broken: list[Broken]) -> Iterator[Adapter]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix in (*_YAML, ".py") and not path.name.startswith((".", "_")):
            try:
                yield from read_file(path)
            except DiagnoseError as error:
                broken.append(Broken(str(path), error.why))


def _installed(broken: list[Broken]) -> Iterator[Adapter]:
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        source = f"entry point {entry.name} ({entry.value})"
        try:
            yield from _adapters_of(entry.load(), source)
        except Exception as error:
            broken.append(Broken(source, f"{type(error).__name__}: {error}"))


def _adapters_of(found: object, source: str) -> list[Adapter]:
    if isinstance(found, ModuleType):
        if not hasattr(found, VARIABLE):
            raise AdapterError(f"it has no {VARIABLE}")
        found = getattr(found, VARIABLE)
    adapters = [found] if isinstance(found, Adapter) else list(found) if isinstance(found, (list, tuple)) else None
    if adapters is None or not all(isinstance(adapter, Adapter) for adapter in adapters):
        raise AdapterError(f"{VARIABLE} is an Adapter or a list of them, not {type(found).__name__}")
    return [replace(adapter, source=adapter.source or source) for adapter in adapters]
