"""Each kind of fix gives back the parameters of the unbroken model, values included, by the real loader."""

from __future__ import annotations

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
