"""Regular expressions of rules: usual ones are taken, those that could hang are refused."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

from mlx_diagnose.engine.rulebase.regex import refusal


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[a-z_]+$",
        r"No module named '([^']+)'",
        r"cannot import name '(\w+)' from '([\w.]+)'",
        r"requires .* but .* is installed",
        r"(?i)out of memory|oom",
        r"^(?!model_type$|quantization)",
        r"\d+(\.\d+)?",
        r"^.*foo.*bar",
        r"(foo|bar)(baz|qux)?",
        r"[a-z]{2,40}-[0-9]{1,5}",
        r"\bCUDA\b",
        r"(?P<name>x)",
        r"(ab)*c",
        r".*",
        "",
    ],
)
def test_usual_patterns_are_taken(pattern):
    assert refusal(pattern) is None


HANGING = [
    r"(a+)+$",
    r"(a*)*$",
    r"(a|a)*$",
    r"(a|ab)*$",
    r"(aa|aa)*$",
    r"(\w+\s?)*$",
    r"((a{0,9}){0,9}){0,9}$",
    r"(a?){30}a{30}",
    "a?" * 30 + "a" * 30,
    "(a|a)" * 20 + "b",
    r".*.*.*.*x",
    r"a*a*a*a*b",
    r"(.*)a(.*)b(.*)c",
    r"\w*\w*\w*!",
    r"(?=(a+)+$)x",
    r"(a)\1",
    r"(a)?(?(1)b|c)",
    r"(?i)(A+)+$",
    r"(?:[ab]+c?)+d",
]


@pytest.mark.parametrize("pattern", HANGING)
def test_what_could_hang_is_refused(pattern):
    assert refusal(pattern) is not None


@pytest.mark.parametrize("pattern", ["[", "(", "*", "(?P<n>a)(?P<n>b)", "a{99999999999999}", "(" * 200 + ")" * 199])
def test_what_is_no_pattern_is_refused(pattern):
    assert "not a valid regular expression" in (refusal(pattern) or "")


def test_a_long_pattern_is_refused():
    assert "longer than" in (refusal("a" * 501) or "")


ATOMS = ["a", "b", "[ab]", "[^a]", ".", r"\w", "(a|b)", "(ab|a)", "(a)", "^", "$"]
SUFFIXES = ["", "", "", "*", "+", "?", "{0,3}", "{2}", "{0,40}", "*?"]


def test_no_pattern_that_is_taken_takes_for_ever():
    """Random patterns over the worst texts of the greatest length, in a process that can be ended."""
    script = f"""
import itertools, random, re
from mlx_diagnose.engine.rulebase.regex import refusal
random.seed(7)
atoms, suffixes = {ATOMS!r}, {SUFFIXES!r}
texts = ["a" * 1999 + "!", "ab" * 999 + "!", "b" * 1000 + "a" * 999]
taken = 0
while taken < 60:
    pattern = "".join(random.choice(atoms) + random.choice(suffixes) for _ in range(random.randint(1, 6)))
    if random.random() < 0.4:
        pattern = "(" + pattern + ")" + random.choice(suffixes) + random.choice(atoms)
    try:
        if refusal(pattern) is not None:
            continue
    except Exception:
        print("raised on", pattern)
        raise
    taken += 1
    compiled = re.compile(pattern)
    for text in texts:
        compiled.search(text[:700])
print("done")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr


def test_the_cost_of_the_worst_that_is_taken_grows_with_the_third_power_at_most():
    pattern = re.compile(r".*a.*c")
    assert refusal(pattern.pattern) is None

    def seconds(length: int) -> float:
        started = time.process_time()
        pattern.search("a" * length)
        return time.process_time() - started

    short, long = min(seconds(200) for _ in range(3)), min(seconds(400) for _ in range(3))
    assert long < short * 8 * 3  # doubling the text: eight times, with room for noise
