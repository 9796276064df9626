"""What is called a fix makes the real loader load the very parameters of the unbroken model.

The quick sample is of one family, with one fault and with several at once; ``python -m
tests.specimens.fix_score`` prints the same for all, and its bounds hold in the long tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.specimens import fix_score, make_specimen
from tests.specimens.mutants import Mutant, mutate

FAMILIES = (
    *("arktts", "bark", "dia", "indextts", "kitten_tts", "kokoro", "llama", "melotts"),
    *("outetts", "qwen3", "sesame", "soprano", "spark", "vibevoice", "voxcpm"),
)
Fault = tuple[str, Mapping[str, Any]]

#: Faults of one model, and what of the fixes must be said.
OF_ONE_MODEL: tuple[tuple[tuple[Fault, ...], tuple[str, ...]], ...] = (
    ((("prefix-added", {"prefix": "module."}),), ("Remove the prefix",)),
    ((("tensor-extra", {}),), ("drop these tensors",)),
    (
        (("value-changed", {"path": "hidden_size", "value": 128}), ("prefix-added", {"prefix": "wrapped."})),
        ("Set hidden_size to 64", "Remove the prefix"),
    ),
    (
        (
            ("key-renamed", {"path": "num_attention_heads", "to": "n_heads"}),
            ("tensor-renamed", {}),
            ("convolution-transposed", {}),
        ),
        ("Rename n_heads", "Rename weight_renamed", "Transpose"),
    ),
)


@pytest.mark.long
def test_fixes_give_back_the_parameters_of_the_unbroken_model(tmp_path: Path) -> None:
    whole = make_specimen("soprano", tmp_path)
    broken: list[Mutant] = []
    for number, (faults, _) in enumerate(OF_ONE_MODEL):
        specimen = whole
        for step, (kind, options) in enumerate(faults):
            mutant = mutate(specimen, kind, tmp_path / f"{number}-{step}", **options)
            specimen = mutant.specimen
        broken.append(mutant)
    for (faults, words), result in zip(
        OF_ONE_MODEL, fix_score.judged([(one, whole) for one in broken], tmp_path), strict=True
    ):
        assert result.mark == "ok", (faults, result)
        assert all(word in result.detail for word in words), result


def test_what_would_hide_a_fault_is_not_called_verified(tmp_path: Path) -> None:
    whole = make_specimen("soprano", tmp_path)
    extra = mutate(
        whole, "tensor-extra", tmp_path / "extra", name="layers.0.self_attn.gate.weight", tensor=("F32", (64, 64))
    )
    dropped = mutate(whole, "tensor-dropped", tmp_path / "dropped")
    for mutant in (extra, dropped):
        report, _ = fix_score.diagnosed(mutant, tmp_path)
        assert "mends" not in report
        fixes = [fix for finding in report["findings"] for fix in finding["fixes"]]
        assert not [fix for fix in fixes if fix["applicability"] == "verified"]
    report, _ = fix_score.diagnosed(extra, tmp_path)
    (drop,) = [fix for finding in report["findings"] for fix in finding["fixes"] if fix["weight_map"]]
    assert drop["weight_map"] == [{"op": "drop", "name": "layers.0.self_attn.gate.weight"}]
    assert "hide a fault" in drop["reason"]


@pytest.mark.long
def test_one_tensor_too_many_is_dropped_though_sanitize_mistakes_the_layout_for_it(tmp_path: Path) -> None:
    """The family's sanitize tells MLX's layout by the names: with a name that it does not know it moves all axes."""
    mutant = mutate(make_specimen("arktts", tmp_path), "tensor-extra", tmp_path / "m")
    report, _ = fix_score.diagnosed(mutant, tmp_path)
    assert [finding["failure_class"] for finding in report["findings"] if finding["root"]] == ["weights/unexpected"]
    (fix,) = [fix for fix in report["findings"][0]["fixes"] if fix["applicability"] == "verified"]
    assert fix["weight_map"] == [{"op": "drop", "name": "left_over.weight"}]


def test_a_wrapper_of_two_parts_is_no_section_that_is_lacking(tmp_path: Path) -> None:
    """Some names are shortened by the family's sanitize, and the config does without a section that it may have."""
    mutant = mutate(make_specimen("voxtral_tts", tmp_path), "prefix-added", tmp_path / "m", prefix="base_model.model.")
    report, _ = fix_score.diagnosed(mutant, tmp_path)
    errors = [finding for finding in report["findings"] if finding["root"] and finding["severity"] == "error"]
    assert [finding["failure_class"] for finding in errors] == ["weights/renamed"]
    assert report["mends"] == [errors[0]["fixes"][0]["id"]]
    assert errors[0]["fixes"][0]["weight_map"] == [{"op": "rename", "from": "base_model.model.{rest}", "to": "{rest}"}]


def test_two_assignments_that_fit_are_no_fix(tmp_path: Path) -> None:
    """Two tensors of one shape under names that tell nothing."""
    whole = make_specimen("soprano", tmp_path)
    specimen = whole
    for step, (old, new) in enumerate((("k_proj", "proj_a"), ("v_proj", "proj_b"))):
        name = f"layers.0.self_attn.{old}.weight"
        mutant = mutate(specimen, "tensor-renamed", tmp_path / str(step), name=name, to=name.replace(old, new))
        specimen = mutant.specimen
    report, _ = fix_score.diagnosed(mutant, tmp_path)
    assert "mends" not in report, json.dumps(report["findings"][0]["fixes"])


@pytest.mark.long
@pytest.mark.parametrize(("faults", "count", "share"), [(1, 4, 0.8), (2, 2, 0.8), (3, 1, 0.7)])
def test_most_mutants_get_a_fix_and_none_a_wrong_one(faults: int, count: int, share: float) -> None:
    """A sample of ``count`` mutants a family. Of what is ambiguous by its nature there is no one fix to be found.

    The bounds leave room for a busy machine, on which the time for trials runs out.
    """
    marks = fix_score.score(list(FAMILIES), faults, count, 0)
    assert marks["WRONG"] == 0
    assert marks["ok"] >= share * (marks.total() - marks["ambiguous"])


def test_a_loader_shim_is_tried_and_verified(tmp_path: Path) -> None:
    """A directory with the name of another family, which mlx-audio prefers to the declared type."""
    whole = make_specimen("kitten_tts", tmp_path)
    mutant = mutate(whole, "directory-named", tmp_path / "m", name="bark-mini")
    report, _ = fix_score.diagnosed(mutant, tmp_path)
    fixes = {fix["id"]: fix for finding in report["findings"] for fix in finding["fixes"]}
    assert [fixes[name]["shim"] for name in report["mends"]] == ["declared-type-first"]
    assert fixes[report["mends"][0]]["applicability"] == "verified"
