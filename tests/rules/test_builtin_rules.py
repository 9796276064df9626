"""The rules that ship: their cases on every engine, what they cover, and what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from mlx_diagnose.engine.inference.case_runner import run_cases
from mlx_diagnose.engine.inference.engines import available_engines
from mlx_diagnose.engine.rulebase import Rule, load_rules
from mlx_diagnose.engine.rulebase.failure_classes import FAILURE_CLASSES, UNKNOWN
from mlx_diagnose.engine.rulebase.sources import builtin_source
from mlx_diagnose.engine.rulebase.template import Place, Template
from mlx_diagnose.engine.vocabulary import VOCABULARY

RULES = load_rules([builtin_source()])

#: Files of this machine or of a developer's; what ships speaks of packages and of public pages only.
_MACHINE_PATH = re.compile(r"(^|[\s\"'(])/(work|root|home|Users|tmp|private|var)/")


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_every_case_passes_on_every_engine(rule: Rule) -> None:
    failed = [(r.case.name, r.engine, r.failures) for r in run_cases(rule, available_engines()) if not r.passed]
    assert not failed


@pytest.mark.parametrize("failure_class", [name for name in FAILURE_CLASSES if name != UNKNOWN])
def test_every_failure_class_has_a_rule(failure_class: str) -> None:
    assert [rule.id for rule in RULES.rules if rule.failure_class == failure_class and rule.maturity != "deprecated"]


def test_no_rule_concludes_that_nothing_is_known() -> None:
    assert not [rule.id for rule in RULES.rules if rule.failure_class == UNKNOWN]


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_a_rule_names_its_source_and_no_machine(rule: Rule) -> None:
    assert rule.references
    texts = [*rule.references, rule.title, rule.notes or "", *(template.source for template in _texts(rule))]
    assert not [text for text in texts if _MACHINE_PATH.search(text)]


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_a_rule_has_subjects_and_something_to_do(rule: Rule) -> None:
    assert rule.finding is not None
    assert rule.finding.subjects
    assert rule.finding.fixes


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_a_rule_lies_in_the_folder_of_its_area(rule: Rule) -> None:
    assert rule.failure_class is not None
    assert rule.file.replace("\\", "/").split("/")[-2] == rule.failure_class.split("/")[0]


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_a_text_does_not_say_what_is_not_known(rule: Rule) -> None:
    """A field that may be null stands in a segment, or was tested for a value."""
    spoken = [
        str(place) for template in _texts(rule) for place in _outside_segments(template) if _may_be_null(rule, place)
    ]
    assert not spoken


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_warnings_and_errors_are_told_apart(rule: Rule) -> None:
    assert rule.severity in ("error", "warning", "info")
    assert rule.finding is not None
    assert rule.finding.confidence <= 0.98


def _texts(rule: Rule) -> Iterator[Template]:
    assert rule.finding is not None
    yield rule.finding.cause
    for fix in rule.finding.fixes:
        yield fix.title
        if fix.reason is not None:
            yield fix.reason


def _outside_segments(template: Template) -> list[Place]:
    return [part for part in template.parts if isinstance(part, Place) and part.field is not None]


def _may_be_null(rule: Rule, place: Place) -> bool:
    assert place.field is not None
    for conjunction in rule.alternatives:
        for pattern in conjunction.positive:
            if pattern.alias != place.name or not VOCABULARY[pattern.kind].fields[place.field].nullable:
                continue
            tests = [test for test in pattern.tests if test.field == place.field]
            if not any(test.argument is not None and (test.operator != "null" or not test.argument) for test in tests):
                return True
    return False
