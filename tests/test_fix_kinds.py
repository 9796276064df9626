"""Each kind of fix gives back the parameters of the unbroken model, values included, by the real loader."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.specimens import fix_score, make_specimen
from tests.specimens.mutants import Mutant, mutate, quantised

EIGHT = {"group_size": 64, "bits": 8}
SIX = {"group_size": 32, "bits": 6}
MXFP4 = {"group_size": 32, "bits": 4, "mode": "mxfp4"}

#: Family, fault, and what the fix says.
FAULTS: tuple[tuple[str, str, Mapping[str, Any], str], ...] = (
    ("soprano", "projections-joined", {"whole": "qkv_proj"}, "split the projections"),
    ("llama", "projections-joined", {"whole": "gate_up_proj"}, "split the projections"),
    ("arktts", "projections-split", {"whole": "wqkv", "sizes": (2, 1, 1)}, "join the projections"),
    ("soprano", "types-widened", {}, "Cast the tensors"),
    # One of the six is as long one way as the other: its values are those of the whole model only if it goes along.
    ("indextts", "kind-transposed", {"start": "ups.", "ending": "weight_v"}, "these tensors"),
    # And it stays as it is where the others of its kind are.
    ("indextts", "convolution-transposed", {"name": "ups.0.0.weight_v"}, "these tensors"),
    ("kokoro", "types-widened", {"ending": "weight_g"}, "Cast the tensors"),
)


@pytest.mark.long
@pytest.mark.parametrize(("family", "kind", "options", "words"), FAULTS)
def test_a_fix_of_the_weights(tmp_path: Path, family: str, kind: str, options: Mapping[str, Any], words: str) -> None:
    whole = make_specimen(family, tmp_path)
    (result,) = fix_score.judged([(mutate(whole, kind, tmp_path / "broken", **options), whole)], tmp_path)
    assert result.mark == "ok", result
    assert words in result.detail


@pytest.mark.long
def test_a_mixed_quantisation_gets_its_entries_back(tmp_path: Path) -> None:
    """Eight bits among four, six among four and eight, another mode, and most layers otherwise than declared."""
    plain = make_specimen("llama", tmp_path)
    others = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj")
    mixes: tuple[Mapping[str, Mapping[str, Any]], ...] = (
        {"down_proj": EIGHT},
        {"v_proj": SIX, "down_proj": EIGHT},
        {"down_proj": MXFP4},
        dict.fromkeys(others, EIGHT),
    )
    pairs: list[tuple[Mutant, Any]] = []
    for number, mixed in enumerate(mixes):
        whole = quantised(plain, tmp_path / f"whole-{number}", mixed=mixed)
        pairs.append((mutate(whole, "quantization-entries-missing", tmp_path / f"broken-{number}"), whole))
    for (_, whole), result in zip(pairs, fix_score.judged(pairs, tmp_path), strict=True):
        assert result.mark == "ok", (whole.config["quantization"], result)
        assert "Add entries" in result.detail


@pytest.mark.long
def test_a_buffer_that_the_model_computes_is_added_with_its_values(tmp_path: Path) -> None:
    """What ``--fix`` writes holds what the formula of bailingmm's rotary embedding gives, and else nothing new."""
    name = "linear_proj_audio.rotary_embed.inv_freq"
    whole = make_specimen("bailingmm", tmp_path)
    broken = mutate(whole, "tensor-dropped", tmp_path / "broken", name=name).specimen
    environment = {**os.environ, **whole.environment, "MLX_DIAGNOSE_HOME": str(tmp_path / "home")}
    out = tmp_path / "out" / broken.path.name
    words = [sys.executable, "-m", "mlx_diagnose", str(broken.path), "--category", "tts", "--fix", "--out", str(out)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    adapter = ["--adapter", str(next(out.rglob("adapter_*.py"))), str(broken.path)]
    before, *afterwards = [
        json.loads(line)["parameters"]
        for arguments in ([str(whole.path)], [str(out)], adapter)
        for line in subprocess.run(
            [sys.executable, "tests/loaded_parameters.py", *arguments],
            env=environment,
            cwd=fix_score.ROOT,
            capture_output=True,
            check=True,
        ).stdout.splitlines()
    ]
    mx = pytest.importorskip("mlx.core")
    size = 2 * before.pop(name)[1][0]
    exponents = mx.arange(0, size, 2).astype(mx.float32) / size
    values = bytes(memoryview((1.0 / 10000.0**exponents).view(mx.uint8)))
    for after in afterwards:
        assert after.pop(name) == ["mlx.core.float32", [size // 2], hashlib.sha256(values).hexdigest()]
        assert after == before


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "name"),
    [("soprano", "norm.weight"), ("soprano", "lm_head.weight"), ("dramabox", "vocoder.mel_stft.stft_fn.forward_basis")],
)
def test_a_missing_weight_is_not_filled(tmp_path: Path, family: str, name: str) -> None:
    """Ones, random numbers, and zeros in the place of a table that is to be loaded."""
    whole = make_specimen(family, tmp_path)
    report, _ = fix_score.diagnosed(mutate(whole, "tensor-dropped", tmp_path / "broken", name=name), tmp_path)
    fixes = [fix for finding in report["findings"] for fix in finding["fixes"]]
    assert "mends" not in report
    assert not [fix for fix in fixes if fix["weight_map"] and "hide a fault" not in fix["reason"]], fixes
