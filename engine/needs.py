"""What a diagnosis that had only a text to go by would need to tell more, and what each of it would decide.

Derived from the rules: of those that concern the failure, found part of what they look for,
and did not fire, the facts that they lacked; and from known defects whose conditions are open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlx_diagnose.engine.inference.explain import AlternativeState, ConditionState, why_not
from mlx_diagnose.engine.model import Fact, Finding, Need, stage_index
from mlx_diagnose.engine.nearest import AREAS
from mlx_diagnose.engine.rulebase.failure_classes import UNKNOWN, covers
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.vocabulary import VOCABULARY

#: What holds the facts of a collector, in the words of who would look for it.
_CONFIG = "config.json of the model"
_NAME = "the name of its directory or repository"
_WEIGHTS = "the names and shapes of the tensors in its weights files"
_INSTALLED = "the installed versions (pip list), Python and the system"
_TRIALS = "the model itself, to try changes on (diagnose MODEL, where it fails)"
_HOLDERS: Mapping[str, tuple[str, ...]] = {
    "config": (_CONFIG,),
    "config_difference": (_CONFIG, _INSTALLED),
    "checkpoint": (_WEIGHTS,),
    "weights_difference": (_CONFIG, _WEIGHTS, _INSTALLED),
    "resolution": (_CONFIG, _NAME, _INSTALLED),
    "environment": (_INSTALLED,),
    "counterfactual": (_TRIALS,),
}
_ORDER = (_CONFIG, _NAME, _WEIGHTS, _INSTALLED, _TRIALS)
_WHOLE = "the whole traceback, from its first line to the last, with the exceptions before it"
#: Every failure has facts of these kinds: that a rule found one of them brings it no nearer.
_COMMON = frozenset({"target", "stage", "probe", "interpreter", "package", "finding", "release_defect"})
#: A conclusion as sure as this leaves nothing to ask.
_SURE = 0.93
_RULES_TOLD = 3
_NEEDS_TOLD = 3


def needs(
    rules: Iterable[Rule], facts: Sequence[Fact], findings: Sequence[Finding], stage: str | None, *, cut: bool
) -> list[Need]:
    """What would tell more, the most telling first. ``cut``: the text does not hold a whole traceback."""
    defects = _of_defects(facts)
    if any(found.severity == "error" and found.root and found.confidence >= _SURE for found in findings):
        return defects
    asked: list[Need] = [Need(_WHOLE, "which stage failed, in whose code, and what lies under it.")] if cut else []
    return [*asked, *_of_type(facts), *_of_rules(rules, facts, findings, stage), *defects]


def _of_rules(
    rules: Iterable[Rule], facts: Sequence[Fact], findings: Sequence[Finding], stage: str | None
) -> list[Need]:
    """The rules that would say what lies under a conclusion, or that come near where there is none.

    The surer a rule would be, the more what it lacks would tell.
    """
    concluded = [found for found in findings if found.root and found.failure_class != UNKNOWN]
    near: list[tuple[float, str, Rule, frozenset[str]]] = []
    for rule in rules:
        if rule.finding is None or rule.severity != "error" or rule.failure_class is None:
            continue
        if concluded and not _explains(rule, concluded):
            continue
        if not concluded and _area(rule.failure_class) not in AREAS.get(stage or "", ()):
            continue
        for alternative in why_not(rule, facts).alternatives:
            holders = _lacking(alternative)
            if holders and (concluded or _found(alternative)):
                near.append((-rule.finding.confidence, rule.id, rule, holders))
                break
    told: dict[frozenset[str], list[Rule]] = {}
    tried: list[str] = []
    for _, _, rule, holders in sorted(near, key=lambda entry: entry[:2]):
        if _TRIALS in holders:
            tried.append(rule.id)
        else:
            told.setdefault(holders, []).append(rule)
    asked = [_need(holders, chosen[:_RULES_TOLD]) for holders, chosen in list(told.items())[:_NEEDS_TOLD]]
    if tried:
        asked.append(Need(_TRIALS, "which change of config.json mends the load.", tuple(tried[:_RULES_TOLD])))
    return asked


def _explains(rule: Rule, findings: Iterable[Finding]) -> bool:
    """The rule names the very class of a finding, or is about what comes before it (a type explains a config)."""
    return any(
        claim.failure_class == found.failure_class
        or (
            covers(claim.failure_class, found.failure_class)
            and _area(rule.failure_class or "") != _area(found.failure_class)
            and stage_index(str(rule.finding.stage) if rule.finding else None) < stage_index(found.stage)
        )
        for claim in rule.explains
        for found in findings
    )


def _area(failure_class: str) -> str:
    return failure_class.partition("/")[0]


def _need(holders: Iterable[str], rules: Sequence[Rule]) -> Need:
    titles = "; ".join(rule.title.rstrip(".") for rule in rules)
    what = ", ".join(holder for holder in _ORDER if holder in holders)
    return Need(what, f"whether one of these is so: {titles}.", tuple(rule.id for rule in rules))


def _lacking(alternative: AlternativeState) -> frozenset[str]:
    """Who holds the facts that are not there; empty where a fact that is there speaks against the rule."""
    holders: set[str] = set()
    for condition in alternative.conditions:
        if condition.holds:
            continue
        held = _HOLDERS.get(VOCABULARY[condition.pattern.kind].collector)
        if held is None or condition.negated or condition.fact is not None:
            return frozenset()
        holders.update(held)
    return frozenset(holders)


def _found(alternative: AlternativeState) -> bool:
    return any(_counts(condition) for condition in alternative.conditions)


def _counts(condition: ConditionState) -> bool:
    return condition.holds and not condition.negated and condition.pattern.kind not in _COMMON


def _of_type(facts: Sequence[Fact]) -> list[Need]:
    """A type of which it is not proven that the installed release lacks it."""
    if any(fact.kind == "resolution" for fact in facts):
        return []
    return [
        Need(
            "the installed version of mlx-audio",
            f"whether it is older than {fact['since']}, which has the model type {fact['declared']}; "
            "if it is not, importing the family failed, and the message hides why.",
        )
        for fact in facts
        if fact.kind == "type_candidate" and fact["reason"] == "supported-since"
    ]


def _of_defects(facts: Iterable[Fact]) -> list[Need]:
    open_versions: dict[str, list[str]] = {}
    open_families: dict[str, list[str]] = {}
    for fact in facts:
        if fact.kind != "release_defect":
            continue
        if not fact["version_known"]:
            open_versions.setdefault(str(fact["package"]), []).append(f"{fact['defect']} ({fact['broken']})")
        if not fact["family_known"]:
            open_families.setdefault(str(fact["family"]), []).append(str(fact["defect"]))
    return [
        Need(f"the installed version of {package}", f"whether it has the known defect {', '.join(told)}.")
        for package, told in open_versions.items()
    ] + [
        Need(
            "model_type of config.json",
            f"whether the model is of the family {family}, which {', '.join(told)} is about.",
        )
        for family, told in open_families.items()
    ]
