"""Reading the cases of a rule: facts on which it must fire, or stay silent."""

from __future__ import annotations

from mlx_diagnose.engine.model import STAGES, Scalar
from mlx_diagnose.engine.rulebase.predicates import bad_constant
from mlx_diagnose.engine.rulebase.problems import did_you_mean, one_of
from mlx_diagnose.engine.rulebase.rule import Case, CaseFact, Expectation
from mlx_diagnose.engine.rulebase.yaml_tree import Node, Tree
from mlx_diagnose.engine.vocabulary import VOCABULARY, Field

CASE_KEYS = ("name", "facts", "expect")
EXPECT_KEYS = ("findings", "subjects", "cause_contains", "title_contains", "fixes", "stage", "facts")

_EMPTY: dict[str, Scalar] = {"str": "", "int": 0, "float": 0.0, "bool": False}


def empty_value(field: Field) -> Scalar:
    """What a field holds that a case or a derivation does not give: null, else empty text, 0 or false."""
    return None if field.nullable else _EMPTY[field.type]


def read_cases(tree: Tree, node: Node | None, *, fires: bool, derives: bool) -> tuple[Case, ...]:
    """The cases under ``valid`` (``fires`` is False) or ``invalid``."""
    if node is None:
        return ()
    what = "an invalid case" if fires else "a valid case"
    found: list[Case] = []
    for item in tree.items(node, "invalid" if fires else "valid") or []:
        keys = tree.record(item, what, CASE_KEYS, required=("name", "facts"))
        if keys is None:
            continue
        name = tree.text(keys["name"], "name") if "name" in keys else None
        facts = _facts(tree, keys["facts"]) if "facts" in keys else ()
        expect = Expectation()
        if "expect" in keys and not fires:
            tree.problem(
                keys["expect"],
                "a valid case expects nothing: the rule must stay silent",
                "Move it to invalid, or remove expect.",
            )
        elif "expect" in keys:
            expect = _expectation(tree, keys["expect"], derives)
        found.append(Case(name or "", facts, fires, expect, item.start_mark.line + 1))
    return tuple(found)


def _facts(tree: Tree, node: Node) -> tuple[CaseFact, ...]:
    return tuple(fact for item in tree.items(node, "facts") or [] if (fact := _fact(tree, item)))


def _fact(tree: Tree, node: Node, *, complete: bool = True) -> CaseFact | None:
    keys = tree.mapping(node, "a fact of a case")
    if keys is None:
        return None
    if len(keys) != 1:
        tree.problem(
            node,
            "a fact of a case is one kind with its fields",
            "Write: - kind: {field: value}; indent the fields below the kind.",
        )
        return None
    ((kind, (key, value)),) = keys.items()
    if kind not in VOCABULARY:
        tree.problem(key, f"there is no kind of fact {kind!r}", did_you_mean(kind, VOCABULARY))
        return None
    declared = VOCABULARY[kind].fields
    given: dict[str, Scalar] = {}
    empty = value.id == "scalar" and not value.value
    for name, (field_key, field_node) in ({} if empty else tree.mapping(value, kind) or {}).items():
        field = declared.get(name)
        if field is None:
            tree.problem(field_key, f"{kind} has no field {name!r}", did_you_mean(name, declared) or one_of(declared))
            continue
        found = tree.scalar(field_node, f"{kind}.{name}")
        if found is None:
            continue
        if reason := bad_constant(found[0], field):
            tree.problem(field_node, f"{kind}.{name}: {reason}")
        given[name] = found[0]
    if complete:
        return CaseFact(kind, {name: given.get(name, empty_value(field)) for name, field in declared.items()})
    return CaseFact(kind, given)


def _expectation(tree: Tree, node: Node, derives: bool) -> Expectation:
    keys = tree.record(node, "expect", EXPECT_KEYS) or {}
    for name in keys:
        if derives and name != "facts":
            tree.problem(
                keys[name], f"a rule that derives gives no finding, so {name!r} cannot be expected", "Use facts."
            )
    stage = tree.choice(keys["stage"], "stage", STAGES) if "stage" in keys else None
    return Expectation(
        findings=_count(tree, keys, "findings"),
        subjects=tuple(tree.texts(keys["subjects"], "subjects")) if "subjects" in keys else None,
        cause_contains=tuple(tree.texts(keys["cause_contains"], "cause_contains")) if "cause_contains" in keys else (),
        title_contains=tuple(tree.texts(keys["title_contains"], "title_contains")) if "title_contains" in keys else (),
        fixes=_count(tree, keys, "fixes"),
        stage=stage,
        facts=tuple(
            fact
            for item in (tree.items(keys["facts"], "facts") or [] if "facts" in keys else [])
            if (fact := _fact(tree, item, complete=False))
        ),
    )


def _count(tree: Tree, keys: dict[str, Node], name: str) -> int | None:
    if name not in keys:
        return None
    number = tree.number(keys[name], name)
    if not isinstance(number, int) or number < 0:
        tree.problem(keys[name], f"{name} must be a count")
        return None
    return number
