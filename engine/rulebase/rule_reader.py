"""Reading a rule file: YAML tree to :class:`Rule`, with every problem of the file collected."""

from __future__ import annotations

import re
from typing import cast

from mlx_diagnose.engine.model import SEVERITIES, STAGES, Scalar, Severity
from mlx_diagnose.engine.rulebase.case_reader import read_cases
from mlx_diagnose.engine.rulebase.failure_classes import AREAS, FAILURE_CLASSES
from mlx_diagnose.engine.rulebase.places import Scope
from mlx_diagnose.engine.rulebase.predicates import bad_constant, bad_range
from mlx_diagnose.engine.rulebase.problems import Problem, did_you_mean, one_of
from mlx_diagnose.engine.rulebase.rule import (
    FIX_KINDS,
    MANUAL_FIX_KINDS,
    MATURITIES,
    PATCH_OPERATIONS,
    SUBJECT_KINDS,
    AppliesTo,
    DeriveTemplate,
    ExplainsTemplate,
    FindingTemplate,
    FixTemplate,
    Maturity,
    PatchTemplate,
    Rule,
    SubjectTemplate,
)
from mlx_diagnose.engine.rulebase.template import Template
from mlx_diagnose.engine.rulebase.variables import refused
from mlx_diagnose.engine.rulebase.when import WhenReader
from mlx_diagnose.engine.rulebase.yaml_tree import Node, Tree, resolve
from mlx_diagnose.engine.vocabulary import VOCABULARY

CATEGORIES = ("tts", "stt", "sts", "vad", "lid", "codec", "music")
RULE_KEYS = (
    "id",
    "title",
    "failure_class",
    "severity",
    "maturity",
    "since",
    "applies_to",
    "when",
    "finding",
    "derive",
    "explains",
    "references",
    "valid",
    "invalid",
    "notes",
    "disabled",
)
FINDING_KEYS = ("stage", "confidence", "cause", "title", "subjects", "one_for", "fixes")
FIX_KEYS = (
    *("kind", "title", "patch", "weight_map_for", "shim", "environment", "copies_for"),
    *("command", "files", "manual", "reason"),
)
PATCH_KEYS = ("op", "key", "from", "pointer", "from_pointer", "json", "text", "value")

RULE_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
DEFAULT_CONFIDENCE = 0.8
#: The kind of fix that these keys belong to.
_KINDS_OF = {
    "weight_map_for": "weight-map",
    "shim": "loader-shim",
    "environment": "environment",
    "copies_for": "companion",
}


def read_rule(text: str, file: str, stem: str, *, with_cases: bool = True) -> tuple[Rule | str | None, list[Problem]]:
    """The rule in ``text``, or the id that a ``disabled: true`` file disables, or None; and all problems.

    ``stem`` is the file's name without suffix, which the id must equal. Without cases, which
    are about half of a file, reading is twice as fast; they are then neither read nor missed.
    """
    tree = Tree(file, text if with_cases else without_cases(text))
    if tree.root is None:
        return None, tree.problems
    found = _RuleReader(tree, stem, with_cases).read(tree.root)
    return (None if tree.problems else found), sorted(tree.problems)


_CASES = re.compile(r"^(?:valid|invalid):[ \t]*(?:#.*)?\n(?:(?:[ \t#-].*)?(?:\n|\Z))*", re.MULTILINE)


def without_cases(text: str) -> str:
    """``text`` without its cases; all other lines keep their numbers."""
    return _CASES.sub(lambda cases: "\n" * cases.group().count("\n"), text)


class _RuleReader:
    def __init__(self, tree: Tree, stem: str, with_cases: bool) -> None:
        self._tree = tree
        self._stem = stem
        self._with_cases = with_cases

    def read(self, root: Node) -> Rule | str | None:
        tree = self._tree
        keys = tree.record(root, "a rule", RULE_KEYS, required=("id",))
        if keys is None:
            return None
        identifier = self._id(keys.get("id"))
        if "disabled" in keys and tree.boolean(keys["disabled"], "disabled"):
            return identifier
        derives = "derive" in keys
        needed = ("title", "since", "when", "references", *(() if derives else ("failure_class", "severity")))
        for name in needed:
            if name not in keys:
                tree.problem(root, f"the rule lacks the key {name!r}")
        if derives == ("finding" in keys):
            tree.problem(
                root,
                "a rule has either 'finding' or 'derive'" + (", not both" if derives else ", and this one has neither"),
            )
        alternatives = WhenReader(tree).read(keys["when"]) if "when" in keys else ()
        scope = Scope(tree, alternatives)
        finding = self._finding(keys["finding"], scope) if "finding" in keys else None
        derive = self._derive(keys["derive"], scope) if derives else None
        if derives and "explains" in keys:
            tree.problem(keys["explains"], "a rule that derives a fact explains no finding")
        explains = self._explains(keys["explains"], scope) if "explains" in keys else ()
        references = tuple(tree.texts(keys["references"], "references")) if "references" in keys else ()
        if "references" in keys and not references:
            tree.problem(
                keys["references"],
                "references is empty",
                "Name at least one issue, commit, file or page that the knowledge comes from.",
            )
        valid = read_cases(tree, keys.get("valid"), fires=False, derives=derives)
        invalid = read_cases(tree, keys.get("invalid"), fires=True, derives=derives)
        for name, cases in (("valid", valid), ("invalid", invalid)):
            if self._with_cases and not cases and not (name in keys and tree.problems):
                tree.problem(keys.get(name, root), f"the rule has no {name} case", _CASE_HINTS[name])
        return Rule(
            id=identifier or self._stem,
            title=self._text(keys, "title") or "",
            failure_class=self._choice(keys, "failure_class", FAILURE_CLASSES),
            severity=cast(Severity, self._choice(keys, "severity", SEVERITIES) or "info"),
            maturity=cast(Maturity, self._choice(keys, "maturity", MATURITIES) or "stable"),
            since=self._text(keys, "since") or "",
            applies_to=self._applies_to(keys["applies_to"]) if "applies_to" in keys else AppliesTo(),
            alternatives=alternatives,
            finding=finding,
            derive=derive,
            explains=explains,
            references=references,
            valid=valid,
            invalid=invalid,
            file=tree.file,
            notes=self._text(keys, "notes"),
        )

    # -- the head ---------------------------------------------------------------------------

    def _id(self, node: Node | None) -> str | None:
        value = self._tree.text(node, "id") if node is not None else None
        if node is None or value is None:
            return None
        if not RULE_ID.fullmatch(value):
            self._tree.problem(node, f"id {value!r} is not of the form lower-case-words-with-dashes")
        elif value != self._stem:
            self._tree.problem(
                node,
                f"id {value!r} is not the file's name ({self._stem!r})",
                f"Name the file {value}.yaml, or change the id.",
            )
        return value

    def _text(self, keys: dict[str, Node], name: str) -> str | None:
        return self._tree.text(keys[name], name) if name in keys else None

    def _choice(self, keys: dict[str, Node], name: str, allowed: tuple[str, ...]) -> str | None:
        return self._tree.choice(keys[name], name, allowed) if name in keys else None

    def _applies_to(self, node: Node) -> AppliesTo:
        tree = self._tree
        keys = tree.record(node, "applies_to", ("categories", "families", "mlx_audio")) or {}
        categories: tuple[str, ...] = ()
        if "categories" in keys:
            categories = tuple(tree.texts(keys["categories"], "categories"))
            for name in categories:
                if name not in (*CATEGORIES, "*"):
                    tree.problem(
                        keys["categories"],
                        f"there is no category {name!r}",
                        did_you_mean(name, CATEGORIES) or one_of(CATEGORIES),
                    )
        families = tuple(tree.texts(keys["families"], "families")) if "families" in keys else ("*",)
        version = tree.text(keys["mlx_audio"], "mlx_audio") if "mlx_audio" in keys else None
        if version and (reason := bad_range(version)):
            tree.problem(keys["mlx_audio"], f"mlx_audio: {reason}")
        return AppliesTo(() if "*" in categories else categories, families, version)

    def _explains(self, node: Node, scope: Scope) -> tuple[ExplainsTemplate, ...]:
        tree = self._tree
        found: list[ExplainsTemplate] = []
        for item in tree.items(node, "explains") or []:
            keys = tree.record(item, "an item of explains", ("failure_class", "subject"), required=("failure_class",))
            if keys is None or "failure_class" not in keys:
                continue
            allowed = (*FAILURE_CLASSES, *(f"{area}/*" for area in AREAS), "*")
            failure_class = tree.choice(keys["failure_class"], "failure_class", allowed)
            subject = scope.subject(keys["subject"], "subject") if "subject" in keys else None
            if failure_class:
                found.append(ExplainsTemplate(failure_class, subject))
        return tuple(found)

    # -- conclusions ------------------------------------------------------------------------

    def _finding(self, node: Node, scope: Scope) -> FindingTemplate | None:
        tree = self._tree
        keys = tree.record(node, "finding", FINDING_KEYS, required=("cause",))
        if keys is None:
            return None
        confidence: float = DEFAULT_CONFIDENCE
        if "confidence" in keys:
            number = tree.number(keys["confidence"], "confidence")
            if number is not None and not 0 <= number <= 1:
                tree.problem(keys["confidence"], "confidence must lie between 0 and 1")
            confidence = float(number) if number is not None else confidence
        stage = scope.text(keys["stage"], "stage") if "stage" in keys else None
        if stage and not stage.places and stage.source not in STAGES:
            tree.problem(
                keys["stage"],
                f"there is no stage {stage.source!r}",
                did_you_mean(stage.source, STAGES) or one_of(STAGES),
            )
        one_for: tuple[Template, ...] | None = None
        if "one_for" in keys:
            texts = (
                [keys["one_for"]] if keys["one_for"].id == "scalar" else tree.items(keys["one_for"], "one_for") or []
            )
            one_for = tuple(parsed for item in texts if (parsed := scope.text(item, "an item of one_for")))
        cause = scope.text(keys["cause"], "cause", merged=True) if "cause" in keys else None
        return FindingTemplate(
            cause=cause or Template("", ()),
            title=scope.text(keys["title"], "title", merged=True) if "title" in keys else None,
            stage=stage,
            confidence=confidence,
            subjects=self._subjects(keys["subjects"], scope) if "subjects" in keys else (),
            one_for=one_for,
            fixes=tuple(
                fix
                for item in (tree.items(keys["fixes"], "fixes") or [] if "fixes" in keys else [])
                if (fix := self._fix(item, scope))
            ),
        )

    def _subjects(self, node: Node, scope: Scope) -> tuple[SubjectTemplate, ...]:
        tree = self._tree
        found: list[SubjectTemplate] = []
        for item in tree.items(node, "subjects") or []:
            keys = tree.record(item, "a subject", ("kind", "name"), required=("kind", "name"))
            if keys and "kind" in keys and "name" in keys:
                kind = tree.choice(keys["kind"], "kind", SUBJECT_KINDS)
                name = scope.subject(keys["name"], "name")
                if kind and name:
                    found.append(SubjectTemplate(kind, name))
        return tuple(found)

    def _fix(self, node: Node, scope: Scope) -> FixTemplate | None:
        tree = self._tree
        keys = tree.record(node, "a fix", FIX_KEYS, required=("kind", "title"))
        if keys is None or "kind" not in keys or "title" not in keys:
            return None
        kind = tree.choice(keys["kind"], "kind", FIX_KINDS)
        title = scope.text(keys["title"], "title", merged=True)
        manual = tree.boolean(keys["manual"], "manual") if "manual" in keys else False
        patch: tuple[PatchTemplate, ...] = ()
        if "patch" in keys:
            items = tree.items(keys["patch"], "patch") or []
            patch = tuple(operation for item in items if (operation := self._patch(item, scope)))
            if kind not in ("config-patch", "quantization", None):
                tree.problem(
                    keys["patch"], f"a fix of kind {kind!r} takes no patch of config.json", "Use kind: config-patch."
                )
        elif kind == "config-patch" and not manual:
            tree.problem(node, "a fix of kind 'config-patch' needs a patch", "Give patch, or manual: true.")
        for name in _KINDS_OF:
            self._only_of(keys, name, kind)
        if kind is None or title is None:
            return None
        return FixTemplate(
            kind=kind,
            title=title,
            patch=patch,
            command=scope.text(keys["command"], "command", merged=True) if "command" in keys else None,
            files=tuple(
                parsed
                for item in (tree.items(keys["files"], "files") or [] if "files" in keys else [])
                if (parsed := scope.text(item, "an item of files"))
            ),
            manual=bool(manual) or (kind in MANUAL_FIX_KINDS and "copies_for" not in keys),
            reason=scope.text(keys["reason"], "reason", merged=True) if "reason" in keys else None,
            weight_map_for=scope.subject(keys["weight_map_for"], "weight_map_for")
            if "weight_map_for" in keys
            else None,
            shim=self._shim(keys["shim"]) if "shim" in keys else None,
            environment=self._environment(keys["environment"], scope) if "environment" in keys else (),
            copies_for=scope.subject(keys["copies_for"], "copies_for") if "copies_for" in keys else None,
        )

    def _only_of(self, keys: dict[str, Node], name: str, kind: str | None) -> None:
        """``name`` belongs to fixes of ``name``'s own kind."""
        if name in keys and kind not in (_KINDS_OF[name], None):
            self._tree.problem(keys[name], f"a fix of kind {kind!r} takes no {name}", f"Use kind: {_KINDS_OF[name]}.")

    def _shim(self, node: Node) -> str | None:
        from mlx_diagnose.adapters.shims import names

        name = self._tree.text(node, "shim")
        if name is not None and name not in names():
            self._tree.problem(
                node, f"there is no loader shim {name!r}", did_you_mean(name, names()) or one_of(names())
            )
        return name

    def _environment(self, node: Node, scope: Scope) -> tuple[tuple[str, Template], ...]:
        found: list[tuple[str, Template]] = []
        for name, (key, value) in (self._tree.mapping(node, "environment") or {}).items():
            why = refused(name)
            if why is not None:
                self._tree.problem(key, why)
            text = scope.text(value, f"environment.{name}")
            if text is not None:
                found.append((name, text))
        return tuple(found)

    def _patch(self, node: Node, scope: Scope) -> PatchTemplate | None:
        tree = self._tree
        keys = tree.record(node, "a patch operation", PATCH_KEYS, required=("op",))
        if keys is None or "op" not in keys:
            return None
        op = tree.choice(keys["op"], "op", PATCH_OPERATIONS)
        pointers = "pointer" in keys or "from_pointer" in keys
        if pointers and ("key" in keys or "from" in keys):
            tree.problem(
                node, "key and from are dotted paths, pointer and from_pointer are JSON pointers; they do not mix"
            )
            return None
        key_name, source_name = ("pointer", "from_pointer") if pointers else ("key", "from")
        if key_name not in keys:
            tree.problem(node, f"a patch operation lacks the key {key_name!r}")
            return None
        moves = op in ("move", "copy")
        if op and moves != (source_name in keys):
            tree.problem(node, f"{op} needs {source_name!r}" if moves else f"{op} takes no {source_name!r}")
        values = [name for name in ("json", "text", "value") if name in keys]
        wanted = 1 if op in ("add", "replace", "test") else 0
        if op and len(values) != wanted:
            tree.problem(node, f"{op} needs exactly one of json, text, value" if wanted else f"{op} takes no value")
        key = scope.text(keys[key_name], key_name)
        source = scope.text(keys[source_name], source_name) if source_name in keys else None
        if op is None or key is None:
            return None
        return PatchTemplate(
            op=op,
            key=key,
            source=source,
            pointers=pointers,
            json=scope.text(keys["json"], "json") if "json" in keys else None,
            text=scope.text(keys["text"], "text") if "text" in keys else None,
            value=(_plain(keys["value"]),) if "value" in keys else None,
        )

    def _derive(self, node: Node, scope: Scope) -> DeriveTemplate | None:
        tree = self._tree
        keys = tree.record(node, "derive", ("fact", "fields"), required=("fact",))
        kind = tree.text(keys["fact"], "fact") if keys and "fact" in keys else None
        if keys is None or kind is None:
            return None
        if kind not in VOCABULARY:
            tree.problem(keys["fact"], f"there is no kind of fact {kind!r}", did_you_mean(kind, VOCABULARY))
            return None
        if kind == "finding":
            tree.problem(keys["fact"], "a finding is concluded with 'finding', not derived")
            return None
        declared = VOCABULARY[kind].fields
        fields: list[tuple[str, Template | Scalar]] = []
        given = tree.mapping(keys["fields"], "fields") if "fields" in keys else {}
        for name, (key, value) in (given or {}).items():
            field = declared.get(name)
            if field is None:
                tree.problem(key, f"{kind} has no field {name!r}", did_you_mean(name, declared) or one_of(declared))
                continue
            content = scope.content(value, f"{kind}.{name}", field)
            if content is not None:
                if not isinstance(content[0], Template) and (reason := bad_constant(content[0], field)):
                    tree.problem(value, f"{kind}.{name}: {reason}")
                fields.append((name, content[0]))
        return DeriveTemplate(kind, tuple(fields))


_CASE_HINTS = {
    "valid": "Add one on which it must stay silent: a near miss.",
    "invalid": "Add one on which it must fire, with the finding it must give.",
}


def _plain(node: Node) -> object:
    """The node as plain data."""
    if node.id == "mapping":
        return {key.value: _plain(value) for key, value in node.value}
    if node.id == "sequence":
        return [_plain(item) for item in node.value]
    return resolve(node)
