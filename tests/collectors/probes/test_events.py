"""Which calls and exceptions are told, as this interpreter tells of them."""

from __future__ import annotations

import threading
import types
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from mlx_diagnose.collectors.probes.arguments import Arguments
from mlx_diagnose.collectors.probes.calls import CallTree
from mlx_diagnose.collectors.probes.events import Events, Listener

_SOURCE = """
class Layer:
    def __init__(self, width):
        self.width = width

class Model:
    def __init__(self):
        self.first, self.second = Layer(1), Layer(2)
        self.third = Layer(3)
        self.more = [Layer(4), Layer(5)]

def helper():
    try:
        raise ValueError("met")
    except ValueError:
        return Layer(6)
"""


@pytest.fixture
def family() -> Any:
    """The source above as a module of mlx-audio."""
    module = types.ModuleType("mlx_audio.tts.models.made_up")
    exec(compile(_SOURCE, "/packages/mlx_audio/tts/models/made_up.py", "exec", dont_inherit=True), vars(module))
    return module


class Calls(Listener):
    """Notes when initialisers begin and end."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def may_want(self, code: Any) -> bool:
        return bool(code.co_name == "__init__" and "made_up" in code.co_filename)

    def wants(self, frame: Any) -> bool:
        return True

    def entered(self, frame: Any, code: Any) -> None:
        self.told.append(("entered", type(frame.f_locals["self"]).__name__))

    def left(self, frame: Any, raised: bool) -> None:
        self.told.append(("left", frame.f_code.co_name))

    def returned(self, code: Any) -> None:
        self.told.append(("left", code.co_name))


@pytest.fixture
def events() -> Iterator[Events]:
    watched = Events(met.append)
    met.clear()
    yield watched
    watched.stop()


met: list[Any] = []


def test_calls_are_told_when_they_begin_and_end(events: Events, family: Any) -> None:
    calls = Calls()
    events.start(calls)
    family.helper()
    events.stop()
    assert calls.told == [("entered", "Layer"), ("left", "__init__")]
    assert [str(error) for error in met] == ["met"]
    family.helper()
    assert len(calls.told) == 2, "told after the end"


def test_calls_of_another_thread_are_not_told_and_hide_none_of_this_one(events: Events, family: Any) -> None:
    calls = Calls()
    events.start(calls)
    other = threading.Thread(target=family.Layer, args=(1,))
    other.start()
    other.join()
    assert calls.told == []
    family.Layer(1)
    assert calls.told == [("entered", "Layer"), ("left", "__init__")]


def test_calls_of_one_line_are_one_node_wherever_they_stand_in_it(events: Events, family: Any) -> None:
    tree = CallTree(lambda: "construct", Arguments())
    events.start(tree)
    family.Model()
    events.stop()
    assert events.failure is None
    nodes = [(call["name"].rpartition(".")[0], call["calls"], call["place"]) for call in tree.report()["calls"]]
    assert [(name.rpartition(".")[2], calls) for name, calls, _ in nodes] == [
        ("Model", 1),
        ("Layer", 2),
        ("Layer", 1),
        ("Layer", 2),
    ]
    assert [place for *_, place in nodes] == [None, "first and 1 other names", "third", "more.{0..1}"]


def test_a_watch_begins_anew_with_all_functions(events: Events, family: Any) -> None:
    calls = Calls()
    events.start(None)
    family.helper()
    events.stop()
    events.start(calls)
    family.helper()
    assert calls.told == [("entered", "Layer"), ("left", "__init__")]
    assert [str(error) for error in met] == ["met", "met"]


def test_a_model_that_was_let_go_is_not_kept_by_the_watch_of_the_next(events: Events, family: Any) -> None:
    earlier = family.Model()
    earlier.itself = earlier
    alive = weakref.ref(earlier)
    del earlier
    events.start(Calls())
    assert alive() is None
