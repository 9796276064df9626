"""Values of a type that the model's code takes without a word: a text for a truth value, true for a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.engine.model import Finding, Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.report.json import to_json
from tests.specimens import make_specimen
from tests.specimens.hub import environment


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Diagnoses a specimen with ``value`` at the dotted ``path`` of its config.json."""

    def examine(family: str, path: str, value: Any, **options: Any) -> Report:
        made = make_specimen(family, tmp_path)
        for name, setting in environment(made.hub).items():
            monkeypatch.setenv(name, setting)
        config = json.loads((made.path / "config.json").read_text())
        *above, last = path.split(".")
        section = config
        for name in above:
            section = section[name]
        section[last] = value
        (made.path / "config.json").write_text(json.dumps(config))
        report = diagnose(Options(model=str(made.path), timeout=120, **options))
        to_json(report)
        return report

    return examine


def about(report: Report, path: str) -> Finding:
    """The one root that names ``path``."""
    (found,) = [
        finding for finding in report.findings if finding.root and [one.name for one in finding.subjects] == [path]
    ]
    return found


def mended(finding: Finding) -> list[tuple[str, Any]]:
    return [(fix.applicability, fix.config_patch[0]["value"]) for fix in finding.fixes if fix.config_patch]


@pytest.mark.parametrize(("family", "path"), [("kokoro", "multispeaker"), ("melotts", "use_spectral_norm")])
@pytest.mark.parametrize("text", ["false", "True"])
def test_a_text_for_a_truth_value_is_told_of_a_model_that_loads(
    changed: Callable[..., Report], family: str, path: str, text: str
) -> None:
    report = changed(family, path, text)
    assert report.verdict == "loads-with-warnings"
    found = about(report, path)
    assert (found.failure_class, found.severity) == ("config/wrong-type", "warning")
    assert mended(found) == [("verified", text == "True")]


def test_true_for_a_number_that_no_tensor_tells(changed: Callable[..., Report]) -> None:
    report = changed("kokoro", "plbert.num_hidden_layers", True)
    assert report.verdict == "loads-with-warnings"
    found = about(report, "plbert.num_hidden_layers")
    assert (found.failure_class, found.severity) == ("config/wrong-type", "warning")


def test_texts_that_are_to_be_texts_are_nothing(changed: Callable[..., Report]) -> None:
    report = changed("kokoro", "note", "true")
    assert not [finding for finding in report.findings if finding.failure_class == "config/wrong-type"]


@pytest.mark.parametrize(
    ("family", "path", "value"), [("soprano", "num_hidden_layers", True), ("kokoro", "hidden_dim", True)]
)
def test_true_for_a_number_that_the_checkpoint_tells(
    changed: Callable[..., Report], family: str, path: str, value: Any
) -> None:
    report = changed(family, path, value)
    found = about(report, path)
    assert (report.verdict, found.failure_class, found.severity) == ("fails", "config/wrong-type", "error")
    assert mended(found) == [("verified", {"num_hidden_layers": 2, "hidden_dim": 64}[path])]


@pytest.mark.parametrize(
    ("family", "path", "value", "right"),
    [("soprano", "num_key_value_heads", 0, 2), ("voxtral_tts", "acoustic_n_kv_heads", 0, 1)],
)
def test_a_size_of_nothing_is_the_root_of_the_shapes(
    changed: Callable[..., Report], family: str, path: str, value: int, right: int
) -> None:
    report = changed(family, path, value)
    roots = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert [(root.failure_class, [one.name for one in root.subjects]) for root in roots] == [
        ("config/value-mismatch", [path])
    ]
    assert mended(roots[0]) == [("verified", right)]
    assert {finding.failure_class for finding in report.findings if not finding.root} == {"weights/shape"}


@pytest.mark.parametrize("value", [0, -2])
def test_a_size_of_nothing_that_loads_all_the_same(changed: Callable[..., Report], value: int) -> None:
    report = changed("bark", "semantic_config.num_heads", value)
    found = about(report, "semantic_config.num_heads")
    assert (report.verdict, found.failure_class) == ("loads-with-warnings", "config/value-mismatch")
    assert mended(found) == [("unverified", 12)]


_HEADS = [("melotts", "n_heads"), ("vibevoice", "decoder_config.num_attention_heads")]


@pytest.mark.parametrize(("family", "path"), _HEADS)
def test_heads_that_do_not_divide_where_the_code_may_divide(
    changed: Callable[..., Report], family: str, path: str
) -> None:
    report = changed(family, path, 3)
    found = about(report, path)
    assert (report.verdict, found.failure_class) == ("fails", "config/value-mismatch")
    assert mended(found) == [("verified", 2)]


@pytest.mark.parametrize(("family", "path"), _HEADS)
def test_heads_that_may_not_divide_are_a_warning_of_the_files_alone(
    changed: Callable[..., Report], family: str, path: str
) -> None:
    found = [
        finding
        for finding in changed(family, path, 3, only_static=True).findings
        if finding.failure_class == "config/value-mismatch"
    ]
    assert found and all(path in {one.name for one in finding.subjects} for finding in found)
    assert {(finding.severity, finding.confidence) for finding in found} == {("warning", 0.5)}


@pytest.mark.parametrize(("family", "path"), _HEADS)
def test_heads_that_divide_are_nothing(changed: Callable[..., Report], family: str, path: str) -> None:
    found = changed(family, path, 4, only_static=True).findings
    assert not [finding for finding in found if finding.failure_class == "config/value-mismatch"]


@pytest.mark.parametrize(
    ("family", "path", "right"),
    [
        ("qwen3", "use_sliding_window", False),
        ("qwen3", "tie_word_embeddings", True),
        ("bark", "semantic_config.bias", False),
    ],
)
def test_a_text_for_a_truth_value_that_a_load_refuses(
    changed: Callable[..., Report], family: str, path: str, right: bool
) -> None:
    report = changed(family, path, "false")
    found = about(report, path)
    assert (report.verdict, found.failure_class, found.severity) == ("fails", "config/wrong-type", "error")
    assert mended(found) == [("verified", right)]
