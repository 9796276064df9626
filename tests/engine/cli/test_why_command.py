from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from mlx_diagnose.engine import runs
from mlx_diagnose.engine.model import Fact, Provenance, Report

Command = Callable[..., Any]
Written = Callable[[str], str]
Sample = Callable[[str], Report]

RULE = """\
id: {id}
title: A key is missing, for this test
failure_class: config/missing-key
severity: error
maturity: stable
since: "0.1"
{more}
when:
  - fact: missing_argument
    as: arg
    where: {{stage: {stage}, path: $path}}
  - not:
      fact: config_key
      where: {{path: $path}}
finding:
  stage: construct
  confidence: 0.9
  cause: "{{arg.class_name}} needs {{path}}."
  subjects: [{{kind: config_key, name: "{{path}}"}}]
references: ["a test"]
valid:
  - name: given
    facts:
      - missing_argument: {{stage: {stage}, path: a}}
      - config_key: {{path: a}}
invalid:
  - name: not given
    facts:
      - missing_argument: {{stage: {stage}, path: a}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Callable[..., str]:
    folder = tmp_path / "mine"
    folder.mkdir()

    def write(id: str, stage: str = "construct", more: str = "") -> str:
        (folder / f"{id}.yaml").write_text(RULE.format(id=id, stage=stage, more=more))
        return str(folder)

    return write


@pytest.mark.parametrize(
    ("name", "finding"), [("fails", "f1"), ("fails", "f5"), ("inconclusive", "f1"), ("hostile", "f1")]
)
def test_why(name: str, finding: str, command: Command, report_file: Written, snapshot: SnapshotAssertion) -> None:
    ran = command("why", report_file(name), finding)
    assert (ran.code, ran.err) == (0, "")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", ran.out)
    assert ran.out == snapshot


def test_why_goes_down_to_file_line_and_config_path(command: Command, report_file: Written) -> None:
    told = " ".join(command("why", report_file("fails"), "f1").out.split())
    assert "mlx_audio/tts/models/kokoro/kokoro.py:41" in told
    assert "config.json:12 (hidden_sizes)" in told


def test_why_of_the_last_run_and_of_an_id(command: Command, sample: Sample, tmp_path: Path) -> None:
    runs.save(replace(sample("fails"), run_id="aaaaaa"), tmp_path / "home")
    runs.save(replace(sample("inconclusive"), run_id="bbbbbb"), tmp_path / "home")
    assert command("why", "last", "f1").out == command("why", "bbbbbb", "f1").out
    assert "config-renamed-key" in command("why", "aaaaaa", "f1").out


def test_a_finding_that_is_not_there(command: Command, report_file: Written) -> None:
    ran = command("why", report_file("fails"), "f9")
    assert ran.code == 2
    assert "f1, f2, f3, f4, f5, f6" in ran.err
    assert command("why", report_file("loads"), "f1").code == 2


def test_why_not_names_the_condition_and_the_least_change(command: Command, report_file: Written, rules: Any) -> None:
    ran = command("why-not", report_file("fails"), "test-rule", "--rules", rules("test-rule", stage="load"))
    assert ran.code == 0
    assert "test-rule did not fire" in ran.out
    assert "✗ missing_argument(stage: 'load', path: $path)" in ran.out
    assert "missing_argument-1 (missing_argument): stage is 'construct', and must be 'load'" in " ".join(
        ran.out.split()
    )


def test_why_not_of_a_rule_that_fired(command: Command, report_file: Written, rules: Any) -> None:
    ran = command("why-not", report_file("fails"), "config-renamed-key", "--rules", rules("config-renamed-key"))
    assert ran.out == "config-renamed-key fired: f1.\n"
    ran = command("why-not", report_file("fails"), "test-rule", "--rules", rules("test-rule"))
    assert "Its conditions hold on the saved facts" in " ".join(ran.out.split())


def test_why_not_of_a_rule_for_other_models(command: Command, report_file: Written, rules: Any) -> None:
    folder = rules("test-rule", more='applies_to: {categories: [stt], families: [whisper, "w*"], mlx_audio: ">=9"}')
    told = " ".join(command("why-not", report_file("fails"), "test-rule", "--rules", folder).out.split())
    assert "it is for category stt, family whisper or w*, mlx-audio >=9." in told


def test_why_not_is_about_the_model_as_it_is(command: Command, sample: Sample, tmp_path: Path, rules: Any) -> None:
    """Facts of a load of a mended copy (``e1.``) answer nothing about the first load."""
    fields = {"stage": "load", "class_name": "ModelConfig", "name": "x", "path": "x"}
    mended = Fact("missing_argument", "e1.missing_argument-1", fields, Provenance("exceptions"))
    report = sample("fails")
    runs.save(replace(report, facts=(*report.facts, mended)), tmp_path / "home")
    assert "✗ missing_argument" in command("why-not", "last", "test-rule", "--rules", rules("test-rule", "load")).out


def test_why_not_of_a_rule_that_is_not_in_force(command: Command, report_file: Written) -> None:
    ran = command("why-not", report_file("fails"), "config-key-renamd")
    assert ran.code == 2
    assert "config-key-renamed" in ran.err
