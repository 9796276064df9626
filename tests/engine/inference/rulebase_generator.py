"""Random rule bases and facts, as the plain data that would stand in a rule file.

Driven by a ``random.Random``, which may be Hypothesis's own, so that failures shrink.
"""

from __future__ import annotations

NASTY = (
    "a",
    "b",
    "ab",
    "",
    "1",
    "true",
    "null",
    "1e-05",
    "it's",
    'say "x"',
    "line\nbreak",
    "back\\slash",
    "tab\t",
    "$a",
    "$s",
    "{x}",
    "nul\x00byte",
    "ünï ☃ 🎵",
    "(a (b ?c))",
    "=> ;comment",
    "x" * 1999,
)
TEXTS = NASTY
NUMBERS = (0, 1, 2, -1, 2**63 - 1, -(2**63))
FLOATS = (0.0, 1.0, 2.0, -1.0, 1e-05, 0.1, 1e308, float(2**53))

#: kind -> field -> (type, nullable); a part of the published vocabulary.
KINDS = {
    "config_key": {"path": ("str", False), "name": ("str", False), "value": ("str", True), "line": ("int", True)},
    "key_similarity": {
        "given": ("str", False),
        "score": ("float", False),
        "best": ("bool", False),
        "value_fits": ("bool", True),
        "given_line": ("int", True),
    },
    "weights_difference": {"missing": ("int", False), "raised": ("bool", False), "only": ("str", False)},
    "layers_absent": {"stem": ("str", False), "in_model": ("int", False), "in_checkpoint": ("int", False)},
    "loader": {"module": ("str", False), "strict": ("bool", True), "mlx_audio_version": ("str", True)},
}
FINDING = {"rule": ("str", False), "subject": ("str", True), "failure_class": ("str", False)}
CLASSES = ("config/missing-key", "weights/shape", "weights/missing")
VARIABLES = {"str": "st", "int": "ij", "float": "ij", "bool": "b"}


def value(random, spec, few):
    kind, nullable = spec
    if nullable and random.random() < 0.2:
        return None
    pool = {"str": TEXTS[:few] if few else TEXTS, "int": NUMBERS, "float": FLOATS, "bool": (True, False)}[kind]
    return random.choice(pool)


def facts(random, kinds, most=9):
    few = random.choice((0, 2, 2, 4))
    made = []
    for _ in range(random.randint(0, most)):
        kind = random.choice(kinds)
        made.append((kind, {name: value(random, spec, few) for name, spec in KINDS[kind].items()}))
    return made


def test(random, spec):
    """A ``where`` entry of constants."""
    kind, nullable = spec
    some = [value(random, (kind, False), 0) for _ in range(3)]
    choices = [{"equals": some[0]}, {"not": some[0]}, {"in": some}, {"not-in": some[:2]}]
    if nullable:
        choices += [{"equals": None}, {"null": True}, {"null": False}, {"in": [None, some[0]]}]
    if kind == "str":
        piece = random.choice(("a", "b", "1", "e-0", "'", "\n", "$", "☃", "x" * 50))
        choices += [
            {"contains": piece},
            {"starts-with": piece},
            {"ends-with": piece},
            {"matches": "^[a-b]+$"},
            {"matches": "[0-9]"},
        ]
        if not some[0].startswith("$") and some[0]:
            choices.append(some[0])
    elif kind in ("int", "float"):
        choices += [{name: some[0]} for name in ("lt", "le", "gt", "ge")] + [some[0]]
    else:
        choices.append(some[0])
    return random.choice(choices)


def pattern(random, kinds, allowed=None):
    """A pattern; with ``allowed``, only variables among these are used."""
    kind = random.choice(sorted(kinds))
    where = {}
    for name, spec in kinds[kind].items():
        roll = random.random()
        if roll < 0.3:
            variable = random.choice(VARIABLES[spec[0]])
            if allowed is None or variable in allowed:
                where[name] = f"${variable}"
        elif roll < 0.42 or name == "failure_class":
            where[name] = random.choice(CLASSES) if name == "failure_class" else test(random, spec)
            if isinstance(where[name], dict) and random.random() < 0.3:
                variable = random.choice(VARIABLES[spec[0]])
                if allowed is None or variable in allowed:
                    where[name]["as"] = f"${variable}"
    return {"fact": kind, "where": where} if where else {"fact": kind}


def bound(conditions):
    """Variable -> type of what binds it, for those that every expansion binds."""
    names = {}
    for condition in conditions:
        if "fact" not in condition:
            continue
        kinds = {**KINDS, "finding": FINDING}
        for field, spec in condition.get("where", {}).items():
            variable = spec if isinstance(spec, str) else spec.get("as") if isinstance(spec, dict) else None
            if isinstance(variable, str) and variable.startswith("$") and len(variable) == 2:
                names.setdefault(variable[1:], kinds[condition["fact"]][field])
    return names


def rule(random, number, some):
    kinds = {kind: KINDS[kind] for kind in some}
    if random.random() < 0.3:
        kinds["finding"] = FINDING
    when = [pattern(random, kinds) for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4)))]
    if random.random() < 0.2:
        when.insert(
            random.randint(0, len(when)),
            {"any-of": [[pattern(random, kinds) for _ in range(random.choice((1, 1, 2)))] for _ in range(2)]},
        )
    names = bound(when)
    for _ in range(random.choice((0, 0, 1, 2)) or (0 if when else 1)):
        when.insert(random.randint(0, len(when)), {"not": pattern(random, kinds, names)})
    made = {"id": f"r{number}", "title": "t", "since": "0.1", "references": ["x"], "when": when}
    if random.random() < 0.4:
        return {**made, "derive": derivation(random, names)}
    texts = sorted(name for name, (kind, nullable) in names.items() if kind == "str")
    subjects = [{"kind": "tensor", "name": f"${random.choice(texts)}"}] if texts and random.random() < 0.7 else []
    finding = {"cause": "c", "subjects": subjects}
    if random.random() < 0.3:
        finding["stage"] = random.choice(("load", "construct"))
    return {**made, "failure_class": random.choice(CLASSES), "severity": "error", "finding": finding}


def derivation(random, names):
    kind = random.choice(("layers_absent", "weights_difference", "loader", "key_similarity"))
    fields = {}
    for field, (wanted, nullable) in KINDS[kind].items():
        takes = ("int", "float") if wanted == "float" else (wanted,)
        fitting = sorted(name for name, (have, maybe) in names.items() if have in takes and (nullable or not maybe))
        if fitting and random.random() < 0.7:
            fields[field] = f"${random.choice(fitting)}"
        elif random.random() < 0.5:
            constant = value(random, (wanted, nullable), 3)
            if constant is not None and not (
                isinstance(constant, str) and (set("${}") & set(constant) or not constant)
            ):
                fields[field] = constant
    return {"fact": kind, "fields": fields}


def rulebase(random, most=4):
    """Rules and facts over one to three kinds, so that they meet."""
    kinds = random.sample(sorted(KINDS), random.randint(1, 3))
    rules = [rule(random, number, kinds) for number in range(random.randint(1, most))]
    # Four patterns without a join over thirteen facts would be more matches than one rule may have.
    size = max(sum("fact" in condition for condition in item["when"]) for item in rules)
    return rules, facts(random, kinds, 9 if size < 4 else 5)
