"""What the engines must find, worked out the slowest and plainest way.

A rule base is the plain data that would stand in YAML; a fact is ``(kind, fields)``. No code
of the package under test is used: constants are compared, joins are tried and strata are
found here a second time.
"""

from __future__ import annotations

import itertools
import re

LIMIT = 40  # rounds: the generated derivations reach their fixpoint long before


def same(one, other):
    """Equality of a join: null equals nothing, true is not 1, 1 equals 1.0."""
    return one is not None and isinstance(one, bool) == isinstance(other, bool) and one == other


def passes(value, spec):
    """One field against its ``where`` entry, variables aside."""
    if not isinstance(spec, dict):
        if isinstance(spec, str) and spec.startswith("$"):
            return True
        return value is None if spec is None else same(value, spec)
    for name, argument in spec.items():
        if name == "as":
            continue
        if name == "equals":
            ok = value is None if argument is None else same(value, argument)
        elif name == "in":
            ok = any((value is None) if item is None else same(value, item) for item in argument)
        elif name == "null":
            ok = (value is None) == argument
        elif value is None:
            ok = False
        elif name == "not":
            ok = argument is None or not same(value, argument)
        elif name == "not-in":
            ok = not any(same(value, item) for item in argument)
        elif name == "matches":
            ok = re.search(argument, value) is not None
        elif name == "contains":
            ok = argument in value
        elif name == "starts-with":
            ok = value[: len(argument)] == argument
        elif name == "ends-with":
            ok = value.endswith(argument)
        else:
            ok = {"lt": value < argument, "le": value <= argument, "gt": value > argument, "ge": value >= argument}[
                name
            ]
        if not ok:
            return False
    return True


def variables(where):
    for field, spec in where.items():
        if isinstance(spec, str) and spec.startswith("$"):
            yield field, spec[1:]
        elif isinstance(spec, dict) and "as" in spec:
            yield field, spec["as"][1:]


def extend(pattern, fact, bindings):
    """Bindings with those of the fact, or None if it does not match."""
    kind, fields = fact
    where = pattern.get("where", {})
    if kind != pattern["fact"] or not all(passes(fields[field], spec) for field, spec in where.items()):
        return None
    bindings = dict(bindings)
    for field, variable in variables(where):
        if variable in bindings and not same(bindings[variable], fields[field]):
            return None
        bindings.setdefault(variable, fields[field])
    return bindings


def conjunctions(when):
    """``any-of`` expanded."""
    choices = []
    for condition in when:
        if "any-of" in condition:
            choices.append([run for inner in condition["any-of"] for run in conjunctions(inner)])
        else:
            choices.append([[condition]])
    return [[item for run in choice for item in run] for choice in itertools.product(*choices)]


def matches(rule, facts):
    """Every (matched facts, bindings) of the rule, by trying every combination of facts."""
    for conjunction in conjunctions(rule["when"]):
        positive = [condition for condition in conjunction if "not" not in condition]
        negative = [condition["not"] for condition in conjunction if "not" in condition]
        for chosen in itertools.product(facts, repeat=len(positive)):
            bindings = {}
            for pattern, fact in zip(positive, chosen, strict=True):
                bindings = extend(pattern, fact, bindings)
                if bindings is None:
                    break
            if bindings is None:
                continue
            if any(extend(pattern, fact, bindings) is not None for pattern in negative for fact in facts):
                continue
            yield chosen, bindings


def fill(template, bindings):
    """``$name``, or a text whose only places are variables."""
    if isinstance(template, str) and template.startswith("$"):
        return bindings[template[1:]]
    if not isinstance(template, str):
        return template
    return re.sub(r"\{(\w+)\}", lambda place: bindings[place.group(1)], template)


def conclusions(rule, bindings, empty):
    """The facts that an activation asserts; ``empty`` gives the fields of a kind that are not given."""
    if "derive" in rule:
        kind = rule["derive"]["fact"]
        given = {field: fill(content, bindings) for field, content in rule["derive"]["fields"].items()}
        fields = {**empty(kind), **{field: value for field, value in given.items() if value is not None}}
        numbers = {field for field, blank in empty(kind).items() if isinstance(blank, float)}
        return [(kind, {field: float(value) if field in numbers else value for field, value in fields.items()})]
    head = {
        "rule": rule["id"],
        "failure_class": rule["failure_class"],
        "severity": rule["severity"],
        "stage": rule["finding"].get("stage"),
    }
    names = [fill(subject["name"], bindings) for subject in rule["finding"].get("subjects", [])]
    named = [("finding", {**head, "subject_kind": "tensor", "subject": name}) for name in names if name]
    return named or [("finding", {**head, "subject_kind": None, "subject": None})]


def key(fact):
    kind, fields = fact
    return (kind, *((name, type(value).__name__, value) for name, value in fields.items()))


def shown(bindings):
    """Bindings that compare by value; 1 and 1.0, which join, are the same."""
    return frozenset((name, isinstance(value, bool), value) for name, value in bindings.items())


def produces(rule, pattern):
    """Whether the rule may assert a fact that the pattern matches, by what is constant in it."""
    if "derive" in rule:
        kind, fixed = (
            rule["derive"]["fact"],
            {
                field: content
                for field, content in rule["derive"]["fields"].items()
                if not isinstance(content, str) or "$" not in content
            },
        )
    else:
        kind, fixed = "finding", conclusions({**rule, "finding": {**rule["finding"], "subjects": []}}, {}, None)[0][1]
        fixed = {name: fixed[name] for name in ("rule", "failure_class", "severity", "stage")}
    where = pattern.get("where", {})
    return kind == pattern["fact"] and all(
        passes(fixed[field], spec) for field, spec in where.items() if field in fixed
    )


def levels(rules):
    """Stratum of each rule, or None where negation goes round in a circle."""
    level = [0] * len(rules)
    for _ in range(len(rules) * len(rules) + 1):
        changed = False
        for consumer, rule in enumerate(rules):
            for condition in (item for conjunction in conjunctions(rule["when"]) for item in conjunction):
                pattern, step = (condition["not"], 1) if "not" in condition else (condition, 0)
                for producer, other in enumerate(rules):
                    if produces(other, pattern) and level[consumer] < level[producer] + step:
                        level[consumer] = level[producer] + step
                        changed = True
        if not changed:
            return level
    return None


def run(rules, facts, empty):
    """All activations as (rule id, keys of matched facts, bindings), and all facts as keys."""
    known = {key(fact): fact for fact in facts}
    found = set()
    level = levels(rules)
    for stratum in range(max(level, default=0) + 1):
        mine = [rule for rule, at in zip(rules, level, strict=True) if at == stratum]
        for _ in range(LIMIT):
            before = len(known)
            news = []
            for rule in mine:
                for chosen, bindings in matches(rule, list(known.values())):
                    found.add((rule["id"], tuple(key(fact) for fact in chosen), shown(bindings)))
                    news.extend(conclusions(rule, bindings, empty))
            known.update((key(fact), fact) for fact in news)
            if len(known) == before:
                break
    return found, set(known)
