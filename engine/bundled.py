"""Diagnoses a model, or a bundle of one: that statically, from its files and headers."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from mlx_diagnose.engine import bundle_files, pipeline
from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import Progress


def diagnose(options: Options, progress: Progress = lambda _: None) -> Report:
    """As :func:`pipeline.diagnose`, of a bundle file as well. Raises UsageError."""
    if not bundle_files.is_bundle(options.model):
        return pipeline.diagnose(options, progress)
    with tempfile.TemporaryDirectory(prefix="diagnose-bundle-", ignore_cleanup_errors=True) as folder:
        directory = bundle_files.unpack(options.model, Path(folder))
        report = pipeline.diagnose(replace(options, model=str(directory), only_static=True, offline=True), progress)
    return replace(report, target=replace(report.target, model=options.model, source="bundle", path=None))
