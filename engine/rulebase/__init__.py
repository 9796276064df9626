"""Rules as data: reading YAML, checking it, compiling it to the intermediate form."""

from mlx_diagnose.engine.rulebase.loader import RuleBase, RuleEntry, load_rules, rule_base
from mlx_diagnose.engine.rulebase.problems import InvalidRules, Problem
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.rulebase.sources import RuleSource, default_sources

__all__ = [
    "InvalidRules",
    "Problem",
    "Rule",
    "RuleBase",
    "RuleEntry",
    "RuleSource",
    "default_sources",
    "load_rules",
    "rule_base",
]
