"""A rule text that is right, and ways to change it."""

from __future__ import annotations

GOOD = """\
id: good
title: A key is missing
failure_class: config/missing-key
severity: error
maturity: stable
since: "0.1"
applies_to: {categories: [tts], families: ["*"], mlx_audio: ">=0.2"}
when:
  - fact: missing_argument
    as: arg
    where:
      stage: construct
      path: $path
      name: {matches: "^[a-z_]+$", as: $name}
  - not:
      fact: key_similarity
      where: {wanted: $path, best: true}
finding:
  stage: construct
  confidence: 0.9
  cause: "{arg.class_name} needs {subjects}."
  subjects: [{kind: config_key, name: "{path}"}]
  one_for: ["{arg.class_name}"]
  fixes:
    - kind: config-patch
      title: "Add {path}"
      patch: [{op: add, key: "{path}", json: "0"}]
explains: [{failure_class: weights/*, subject: "{path}"}]
references: ["mlx_audio/utils.py"]
valid:
  - name: another key fits
    facts:
      - missing_argument: {stage: construct, path: a, name: a, class_name: C}
      - key_similarity: {best: true, wanted: a}
invalid:
  - name: nothing fits
    facts:
      - missing_argument: {stage: construct, path: a, name: a, class_name: C}
    expect: {findings: 1, subjects: [a], cause_contains: C needs a, fixes: 1, stage: construct}
"""


def edited(old: str, new: str, text: str = GOOD) -> str:
    """``text`` with its one ``old`` replaced."""
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the rule"
    return text.replace(old, new)
