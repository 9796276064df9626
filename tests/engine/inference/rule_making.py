"""Rules and facts for the tests of inference, written short."""

from __future__ import annotations

import re

from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance
from mlx_diagnose.engine.rulebase import RuleBase, rule_base
from mlx_diagnose.engine.rulebase.case_reader import empty_value
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.rulebase.rule_reader import read_rule
from mlx_diagnose.engine.vocabulary import VOCABULARY

HEAD = "title: t\nsince: '0'\nreferences: [x]\nvalid: [{name: v, facts: []}]\ninvalid: [{name: i, facts: []}]\n"


def make_rule(identifier: str, body: str) -> Rule:
    """A rule of this id; ``body`` gives when, and finding or derive. A finding is config/missing-key, error."""
    if "finding:" in body and not re.search("^failure_class:", body, re.MULTILINE):
        body = f"failure_class: config/missing-key\n{body}"
    if "severity:" not in body:
        body = f"severity: error\n{body}"
    found, problems = read_rule(f"id: {identifier}\n{HEAD}{body}", f"{identifier}.yaml", identifier)
    assert isinstance(found, Rule), [str(problem) for problem in problems]
    return found


def make_base(**bodies: str) -> RuleBase:
    """A rule base; underscores of the names become dashes."""
    return rule_base([make_rule(name.replace("_", "-"), body) for name, body in bodies.items()])


def make_memory(*facts: tuple[str, dict[str, object]]) -> WorkingMemory:
    """A memory of facts of which only the fields that matter are given."""
    memory = WorkingMemory()
    for kind, fields in facts:
        blank = {name: empty_value(spec) for name, spec in VOCABULARY[kind].fields.items()}
        memory.add(kind, Provenance("test", file="config.json", line=3), **{**blank, **fields})
    return memory
