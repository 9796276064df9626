"""A new rule file to start from: it loads, and its cases pass, before anything is changed."""

from __future__ import annotations

from pathlib import Path

from mlx_diagnose import __version__

_SKELETON = """\
# yaml-language-server: $schema={schema}
# A rule looks at facts and concludes a finding. Change the lines marked (1) to (4), then run
#   diagnose rules test {id}.yaml
# Kinds of facts and their fields: diagnose rules docs
id: {id}
title: config.json lacks a key that the model needs          # (1) what is wrong, in general
failure_class: {failure_class}
severity: error                     # error: it does not load; warning: it loads and may not work; info
maturity: sandbox                   # sandbox, then stable
since: "{version}"
when:                               # (2) the facts that must be there
  - fact: missing_argument          #     a kind of fact
    as: arg                         #     a name for it, for the texts below
    where:
      stage: construct              #     a field equals a constant
      path: $path                   #     a field's value gets a name; the same name elsewhere means: equal
  - not:                            #     and a fact that must not be there
      fact: key_similarity
      where: {{wanted: $path, best: true}}
finding:                            # (3) what to tell
  stage: construct
  confidence: 0.9
  cause: "{{arg.class_name}} needs {{path}}, which config.json does not give."
  subjects: [{{kind: config_key, name: "{{path}}"}}]
references: ["where this knowledge comes from: an issue, a commit, a file"]
invalid:                            # (4) it must fire on these facts ...
  - name: nothing fits
    facts:
      - missing_argument: {{stage: construct, path: hidden_size, class_name: ModelConfig}}
    expect: {{findings: 1, subjects: [hidden_size], cause_contains: ModelConfig}}
valid:                              #     ... and stay silent on these, a near miss
  - name: another key fits
    facts:
      - missing_argument: {{stage: construct, path: hidden_size, class_name: ModelConfig}}
      - key_similarity: {{given: hidden, wanted: hidden_size, best: true}}
"""

#: Where an editor finds the schema of rule files, relative to a rule in a checkout.
SCHEMA_IN_CHECKOUT = "../knowledge_base/schemas/rule.schema.json"


def skeleton(identifier: str, failure_class: str, schema: str = SCHEMA_IN_CHECKOUT) -> str:
    """The text of a new rule file."""
    version = ".".join(__version__.split(".")[:2])
    return _SKELETON.format(id=identifier, failure_class=failure_class, version=version, schema=schema)


def schema_for(target: Path) -> str:
    """What the first line of a rule at ``target`` names as its schema: a relative path, or that of the package."""
    if (target.parent / SCHEMA_IN_CHECKOUT).is_file():
        return SCHEMA_IN_CHECKOUT
    from mlx_diagnose import knowledge_base

    return str(Path(next(iter(knowledge_base.__path__))).resolve() / "schemas" / "rule.schema.json")
