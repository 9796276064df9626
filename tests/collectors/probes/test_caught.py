"""Exceptions that the model's code caught; asking a sequence for what it lacks is no failure."""

from __future__ import annotations

import types
from typing import Any

from mlx_diagnose.collectors.probes.caught import CaughtExceptions

_SOURCE = """
def ask(parts):
    for question in (
        lambda: parts.index("hub"),
        lambda: list(parts).index("hub"),
        lambda: list(parts).remove("hub"),
        lambda: "".join(parts).index("hub"),
    ):
        try:
            question()
        except (ValueError, IndexError):
            pass

def fail(parts):
    try:
        raise ValueError("tokenizer is not in the directory")
    except ValueError:
        return None
"""


def met(name: str) -> list[str]:
    module: Any = types.ModuleType("mlx_audio.tts.models.made_up")
    exec(compile(_SOURCE, "/packages/mlx_audio/tts/models/made_up.py", "exec", dont_inherit=True), vars(module))
    watch = CaughtExceptions(lambda: "post_load")
    watch.start()
    try:
        getattr(module, name)(("a", "b"))
    finally:
        found = watch.stop()
    return [str(one["message"]) for one in found]


def test_what_a_sequence_lacks_is_no_failure() -> None:
    assert met("ask") == []


def test_what_was_raised_and_caught_is_told() -> None:
    assert met("fail") == ["tokenizer is not in the directory"]
