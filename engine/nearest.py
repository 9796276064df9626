"""The rules that come nearest to a failure that none explains, and what they lacked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlx_diagnose.engine.diagnosis import NearRule
from mlx_diagnose.engine.inference.explain import AlternativeState, why_not
from mlx_diagnose.engine.model import Fact
from mlx_diagnose.engine.rulebase.rule import Rule

#: Areas of failure classes that can end a stage: a rule about the hub is not near a failing matrix.
AREAS: Mapping[str, tuple[str, ...]] = {
    "resolve": ("hub", "config"),
    "config": ("hub", "config"),
    "architecture": ("architecture", "dependency", "code"),
    "import": ("architecture", "dependency", "code", "hub"),
    "construct": ("config", "component", "code", "dependency"),
    "weights": ("weights", "memory"),
    "sanitize": ("weights", "config", "code"),
    "quantize": ("quantization", "weights"),
    "load": ("weights", "quantization", "config"),
    "post_load": ("component", "hub", "dependency", "code"),
}
_CHANGES_TOLD = 2


def nearest_rules(rules: Iterable[Rule], facts: Sequence[Fact], stage: str, limit: int = 3) -> list[NearRule]:
    """At most ``limit`` of ``rules`` for the failure of ``stage``, the nearest first.

    Near is a rule that would conclude an error of that stage, that found part of what it looks
    for among ``facts``, and that the smallest change of facts would fire.
    """
    near = []
    for rule in rules:
        area = (rule.failure_class or "").partition("/")[0]
        if rule.finding is None or rule.severity != "error" or area not in AREAS.get(stage, ()):
            continue
        alternative = why_not(rule, facts).alternatives[0]
        found = _found(alternative)
        if alternative.cost > 0 and found:
            near.append((alternative.cost, -found, rule.id, NearRule(rule.id, _lacked(alternative))))
    return [rule for *_, rule in sorted(near, key=lambda entry: entry[:3])[:limit]]


def _found(alternative: AlternativeState) -> int:
    return sum(condition.holds and not condition.negated for condition in alternative.conditions)


def _lacked(alternative: AlternativeState) -> str:
    told = [str(change) for change in alternative.changes[:_CHANGES_TOLD]]
    more = len(alternative.changes) - len(told)
    return "; ".join([*told, f"and {more} more"] if more else told)
