"""Time of inference: how it grows with the facts, and figures for ``pytest --benchmark-enable``.

Ratios of one run only; nothing here knows how fast a machine is.
"""

from __future__ import annotations

import time

import pytest

from mlx_diagnose.engine.inference import available_engines, infer
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance
from mlx_diagnose.engine.rulebase import RuleBase, load_rules, rule_base
from mlx_diagnose.engine.rulebase.case_reader import empty_value
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.rulebase.rule_reader import read_rule
from mlx_diagnose.engine.rulebase.sources import builtin_source
from mlx_diagnose.engine.vocabulary import VOCABULARY

RULE = """\
id: r{n}
title: t
failure_class: config/missing-key
severity: error
since: "0"
references: [x]
when:
  - {{fact: init_parameter, where: {{class_name: C{group}, path: $path, required: true}}}}
  - {{fact: config_key, where: {{path: $path, type: {{in: [number, string]}}}}}}
  - {{fact: tensor_difference, where: {{tensor: $path, count: {{gt: {group}}}}}}}
  - not: {{fact: key_similarity, where: {{given: $path, best: true}}}}
finding: {{cause: "{{path}}", subjects: [{{kind: config_key, name: $path}}]}}
valid: [{{name: v, facts: []}}]
invalid: [{{name: i, facts: []}}]
"""


def rules(count: int) -> RuleBase:
    """Rules of three joined patterns and a negation, over fifty classes."""
    made = [read_rule(RULE.format(n=n, group=n % 50), "r.yaml", f"r{n}")[0] for n in range(count)]
    return rule_base([rule for rule in made if isinstance(rule, Rule)])


def facts(count: int) -> WorkingMemory:
    """Four kinds in equal parts; one parameter in four has a tensor that differs and no similar key."""
    memory = WorkingMemory()

    def add(kind: str, **fields: object) -> None:
        blank = {name: empty_value(spec) for name, spec in VOCABULARY[kind].fields.items()}
        memory.add(kind, Provenance("benchmark"), **{**blank, **fields})

    for n in range(count // 4):
        path = f"section_{n % 100}.key_{n}"
        add("init_parameter", class_name=f"C{n % 200}", path=path, required=n % 3 > 0)
        add("config_key", path=path, type="number" if n % 2 else "object")
        add("tensor_difference", tensor=path, count=n % 60)
        add("key_similarity", given=path, best=n % 5 == 0)
    return memory


@pytest.mark.parametrize("engine", available_engines())
def test_three_hundred_rules_over_five_thousand_facts(benchmark, engine):
    base, memory = rules(300), facts(5000)
    inference = benchmark(infer, base, memory, engine=engine)
    assert inference.findings and not inference.notes


@pytest.mark.parametrize("engine", available_engines())
def test_time_grows_with_the_facts_and_not_with_their_square(engine):
    """Noise of a shared machine only ever adds time, so one quiet pair out of ten is enough; a
    growth with the square (sixteen times) shows in every pair."""
    base, few, many = rules(100), facts(2500), facts(10_000)

    def seconds(memory: WorkingMemory) -> float:
        started = time.process_time()
        infer(base, memory, engine=engine)
        return time.process_time() - started

    ratios = []
    for _ in range(10):
        ratios.append(seconds(many) / seconds(few))
        if ratios[-1] < 9:
            return
    pytest.fail(f"four times the facts took {min(ratios):.1f} times as long at best")


def test_loading_the_built_in_rules(benchmark):
    sources = [builtin_source()]
    base = benchmark(load_rules, sources, with_cases=False)
    assert base.rules
