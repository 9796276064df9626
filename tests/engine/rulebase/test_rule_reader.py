# ruff: noqa: E501 (a table of mistakes, one a line)
"""Every mistake in a rule file is told with file, line, column and what was probably meant."""

from __future__ import annotations

import pytest

from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.rulebase.rule_reader import read_rule, without_cases
from tests.engine.rulebase.rule_texts import GOOD, edited


def problems(text: str) -> list[str]:
    _, found = read_rule(text, "good.yaml", "good")
    return [str(problem) for problem in found]


def rule(text: str = GOOD) -> Rule:
    found, wrong = read_rule(text, "good.yaml", "good")
    assert isinstance(found, Rule), wrong
    return found


def test_a_good_rule_is_read_whole():
    good = rule()
    assert (good.id, good.failure_class, good.severity, good.maturity) == (
        "good",
        "config/missing-key",
        "error",
        "stable",
    )
    (alternative,) = good.alternatives
    assert [str(p) for p in alternative.positive] == [
        "missing_argument(stage: 'construct', name: matches '^[a-z_]+$', path: $path, name: $name)"
    ]
    assert [str(p) for p in alternative.negative] == ["key_similarity(best: true, wanted: $path)"]
    assert good.kinds == ("key_similarity", "missing_argument")
    assert [case.name for case in good.cases] == ["nothing fits", "another key fits"]
    assert good.applies_to.categories == ("tts",) and good.applies_to.mlx_audio == ">=0.2"


MISTAKES = [
    # structure
    ("severity: error", "severty: error", "good.yaml:4:1: a rule has no key 'severty'. Did you mean 'severity'?"),
    ("severity: error", "severty: error", "the rule lacks the key 'severity'"),
    ("severity: error", "severity: eror", "good.yaml:4:11: severity cannot be 'eror'. Did you mean 'error'?"),
    ("config/missing-key", "config/mising-key", "Did you mean 'config/missing-key'?"),
    ("id: good", "id: Good", "id 'Good' is not of the form lower-case-words-with-dashes"),
    ("id: good", "id: other", "id 'other' is not the file's name ('good'). Name the file other.yaml, or change the id."),
    ("id: good\n", "", "a rule lacks the key 'id'"),
    ("title: A key is missing", "title: ", "title must be a text, not nothing"),
    ('since: "0.1"\n', "", "the rule lacks the key 'since'"),
    ('references: ["mlx_audio/utils.py"]', "references: []", "references is empty"),
    ("maturity: stable", "maturity: alpha", "maturity cannot be 'alpha'"),
    ("[tts]", "[tss]", "there is no category 'tss'. Did you mean 'tts'?"),
    ('">=0.2"', '">=zwei"', "mlx_audio: '>=zwei' is not a version clause"),
    # patterns
    ("- fact: missing_argument\n", "- fact: mising_argument\n", "good.yaml:9:11: there is no kind of fact 'mising_argument'. Did you mean 'missing_argument'?"),
    ("      stage: construct\n      path", "      stag: construct\n      path", "good.yaml:12:7: missing_argument has no field 'stag'. Did you mean 'stage'?"),
    ("      stage: construct\n      path", "      stage: constrct\n      path", "missing_argument.stage is never 'constrct'. Did you mean 'construct'?"),
    ("      stage: construct\n      path", "      stage: 5\n      path", "the field is a text, and 5 is not (put it in quotes)"),
    ("      stage: construct\n      path", "      stage: [construct]\n      path", "Write {in: [...]} for one of several."),
    ("{matches:", "{maches:", "there is no test 'maches'. Did you mean 'matches'?"),
    ('"^[a-z_]+$"', '"^[a-z_+$"', "it is not a valid regular expression"),
    ('"^[a-z_]+$"', '"^([a-z_]+)+$"', "a search could take for ever"),
    ("as: $name}", "as: name}", "'name' is not a variable such as $path"),
    ("as: $name}", "equals: B, as: $name}", "no value that satisfies"),
    ("best: true}", "best: 1}", "the field is true or false, and 1 is not"),
    ("best: true}", "score: {gt: 2, lt: 1}}", "no number satisfies both"),
    ("best: true}", "score: {gt: high}}", "score: gt cannot be asked: it takes a number, not 'high'"),
    ("best: true}", "given: {lt: 3}}", "lt makes no sense here: the field is a text"),
    ("best: true}", "given: {in: []}}", "in needs at least one value"),
    ("best: true}", "given: null}", "the field is never null"),
    ("best: true}", "value: {null: true, contains: x}}", "can never hold together"),
    ("best: true}", "value_fits: {null: 1}}", "it takes true or false"),
    ("      fact: key_similarity\n", "      as: x\n      fact: key_similarity\n", "a negated pattern matches no fact, so it takes no name"),
    ("wanted: $path,", "wanted: $pth,", "$pth is not bound outside this 'not'. Did you mean 'path'?"),
    ("wanted: $path,", "score: $path,", "$path joins key_similarity.score (float) with missing_argument.path (str), which can never be equal"),
    ("wanted: $path,", "wanted: $,", "'$' is not a variable such as $path"),
    ("wanted: $path,", "wanted: $count,", "'$count' is not a variable"),
    ("  - not:\n", "  - fact: stage\n    not:\n", "'not' must stand alone in its condition"),
    ("      fact: key_similarity\n", "      not: {fact: stage}\n      fact: key_similarity\n", "'not' may not stand inside 'not'"),
    ("    as: arg", "    as: subjects", "'subjects' cannot name a fact"),
    # texts
    ("{arg.class_name} needs", "{ag.class_name} needs", "no matched fact is named 'ag'. Did you mean 'arg'?"),
    ("{arg.class_name} needs", "{arg.class} needs", "missing_argument has no field 'class'. Did you mean 'class_name'?"),
    ("{arg.class_name} needs", "{pth} needs", "{pth} is not bound. Did you mean 'path'?"),
    ("{arg.class_name} needs", "{arg} needs", "It names a fact; write {arg.FIELD}."),
    ("{arg.class_name} needs", "{ needs", "a single '{' stands in this text; write '{{' for a brace"),
    ("{arg.class_name} needs", "{path!r} needs", "is neither {variable} nor {alias.field}"),
    ("{arg.class_name} needs", "{path.__class__.__mro__} needs", "is neither {variable} nor {alias.field}"),
    ('one_for: ["{arg.class_name}"]', 'one_for: ["{subjects}"]', "{subjects} is known only in cause"),
    # finding
    ("  stage: construct\n  confidence", "  stage: contruct\n  confidence", "there is no stage 'contruct'. Did you mean 'construct'?"),
    ("confidence: 0.9", "confidence: 9", "confidence must lie between 0 and 1"),
    ("confidence: 0.9", "confidence: high", "confidence must be a number, not 'high'"),
    ("{kind: config_key,", "{kind: key,", "kind cannot be 'key'"),
    ("op: add,", "op: ad,", "op cannot be 'ad'. Did you mean 'add'?"),
    ("op: add,", "op: move,", "move needs 'from'"),
    ("op: add,", "op: remove,", "remove takes no value"),
    ('json: "0"', 'json: "0", text: x', "add needs exactly one of json, text, value"),
    ('json: "0"', 'json: "0", pointer: /x', "they do not mix"),
    ("kind: config-patch", "kind: package", "a fix of kind 'package' takes no patch"),
    ('failure_class: weights/*, subject', 'failure_class: weight/*, subject', "Did you mean 'weights/*'?"),
    ("finding:\n", "derive: {fact: target}\nfinding:\n", "a rule has either 'finding' or 'derive', not both"),
    # cases
    ("valid:\n  - name: another", "vlid:\n  - name: another", "the rule has no valid case. Add one on which it must stay silent: a near miss."),
    ("    expect: {findings", "    expcet: {findings", "an invalid case has no key 'expcet'. Did you mean 'expect'?"),
    ("cause_contains: C needs a", "cause: C needs a", "expect has no key 'cause'"),
    ("fixes: 1, stage", "fixes: one, stage", "fixes must be a number"),
    ("fixes: 1, stage", "fixes: -1, stage", "fixes must be a count"),
    ("      - key_similarity: {best: true, wanted: a}", "      - key_similarty: {wanted: a}", "there is no kind of fact 'key_similarty'. Did you mean 'key_similarity'?"),
    ("      - key_similarity: {best: true, wanted: a}", "      - key_similarity: {wantd: a}", "Did you mean 'wanted'?"),
    ("      - key_similarity: {best: true, wanted: a}", "      - key_similarity: {wanted: 5}", "key_similarity.wanted: the field is a text"),
    ("      - key_similarity: {best: true, wanted: a}", "      - key_similarity:\n        wanted: a", "indent the fields below the kind"),
    ("      - key_similarity: {best: true, wanted: a}\n", "      - key_similarity: {wanted: a}\n    expect: {findings: 0}\n", "a valid case expects nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[f"{new.strip()[:40]}" for _, new, _ in MISTAKES])
def test_a_mistake_is_told(old, new, message):
    found = problems(edited(old, new))
    assert any(message in problem for problem in found), found


def test_all_mistakes_of_a_file_are_told_at_once_in_its_order():
    text = edited(
        "best: true}",
        "bst: true}",
        edited("severity: error", "severity: eror", edited("{kind: config_key,", "{kind: key,")),
    )
    found = problems(text)
    assert len(found) == 3
    assert [int(problem.split(":")[1]) for problem in found] == [4, 17, 22]


@pytest.mark.parametrize("count, refused", [(12, False), (13, True)])
def test_a_rule_has_at_most_twelve_patterns(count, refused):
    more = "  - fact: probe\n" * (count - 2)
    found = problems(edited("finding:\n", more + "finding:\n"))
    assert bool(found) == refused
    assert not refused or "the rule has 13 patterns; 12 are allowed" in found[0]


def test_a_rule_binds_at_most_twenty_times():
    many = (
        "  - fact: tensor_difference\n    where: {tensor: $a, status: $b, expected: $c, received: $d, component: $e, suffix: $f}\n"
        * 4
    )
    assert any(
        "the rule binds variables 27 times; 20 are allowed" in problem
        for problem in problems(edited("finding:\n", many + "finding:\n"))
    )


def test_any_of_may_not_multiply_without_bound():
    two = "  - any-of:\n" + "      - [{fact: probe}]\n" * 3
    assert any(
        "any-of makes 27 alternatives" in problem for problem in problems(edited("finding:\n", two * 3 + "finding:\n"))
    )


def test_any_of_must_bind_what_texts_use_in_each_alternative():
    any_of = "  - any-of:\n      - [{fact: stage, where: {name: $stage}}]\n      - [{fact: probe}]\n"
    text = edited("finding:\n", any_of + "finding:\n", edited("needs {subjects}", "needs {subjects} in {stage}"))
    assert any("{stage} is not bound in alternative 2 of any-of" in problem for problem in problems(text))


def test_nested_any_of_expands():
    any_of = "  - any-of:\n      - [{fact: stage}]\n      - - any-of: [[{fact: probe}], [{fact: target}, {not: {fact: loader}}]]\n"
    expanded = rule(edited("finding:\n", any_of + "finding:\n")).alternatives
    assert [[p.kind for p in c.positive][1:] for c in expanded] == [["stage"], ["probe"], ["target"]]
    assert [len(c.negative) for c in expanded] == [1, 1, 2]


def test_unnamed_patterns_are_named_by_their_kind():
    text = edited(
        "finding:\n",
        "  - fact: stage\n  - fact: stage\nfinding:\n",
        edited("needs {subjects}", "needs {subjects} in {stage.name}, {stage-2.name}"),
    )
    assert [p.alias for p in rule(text).alternatives[0].positive] == ["arg", "stage", "stage-2"]


def test_two_patterns_of_one_name_are_refused():
    assert any(
        "two patterns are named 'arg'" in p
        for p in problems(edited("finding:\n", "  - {fact: stage, as: arg}\nfinding:\n"))
    )


def test_a_constant_that_starts_with_a_dollar_is_written_as_equals():
    text = edited('{matches: "^[a-z_]+$", as: $name}', '{equals: "$x"}')
    assert "name: '$x'" in str(rule(text).alternatives[0].positive[0])


def test_a_file_may_disable_a_rule():
    assert read_rule("id: good\ndisabled: true\n", "good.yaml", "good") == ("good", [])


DERIVE = """\
id: good
title: t
since: "0.1"
references: [x]
when:
  - fact: config_key
    where: {path: $path, line: $line}
derive: {fact: missing_key, fields: {stage: config, name: $path, path: "x.{path}", how: key, line: $line}}
valid: [{name: v, facts: [{config_file: {file: a}}]}]
invalid: [{name: i, facts: [{config_key: {path: p}}], expect: {facts: [{missing_key: {path: x.p, line: null}}]}}]
"""


def test_a_rule_may_derive():
    derive = rule(DERIVE).derive
    assert derive is not None and derive.kind == "missing_key"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: $path,", "name: $line,", "missing_key.name is str, and '{line}' is int"),
        ("how: key,", "how: 5,", "missing_key.how: the field is a text, and 5 is not"),
        ("how: key,", "hw: key,", "missing_key has no field 'hw'. Did you mean 'how'?"),
        ("how: key,", "how: $pth,", "{pth} is not bound. Did you mean 'path'?"),
        ("fact: missing_key,", "fact: finding,", "a finding is concluded with 'finding', not derived"),
        ("path: $path, line", "path: $path, value: $v, line", None),
        ("references: [x]", "references: [x]\nexplains: []", "a rule that derives a fact explains no finding"),
        ("expect: {facts", "expect: {findings: 1, facts", "so 'findings' cannot be expected. Use facts."),
    ],
)
def test_mistakes_of_a_derivation(old, new, message):
    found = problems(edited(old, new, DERIVE))
    assert found == [] if message is None else any(message in problem for problem in found), found


def test_a_field_that_is_never_null_takes_nothing_that_may_be():
    text = edited(
        "name: $path,", "name: $value,", edited("path: $path, line", "path: $path, value: $value, line", DERIVE)
    )
    assert any("missing_key.name is never null, and '{value}' may be" in problem for problem in problems(text))
    tested = edited("value: $value", "value: {null: false, as: $value}", text)
    assert problems(tested) == []


def test_a_variable_must_fit_the_field_in_every_alternative():
    either = (
        "[{any-of: [[{fact: tensor_difference, where: {count: $n}}], [{fact: key_similarity, where: {score: $n}}]]}]"
    )
    text = DERIVE.replace(DERIVE[DERIVE.index("when:") : DERIVE.index("derive:")], f"when: {either}\n")
    integer = "{fact: layers_absent, fields: {in_model: $n}}"
    text = text.replace(text[text.index("{fact: missing_key") : text.index("\nvalid:")], integer)
    assert any("layers_absent.in_model is int, and '{n}' is float" in problem for problem in problems(text))
    assert problems(text.replace(integer, "{fact: key_similarity, fields: {score: $n}}")) == []


def test_without_cases_the_rest_keeps_its_lines():
    moved = edited("references:", "# a comment\nreferences:")
    cut = without_cases(moved + "notes: last\n")
    assert "another key fits" not in cut and "nothing fits" not in cut
    assert cut.splitlines()[-1] == "notes: last" and len(cut.splitlines()) == len(moved.splitlines()) + 1
    quick, wrong = read_rule(moved, "good.yaml", "good", with_cases=False)
    assert wrong == [] and isinstance(quick, Rule) and quick.cases == ()
    _, wrong = read_rule(edited("best: true}\nfinding", "bst: true}\nfinding"), "good.yaml", "good", with_cases=False)
    assert [problem.line for problem in wrong] == [17]
