"""Whole diagnoses of real specimens: the verdict, the root cause with its subject, the proven fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.engine.model import Finding, Report, UsageError
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.report.json import to_json
from mlx_diagnose.engine.specimen import write_safetensors
from tests.specimens import make_specimen
from tests.specimens.hub import environment


@pytest.fixture
def specimen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a specimen whose config.json is changed by ``change``, and its environment that of this process."""

    def make(family: str, change: Callable[[dict[str, Any]], object] = lambda config: None) -> Path:
        made = make_specimen(family, tmp_path)
        for name, value in environment(made.hub).items():
            monkeypatch.setenv(name, value)
        config = json.loads((made.path / "config.json").read_text())
        change(config)
        (made.path / "config.json").write_text(json.dumps(config, indent=2))
        return made.path

    return make


def examine(model: Path | str, **options: Any) -> Report:
    report = diagnose(Options(model=str(model), timeout=120, **options))
    to_json(report)
    return report


def only_root(report: Report) -> Finding:
    (root,) = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    return root


def names(finding: Finding) -> set[str]:
    return {subject.name for subject in finding.subjects}


def test_a_whole_model_loads_without_findings(specimen: Callable[..., Path]) -> None:
    report = examine(specimen("soprano"))
    assert report.verdict == "loads"
    assert report.findings == []
    assert [stage.status for stage in report.stages] == ["passed"] * 10
    assert not [collector for collector in report.collectors if collector.status == "failed"]
    assert report.target.family == "soprano"
    assert report.patient.packages["mlx-audio"]


def test_a_wrong_value_is_named_with_the_value_that_fits_and_proven(specimen: Callable[..., Path]) -> None:
    report = examine(specimen("soprano", lambda config: config.__setitem__("hidden_size", config["hidden_size"] * 2)))
    root = only_root(report)
    assert (report.verdict, root.failure_class, names(root)) == ("fails", "config/value-mismatch", {"hidden_size"})
    (fix,) = [fix for fix in root.fixes if fix.config_patch]
    assert fix.applicability == "verified"
    assert fix.config_patch[0]["path"] == "/hidden_size"
    assert fix.config_patch[0]["value"] == json.loads(json.dumps(fix.config_patch[0]["value"]))
    assert root.explains
    assert "hidden_size" in str(root.excerpt)


def test_two_wrong_values_are_found_in_one_run(specimen: Callable[..., Path]) -> None:
    def change(config: dict[str, Any]) -> None:
        config["hidden_size"] *= 2
        config["num_hidden_layers"] += 1

    report = examine(specimen("soprano", change))
    roots = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert {name for root in roots for name in names(root)} == {"hidden_size", "num_hidden_layers"}
    assert {fix.applicability for root in roots for fix in root.fixes if fix.config_patch} == {"verified"}


def test_a_text_where_a_number_belongs(specimen: Callable[..., Path]) -> None:
    report = examine(specimen("soprano", lambda config: config.__setitem__("hidden_size", str(config["hidden_size"]))))
    root = only_root(report)
    assert (root.failure_class, names(root)) == ("config/wrong-type", {"hidden_size"})
    assert any(fix.applicability == "verified" for fix in root.fixes)


def test_a_renamed_key(specimen: Callable[..., Path]) -> None:
    report = examine(specimen("kokoro", lambda config: config.__setitem__("n_hidden_dim", config.pop("hidden_dim"))))
    root = only_root(report)
    assert root.failure_class == "config/renamed-key"
    assert names(root) == {"n_hidden_dim", "hidden_dim"}
    assert any(fix.applicability == "verified" for fix in root.fixes)


def test_a_type_that_is_not_there(specimen: Callable[..., Path], tmp_path: Path) -> None:
    path = specimen("soprano", lambda config: config.__setitem__("model_type", "nosuch"))
    plain = path.rename(tmp_path / "a-voice")
    root = only_root(examine(plain))
    assert root.failure_class in ("architecture/unsupported", "architecture/misresolved")
    assert "nosuch" in names(root)


def test_a_type_that_nothing_else_of_the_config_is_of(specimen: Callable[..., Path], tmp_path: Path) -> None:
    """A plain language model: its keys fit several families, and none of the one that it names."""
    path = specimen("qwen3", lambda config: config.__setitem__("model_type", "kokoro"))
    root = only_root(examine(path.rename(tmp_path / "a-voice")))
    assert (root.failure_class, names(root)) == ("config/value-mismatch", {"model_type", "kokoro"})


def test_weights_that_are_pointers(specimen: Callable[..., Path]) -> None:
    path = specimen("soprano")
    for file in path.glob("*.safetensors"):
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123\n")
    assert only_root(examine(path)).failure_class == "weights/lfs-pointer"


def test_a_directory_without_a_config(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    report = examine(tmp_path / "empty")
    assert report.verdict == "fails"
    assert report.findings[0].failure_class == "config/absent"


def test_a_config_of_a_hundred_thousand_levels(tmp_path: Path) -> None:
    model = tmp_path / "deep"
    model.mkdir()
    (model / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    report = examine(model)
    assert report.verdict == "fails"
    assert report.findings[0].failure_class == "config/unreadable"


def test_a_header_that_claims_the_whole_address_space(specimen: Callable[..., Path]) -> None:
    path = specimen("soprano")
    for file in path.glob("*.safetensors"):
        file.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    assert only_root(examine(path)).failure_class == "weights/corrupt"


def test_a_repository_that_is_not_cached_is_inconclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    report = examine("org/name", offline=True)
    assert report.verdict == "inconclusive"
    assert report.stages[0].status == "blocked"
    assert [finding.severity for finding in report.findings] == ["warning"]


def test_a_repository_that_is_not_cached_fails_where_the_user_is_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report = examine("org/name")
    assert (report.verdict, only_root(report).failure_class) == ("fails", "hub/offline-uncached")


def test_a_companion_that_only_we_withhold_blocks_and_is_no_error(
    specimen: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = specimen("llama")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name)
    report = examine(path)
    assert report.verdict == "inconclusive"
    assert {stage.name: stage.status for stage in report.stages}["import"] == "blocked"
    assert "mlx-community/snac_24khz" in {name for finding in report.findings for name in names(finding)}
    assert not [finding for finding in report.findings if finding.severity == "error"]


def test_only_static_runs_nothing(specimen: Callable[..., Path]) -> None:
    report = examine(specimen("soprano"), only_static=True)
    assert {stage.status for stage in report.stages} == {"skipped"}
    assert report.verdict == "inconclusive"
    assert report.findings == []
    assert (report.target.category, report.target.family) == ("tts", "soprano")
    kinds = {fact.kind for fact in report.facts}
    assert kinds >= {"class_signature", "init_parameter", "attribute_read", "package", "resolution", "loader"}
    assert not kinds & {"stage", "probe"}
    assert [outcome.name for outcome in report.collectors if outcome.status == "failed"] == []


def test_only_static_diagnoses_what_the_config_shows(specimen: Callable[..., Path]) -> None:
    report = examine(specimen("soprano", lambda config: config.pop("num_hidden_layers")), only_static=True)
    root = only_root(report)
    assert (root.failure_class, names(root)) == ("config/missing-key", {"num_hidden_layers"})


@pytest.mark.parametrize("only_static", [False, True])
def test_an_interpreter_that_is_no_python(specimen: Callable[..., Path], only_static: bool) -> None:
    with pytest.raises(UsageError) as error:
        examine(specimen("soprano"), python="/bin/ls", only_static=only_static)
    assert error.value.reference == "not-python"


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        examine(tmp_path / "file")


def test_what_is_behind_a_truncated_file_is_seen_by_its_header(specimen: Callable[..., Path]) -> None:
    path = specimen("soprano", lambda config: config.__setitem__("hidden_size", config["hidden_size"] * 2))
    (file,) = path.glob("*.safetensors")
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - 1000)
    report = examine(path)
    roots = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    first, second = sorted(roots, key=lambda root: root.observed_after)
    assert (first.failure_class, first.observed_after) == ("weights/corrupt", ())
    assert (second.failure_class, names(second)) == ("config/value-mismatch", {"hidden_size"})
    assert second.observed_after == tuple(fix.id for fix in first.fixes[:1])
    assert [fix.applicability for fix in second.fixes if fix.config_patch] == ["verified"]


def test_a_family_that_only_passes_the_resolution_is_not_proven(specimen: Callable[..., Path], tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["model_type"] = "kokoro_tts"
        del config["istftnet"]

    path = specimen("kokoro", change).rename(tmp_path / "a-voice")
    report = examine(path)
    patches = [
        fix
        for finding in report.findings
        for fix in finding.fixes
        if any(step["path"] == "/model_type" for step in fix.config_patch)
    ]
    assert {fix.applicability for fix in patches} <= {"unverified"}
    assert all("ambiguous" in str(fix.reason) for fix in patches)
    behind = [finding for finding in report.findings if finding.root and finding.observed_after]
    assert [(finding.failure_class, names(finding)) for finding in behind] == [("config/missing-section", {"istftnet"})]


def test_a_family_that_loads_is_proven(specimen: Callable[..., Path], tmp_path: Path) -> None:
    path = specimen("kokoro", lambda config: config.__setitem__("model_type", "Kokoro")).rename(tmp_path / "a-voice")
    (root,) = [finding for finding in examine(path).findings if finding.root]
    assert root.failure_class.startswith("architecture/")
    (fix,) = [fix for fix in root.fixes if fix.config_patch]
    assert (fix.applicability, fix.config_patch[0]["value"]) == ("verified", "kokoro")


def test_a_missing_count_is_read_off_the_checkpoint(specimen: Callable[..., Path]) -> None:
    layers: list[int] = []
    report = examine(specimen("soprano", lambda config: layers.append(config.pop("num_hidden_layers"))))
    root = only_root(report)
    assert (root.failure_class, names(root)) == ("config/missing-key", {"num_hidden_layers"})
    (fix,) = [fix for fix in root.fixes if fix.config_patch]
    assert (fix.applicability, fix.config_patch[0]["value"]) == ("verified", layers[0])


def test_a_missing_number_that_no_shape_shows_is_not_proven(specimen: Callable[..., Path]) -> None:
    """Any base of the rotary embedding loads; which is right, loading cannot tell."""
    report = examine(specimen("soprano", lambda config: config.pop("rope_theta")))
    root = only_root(report)
    assert (root.failure_class, names(root)) == ("config/missing-key", {"rope_theta"})
    assert "verified" not in {fix.applicability for fix in root.fixes}


def test_a_renamed_key_is_proven_where_the_usual_value_would_do_as_well(specimen: Callable[..., Path]) -> None:
    """The known-good configuration has a value for the missing name; the user's own goes first."""

    def change(config: dict[str, Any]) -> None:
        config["n_layers"] = config.pop("num_hidden_layers")
        config["intermediate_size"] //= 2

    report = examine(specimen("soprano", change))
    roots = {finding.failure_class: finding for finding in report.findings if finding.root}
    assert set(roots) == {"config/renamed-key", "config/value-mismatch"}
    assert names(roots["config/renamed-key"]) == {"n_layers", "num_hidden_layers"}
    assert {fix.applicability for finding in roots.values() for fix in finding.fixes} == {"verified"}
    assert report.findings[0].failure_class == "config/renamed-key"


def test_a_family_with_a_loader_of_its_own_has_its_stages_marked(tmp_path: Path) -> None:
    """Moshi of speech-to-speech is filled by its own ``from_pretrained``, not by the shared loader."""
    model = tmp_path / "moshiko"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "moshi"}', encoding="utf-8")
    write_safetensors(model / "model.safetensors", {"stray.weight": ("F32", (4, 4))})
    report = examine(model, category="sts")
    assert [stage.name for stage in report.stages if stage.status == "failed"] == ["load"]
    assert {finding.failure_class for finding in report.findings if finding.root} >= {"weights/unexpected"}
