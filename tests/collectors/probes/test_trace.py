"""What a trace sees of code that lies in mlx-audio's folders: calls, origins, exceptions caught, files missed."""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.probes.caught import CaughtExceptions
from mlx_diagnose.collectors.probes.trace import Trace

_SOURCE = """
import dataclasses, os

@dataclasses.dataclass
class PartConfig:
    width: int = 8
    depth: int = 2
    name: str = "part"

@dataclasses.dataclass
class ModelConfig:
    hidden: int
    heads: int
    part: PartConfig
    rate: float = 0.5

    @classmethod
    def from_dict(cls, params):
        params = dict(params)
        params["part"] = PartConfig(**params["part"])
        return cls(**params)

class Layer:
    def __init__(self, width, bias=True):
        if width == 13:
            raise ValueError("thirteen")

class Model:
    def __init__(self, config):
        self.layers = [Layer(config.hidden) for _ in range(config.part.depth)]
        try:
            self.load_extra("/nowhere/extra.json")
        except OSError:
            self.extra = None
        try:
            Layer(13, bias=False)
        except ValueError:
            pass

    def load_extra(self, path):
        if not os.path.exists(path + ".bak"):
            open(path)
"""


class Loaded:
    """A traced load of the source above, compiled as a family of mlx-audio."""

    def __init__(self, config: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = str(folder / "mlx_audio" / "tts" / "models" / "made_up.py")
        module = types.ModuleType("mlx_audio.tts.models.made_up")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        self.names = vars(module)
        exec(compile(_SOURCE, file, "exec", dont_inherit=True), self.names)
        trace = Trace(lambda: "construct")
        data = json.loads(config)
        trace.config_read(data)
        caught = CaughtExceptions(lambda: "construct")
        trace.start()
        caught.start(trace.calls)
        self.error: BaseException | None = None
        try:
            self.model = self.names["Model"](self.names["ModelConfig"].from_dict(data))
        except BaseException as error:
            self.error = error
        self.caught = caught.stop(self.error)
        self.failure = caught.failure
        self.report = trace.stop()

    def call(self, name: str, **fields: object) -> dict[str, Any]:
        (found,) = [
            call
            for call in self.report["calls"]
            if call["name"] == name and all(call[field] == value for field, value in fields.items())
        ]
        return dict(found)

    def argument(self, call: str, name: str) -> tuple[Any, ...]:
        (found,) = [item for item in self.call(call)["arguments"] if item["name"] == name]
        return found["value"], found["origin"], found["path"], found["certain"]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Loaded]:
    return lambda config: Loaded(config, tmp_path, monkeypatch)


CONFIG = '{"hidden": 1024, "heads": 4, "part": {"width": 300, "depth": 3}}'


def test_calls_from_one_line_are_one_node_with_its_place(load: Callable[[str], Loaded]) -> None:
    loaded = load(CONFIG)
    assert (loaded.error, loaded.failure) == (None, None)
    layers = loaded.call("Layer.__init__", calls=3)
    assert layers["place"] == "layers.{0..2}"
    assert layers["parent"] == loaded.call("Model.__init__")["number"]
    assert loaded.call("ModelConfig.__init__")["parent"] == loaded.call("ModelConfig.from_dict")["number"]


def test_a_value_is_followed_to_its_key(load: Callable[[str], Loaded]) -> None:
    loaded = load(CONFIG)
    assert loaded.argument("ModelConfig.__init__", "hidden") == ("1024", "config", "hidden", True)
    assert loaded.argument("ModelConfig.__init__", "heads") == ("4", "config", "heads", True)
    assert loaded.argument("ModelConfig.__init__", "rate") == ("0.5", "default", None, True)
    assert loaded.argument("PartConfig.__init__", "width") == ("300", "config", "part.width", True)
    assert loaded.argument("PartConfig.__init__", "name") == ("part", "default", None, True)
    assert loaded.argument("Model.__init__", "config") == (None, "section", "", True)
    first = loaded.call("Layer.__init__", calls=3)["arguments"]
    assert [(a["name"], a["origin"], a["path"]) for a in first] == [
        ("width", "config", "hidden"),
        ("bias", "default", None),
    ]


def test_exceptions_that_are_caught_belong_to_the_call_that_met_them(load: Callable[[str], Loaded]) -> None:
    loaded = load(CONFIG)
    assert {(error["type"], error["message"]) for error in loaded.caught} >= {("ValueError", "thirteen")}
    assert loaded.call("Layer.__init__", calls=1)["raised"] == 1
    assert loaded.call("Model.load_extra")["raised"] == 1
    assert loaded.call("Model.__init__")["raised"] == 0
    numbers = {call["number"] for call in loaded.report["calls"]}
    assert {error["call"] for error in loaded.caught} <= numbers


def test_files_that_were_looked_for_in_vain(load: Callable[[str], Loaded]) -> None:
    original = os.stat
    loaded = load(CONFIG)
    assert [entry["path"] for entry in loaded.report["lookups"]] == ["/nowhere/extra.json.bak"]
    assert loaded.report["lookups"][0]["call"] == loaded.call("Model.load_extra")["number"]
    assert os.stat is original


def test_the_call_that_an_exception_leaves_is_marked(load: Callable[[str], Loaded]) -> None:
    loaded = load(CONFIG.replace("1024", "13"))
    assert isinstance(loaded.error, ValueError)
    for name in ("Layer.__init__", "Model.__init__"):
        assert loaded.call(name)["raised"] == 1
    assert loaded.call("ModelConfig.from_dict")["raised"] == 0
    assert loaded.caught == []


def test_a_fault_of_the_listener_does_not_reach_the_load(
    load: Callable[[str], Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlx_diagnose.collectors.probes import calls

    def broken(*_: object) -> None:
        raise RuntimeError("a defect of the tracer")

    monkeypatch.setattr(calls.CallTree, "left", broken)
    loaded = load(CONFIG)
    assert loaded.error is None
    assert loaded.failure == "RuntimeError: a defect of the tracer"


def test_an_object_that_resists_being_looked_at(load: Callable[[str], Loaded]) -> None:
    class Hostile(type):
        def __getattribute__(cls, name: str) -> Any:
            raise RuntimeError(name)

    class Value(metaclass=Hostile):
        pass

    loaded = load(CONFIG)
    trace = Trace(lambda: "construct")
    caught = CaughtExceptions(lambda: "construct")
    caught.start(trace.calls)
    loaded.names["Layer"](Value)
    caught.stop()
    assert trace.stop()["calls"][0]["name"] == "Layer.__init__"


_DERIVED = """
class ModelConfig:
    def __init__(self, sizes, flavour="plain"):
        self.sizes, self.flavour = sizes, flavour

class HeadArgs:
    def __init__(self, width, count, eps=1e-5):
        self.width, self.count, self.eps = width, count, eps

def check(total, parts):
    if total % parts:
        raise ValueError("no")

class Model:
    def __init__(self, config):
        half = config.sizes["width"] // 2
        args = HeadArgs(half, config.sizes["heads"])
        if config.flavour != "plain":
            raise NotImplementedError(config.flavour)
        if config.sizes.get("shape", "flat") == "flat":
            pass
        elif config.sizes.get("shape") == "oval":
            pass
        else:
            raise NotImplementedError("not supported yet")
        check(half, args.count)
"""


@pytest.mark.parametrize(
    ("config", "reached"),
    [
        ({"sizes": {"width": 30, "heads": 4}, "flavour": "plain"}, {"sizes.width": "config", "sizes.heads": "config"}),
        ({"sizes": {"width": 32, "heads": 4}, "flavour": "fancy"}, {"flavour": "config"}),
        ({"sizes": {"width": 32, "heads": 4, "shape": "round"}, "flavour": "plain"}, {"sizes.shape": "config"}),
    ],
)
def test_the_keys_that_reached_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], reached: dict[str, str]
) -> None:
    file = tmp_path / "mlx_audio" / "tts" / "models" / "derived.py"
    file.parent.mkdir(parents=True)
    file.write_text(_DERIVED)
    module = types.ModuleType("mlx_audio.tts.models.derived")
    exec(compile(_DERIVED, str(file), "exec", dont_inherit=True), vars(module))
    trace, caught = Trace(lambda: "construct"), CaughtExceptions(lambda: "construct")
    data = json.loads(json.dumps(config))
    trace.config_read(data)
    caught.start(trace.calls)
    with pytest.raises((ValueError, NotImplementedError)) as error:
        module.Model(module.ModelConfig(**data))
    caught.stop(error.value)
    found = trace.reached_by(error.value)
    assert {value["path"]: value["origin"] for value in found} == reached
    assert all(value["certain"] for value in found)
