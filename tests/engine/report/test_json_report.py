from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mlx_diagnose.engine.model import STAGES, Fact, Provenance, Report
from mlx_diagnose.engine.report.json import InvalidReport, from_json, render, schema, to_json
from mlx_diagnose.engine.report.view import View
from mlx_diagnose.engine.rulebase.failure_classes import FAILURE_CLASSES
from mlx_diagnose.engine.rulebase.rule import FIX_KINDS, SUBJECT_KINDS
from mlx_diagnose.engine.vocabulary import VOCABULARY

Sample = Callable[[str], Report]
NAMES = ["loads", "fails", "warnings", "inconclusive", "static", "hostile"]


def valid(document: Any) -> bool:
    return Draft202012Validator(schema()).is_valid(document)


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", NAMES)
def test_reports_are_valid_and_read_back(name: str, sample: Sample) -> None:
    document = json.loads(render(sample(name), View()), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert valid(document)
    again = to_json(from_json(document))
    for fact, before in zip(again["facts"], document["facts"], strict=True):
        assert {name: fact[name] for name in before} == before
    assert {**again, "facts": []} == {**document, "facts": []}


def test_nothing_is_lost_on_the_way(sample: Sample) -> None:
    report = sample("fails")
    read = from_json(to_json(report))
    assert list(read.findings) == list(report.findings)
    assert list(read.stages) == list(report.stages)
    assert (read.target, read.patient, read.verdict) == (report.target, report.patient, report.verdict)
    for one, other in zip(read.facts, report.facts, strict=True):
        assert (one.id, one.kind, one.provenance) == (other.id, other.kind, other.provenance)
        assert {name: one.fields[name] for name in other.fields} == other.fields


def test_the_published_example_is_followed(sample: Sample) -> None:
    """The keys that the contract names, with their values' forms."""
    document = to_json(sample("fails"))
    assert document["schema_version"] == "1"
    assert document["tool"] == {"name": "diagnose", "version": "0.1.0"}
    assert document["run"] == {"id": "k7f3qz", "saved_at": "2030-01-02T03:04:05Z"}
    assert {"model", "source", "category", "family", "model_type", "revision"} <= document["target"].keys()
    assert {"python", "platform", "packages"} <= document["patient"].keys()
    stage = {stage["name"]: stage for stage in document["stages"]}["construct"]
    assert {"name", "status", "seconds", "peak_memory", "exception"} == stage.keys()
    assert stage["exception"]["type"] == "TypeError"
    found = document["findings"][0]
    assert found["explains"] == ["f4", "f5", "f6"]
    assert found["subjects"][0] == {"kind": "config_key", "name": "hidden_size"}
    assert found["evidence"] == ["missing_argument-1", "key_similarity-1"]
    fix = found["fixes"][0]
    assert {"id", "kind", "title", "applicability", "reason", "command", "config_patch", "files"} <= fix.keys()
    assert fix["config_patch"][1] == {"op": "add", "path": "/hidden_size", "value": 512}
    fact = document["facts"][0]
    assert (fact["id"], fact["kind"], fact["class_name"]) == ("missing_argument-1", "missing_argument", "ModelConfig")
    assert document["network"] == {"requests": 0, "bytes": 0}
    assert document["timings"] == {"total": 2.13}
    assert document["collectors"][0] == {"name": "config", "status": "ok", "reason": None, "seconds": 0.01}


def test_the_schema_is_strict_but_for_facts(sample: Sample) -> None:
    def with_extra(*path: str | int) -> Any:
        document: Any = json.loads(json.dumps(to_json(sample("fails"))))
        at = document
        for key in path:
            at = at[key]
        at["surplus"] = 1
        return document

    assert valid(with_extra("facts", 0))
    for path in [
        (),
        ("run",),
        ("target",),
        ("stages", 0),
        ("findings", 0),
        ("findings", 0, "fixes", 0),
        ("collectors", 0),
    ]:
        assert not valid(with_extra(*path)), path


def test_the_schema_knows_the_words_of_the_model() -> None:
    definitions = schema()["$defs"]
    assert tuple(definitions["stage_name"]["enum"]) == STAGES
    assert tuple(definitions["fix"]["properties"]["kind"]["enum"]) == FIX_KINDS
    subject = definitions["finding"]["properties"]["subjects"]["items"]["properties"]["kind"]["enum"]
    assert tuple(subject) == SUBJECT_KINDS
    assert definitions["finding"]["properties"]["failure_class"]["enum"] == list(FAILURE_CLASSES)


def test_no_kind_of_fact_has_a_field_that_a_report_uses_for_itself() -> None:
    for kind in VOCABULARY.values():
        assert not {"id", "kind", "provenance"} & kind.fields.keys(), kind.name


def test_secrets_do_not_reach_a_report(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "kokoro-mine")
    for name in NAMES:
        text = render(sample(name), View())
        assert "kokoro-mine" not in text
        assert "hf_AbCd" not in text


@given(st.text(), st.floats(), st.text())
def test_any_fact_is_written_as_valid_json(text: str, number: float, name: str) -> None:
    fact = Fact("key_similarity", "key_similarity-1", {"given": text, "score": number}, Provenance("c", text, 1, name))
    written = render(replace(_REPORT, facts=(fact,)), View())
    assert written.isascii()
    document = json.loads(written, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert valid(document)
    read = from_json(document).facts[0].fields["score"]
    assert read == number or number != number


def test_a_fact_of_an_older_report_has_the_fields_of_today(sample: Sample) -> None:
    document = to_json(sample("fails"))
    assert "section" not in document["facts"][0]
    assert from_json(document).facts[0].fields["section"] is None


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "no report of diagnose"),
        ({"a": 1}, "no report of diagnose"),
        ({"schema_version": "2"}, "'2'"),
        ({"schema_version": "1"}, "the report: 'tool' is a required property"),
    ],
)
def test_what_is_no_report_is_told(document: Any, told: str) -> None:
    with pytest.raises(InvalidReport, match=told):
        from_json(document)


def test_a_broken_report_names_the_place(sample: Sample) -> None:
    document = json.loads(json.dumps(to_json(sample("fails"))))
    document["findings"][1]["severity"] = "dreadful"
    with pytest.raises(InvalidReport, match=r"findings\[1\].severity: 'dreadful' is not one of"):
        from_json(document)


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda x: st.lists(x, max_size=3)), st.data())
def test_no_document_breaks_the_reader(junk: Any, data: st.DataObject) -> None:
    document = json.loads(json.dumps(to_json(_REPORT)))
    document[data.draw(st.sampled_from(sorted(document)))] = junk
    try:
        from_json(document)
    except InvalidReport:
        return
    assert valid(document)


_REPORT: Report


@pytest.fixture(scope="module", autouse=True)
def _keep_a_report(sample: Sample) -> None:
    global _REPORT
    _REPORT = sample("fails")
