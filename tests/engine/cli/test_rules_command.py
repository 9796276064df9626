"""``diagnose rules``: from a new rule to a passing case, and what a newcomer is told on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_diagnose.engine.cli import main
from mlx_diagnose.engine.inference import available_engines
from mlx_diagnose.engine.rulebase.failure_classes import FAILURE_CLASSES
from mlx_diagnose.engine.rulebase.reference import render_reference
from mlx_diagnose.engine.rulebase.rule_reader import read_rule
from mlx_diagnose.engine.rulebase.skeleton import skeleton
from mlx_diagnose.engine.vocabulary import VOCABULARY
from tests.engine.inference.rule_making import make_base


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder to stand in, with no rules of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def edit(old: str, new: str) -> None:
    path = Path("diagnose-rules/my-rule.yaml")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_from_a_new_rule_to_passing_cases(capsys):
    assert main(["rules", "new", "my-rule", "--class", "config/wrong-type"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("wrote ") and "diagnose rules test" in said.err
    assert main(["rules", "test", "diagnose-rules"]) == 0
    said = capsys.readouterr()
    assert said.out == (
        f"ok    my-rule  (1 fire, 1 silent)\n\n2 of 2 cases passed, 1 rule, on {' and '.join(available_engines())}\n"
    )
    assert main(["rules", "list"]) == 0
    assert "my-rule" in capsys.readouterr().out


@pytest.mark.parametrize("failure_class", FAILURE_CLASSES)
def test_the_skeleton_is_a_rule(failure_class):
    assert read_rule(skeleton("x", failure_class), "x.yaml", "x")[1] == []


def test_a_rule_that_stays_silent_is_explained(capsys):
    main(["rules", "new", "my-rule"])
    edit("stage: construct              #", "stage: load                   #")
    capsys.readouterr()
    assert main(["rules", "test", "diagnose-rules"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  my-rule" in out and "invalid case 'nothing fits'" in out
    assert "it must fire, and it stayed silent" in out
    assert "missing_argument-1 (missing_argument): stage is 'construct', and must be 'load'" in out
    assert "1 of 2 cases passed" in out


def test_a_rule_that_fires_too_much_is_told(capsys):
    main(["rules", "new", "my-rule"])
    edit("best: true}", "best: false}")
    assert main(["rules", "test", "diagnose-rules/my-rule.yaml"]) == 1
    out = capsys.readouterr().out
    assert "valid case 'another key fits'" in out
    assert "it must stay silent, and it fired: ModelConfig needs hidden_size" in out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("findings: 1", "findings: 2", "expected 2 findings, got 1"),
        ("subjects: [hidden_size]", "subjects: [other]", "expected subjects ['other'], got ['hidden_size']"),
        ("cause_contains: ModelConfig", "cause_contains: nothing", "expected a cause with 'nothing'"),
        ("cause_contains: ModelConfig", "title_contains: nothing", "expected a title with 'nothing'"),
        ("cause_contains: ModelConfig", "fixes: 3", "expected 3 fixes, got 0"),
        ("cause_contains: ModelConfig", "stage: load", "expected stage 'load', got ['construct']"),
        ("cause_contains: ModelConfig", "facts: [{probe: {outcome: x}}]", "expected the fact probe(outcome: 'x')"),
    ],
)
def test_what_a_case_expects_is_checked(capsys, old, new, message):
    main(["rules", "new", "my-rule"])
    edit(old, new)
    assert main(["rules", "test", "diagnose-rules"]) == 1
    assert message in capsys.readouterr().out


def test_an_invalid_rule_ends_with_4_wherever_rules_are_loaded(capsys):
    main(["rules", "new", "my-rule"])
    edit("severity: error ", "severty: error ")
    for command in (["test", "diagnose-rules"], ["lint"], ["list"], ["docs"], ["show", "my-rule"]):
        capsys.readouterr()
        assert main(["rules", *command]) == 4
        said = capsys.readouterr()
        assert "diagnose-rules/my-rule.yaml:" in said.err and said.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["new", "My_Rule"],
        ["new", "x", "--class", "config/mising-key"],
        ["test", "nowhere"],
        ["show", "no-such-rule"],
        ["test", "--engine", "x"],
    ],
)
def test_usage_errors_end_with_2(arguments, capsys):
    assert main(["rules", *arguments]) == 2
    assert capsys.readouterr().err


def test_new_overwrites_nothing(capsys):
    assert main(["rules", "new", "my-rule"]) == 0
    edit("ModelConfig", "Mine")
    assert main(["rules", "new", "my-rule"]) == 2
    assert "Mine" in Path("diagnose-rules/my-rule.yaml").read_text()


def test_list_shows_what_is_replaced_and_disabled(capsys):
    main(["rules", "new", "my-rule"])
    main(["rules", "new", "my-rule", "--dir", "other"])
    Path("other/config-absent.yaml").write_text("id: config-absent\ndisabled: true\n")
    capsys.readouterr()
    assert main(["rules", "list", "--rules", "other", "--json"]) == 0
    entries = [entry for entry in json.loads(capsys.readouterr().out) if entry["id"] in ("my-rule", "config-absent")]
    assert [(entry["id"], entry["source"], entry["status"]) for entry in entries] == [
        ("config-absent", "built-in", "disabled"),
        ("config-absent", "--rules other", "disabled"),
        ("my-rule", "--rules other", "replaced"),
        ("my-rule", "./diagnose-rules", "active"),
    ]
    assert main(["rules", "list", "--rules", "other"]) == 0
    assert "replaced by diagnose-rules/my-rule.yaml" in capsys.readouterr().out


def test_show_tells_when_a_rule_fires(capsys):
    main(["rules", "new", "my-rule"])
    capsys.readouterr()
    assert main(["rules", "show", "my-rule"]) == 0
    out = capsys.readouterr().out
    assert (
        "  missing_argument(stage: 'construct', path: $path)\n  no key_similarity(best: true, wanted: $path)\n" in out
    )


def test_lint_advises(capsys):
    main(["rules", "new", "my-rule"])
    assert main(["rules", "lint", "diagnose-rules"]) == 0
    edit("does not give.", "does not give")
    text = Path("diagnose-rules/my-rule.yaml").read_text(encoding="utf-8")
    edit(text.partition("another key fits\n    facts:\n")[2], "      - probe: {}\n")
    edit("path: $path ", "name: $unused\n      path: $path ")
    capsys.readouterr()
    assert main(["rules", "lint", "diagnose-rules"]) == 1
    out = capsys.readouterr().out
    assert "the cause is not a sentence" in out
    assert "valid case 'another key fits' has no fact of a kind that the rule looks at" in out
    assert "$unused is bound and never used" in out


def test_docs_name_every_kind_field_test_and_rule(capsys, tmp_path):
    assert main(["rules", "docs"]) == 0
    page = capsys.readouterr().out
    for kind in VOCABULARY.values():
        assert f"\n## {kind.name}\n" in page
        for field in kind.fields:
            assert f"| `{field}` |" in page
    assert main(["rules", "docs", "-o", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page
    base = make_base(my_rule="when: [{fact: probe}]\nfinding: {cause: c}")
    assert "## my-rule" in render_reference(base)


def test_all_built_in_rules_pass_their_cases(capsys):
    assert main(["rules", "test"]) == 0, capsys.readouterr().out
