"""Layers that the checkpoint counts from one are numbered as the model numbers them, and tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlx_diagnose.collectors import safetensors_header
from mlx_diagnose.collectors.tensors import safetensors_dtype
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.specimen import write_safetensors
from tests.specimens import make_specimen
from tests.specimens.hub import environment


@pytest.mark.parametrize(("family", "series"), [("soprano", 1), ("voxcpm", 4)])
def test_layers_counted_from_one(family: str, series: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_DIAGNOSE_HOME", str(tmp_path / "home"))
    made = make_specimen(family, tmp_path / "model", size="small")
    for name, value in environment(made.hub).items():
        monkeypatch.setenv(name, value)
    (file,) = made.path.glob("*.safetensors")
    tensors = {
        re.sub(r"(?<=layers\.)\d+", lambda number: str(int(number[0]) + 1), name): (
            safetensors_dtype(info.dtype),
            info.shape,
        )
        for name, info in safetensors_header.read(file, file.name).tensors.items()
    }
    write_safetensors(file, tensors, metadata={"format": "mlx"})
    report = diagnose(Options(model=str(made.path), timeout=120))
    roots = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert [finding.failure_class for finding in roots] == ["weights/renamed"] * series
    assert {fix.applicability for finding in roots for fix in finding.fixes} == {"verified"}
    assert sorted(report.mends) == sorted(fix.id for finding in roots for fix in finding.fixes)
