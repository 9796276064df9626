"""The formats of a report. Each is a module of this package with a function ``render(report, view)``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.report.view import View

#: In the order of the help. A format is offered once its module is there.
NAMES: tuple[str, ...] = ("text", "json", "sarif", "junit", "markdown", "html")


def available() -> tuple[str, ...]:
    """The formats that can be rendered; nothing is imported."""
    return tuple(name for name in NAMES if find_spec(_module(name)) is not None)


def render(name: str, report: Report, view: View) -> str:
    """``report`` in the format ``name``, ending in a line feed."""
    function: Callable[[Report, View], str] = import_module(_module(name)).render
    return function(report, view)


def _module(name: str) -> str:
    return f"mlx_diagnose.engine.report.{name}"
