"""The adapters of a mend as files: Python that needs nothing of ours, and YAML for the run-time library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mlx_diagnose.adapters.adapter import CATEGORIES, Adapter
from mlx_diagnose.adapters.adapter_source import adapter_source, module_name
from mlx_diagnose.adapters.adapter_yaml import NAME, InvalidAdapter, read_adapter, write_adapter
from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine.model import Fix, Report

_PACKAGES = ("mlx-audio", "mlx", "transformers")


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """``texts`` by file name; ``python`` is the source among them."""

    texts: dict[str, str]
    python: str


def adapter_for(report: Report, located: Located, mend: Mend, fixes: Sequence[Fix]) -> Adapter:
    """The adapter that does what ``mend`` does. For a defect of mlx-audio it is for the release seen alone."""
    packages = report.patient.packages
    verified = {name: packages[name] for name in _PACKAGES if name in packages}
    if report.patient.python:
        verified["Python"] = report.patient.python
    name = module_name(located.name).replace("_", "-")
    category = report.target.category
    return Adapter(
        name if NAME.fullmatch(name) else "adapter",
        title="; ".join(fix.title for fix in fixes),
        category=category if category in CATEGORIES else "tts",
        models=(located.name,),
        mlx_audio=f"=={packages['mlx-audio']}" if mend.shims and "mlx-audio" in packages else "",
        config_patch=mend.config_patch,
        weight_map=mend.weight_map,
        shims=mend.shims,
        environment=mend.environment,
        verified=verified,
    )


def adapter_files(adapter: Adapter, report: Report, located: Located) -> AdapterFiles:
    """Both forms of ``adapter``. YAML is left out where the model's names cannot stand in it."""
    assert located.directory is not None
    config = json.loads((located.directory / "config.json").read_bytes())
    model = located.model if located.source == "hub" else str(located.directory)
    stem = module_name(located.name)
    python = adapter_source(adapter, model, config, report.target.revision)
    texts = {f"{stem}.py": python}
    try:
        text = write_adapter(adapter)
        read = read_adapter(text, "")
        if (read.weight_map, read.environment) == (adapter.weight_map, adapter.environment):
            texts[f"{stem}.yaml"] = text
    except (InvalidAdapter, UnicodeError):
        pass
    return AdapterFiles(texts, python)
