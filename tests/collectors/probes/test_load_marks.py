"""The marks on the loader's steps see what it does and change nothing of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.probes.load import Loader
from mlx_diagnose.engine.specimen import write_safetensors

mx = pytest.importorskip("mlx.core")
nn = pytest.importorskip("mlx.nn")


class Channel:
    """Keeps what a probe reports."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.sent.append({"m": kind, **fields})

    def stages(self) -> list[tuple[str, str]]:
        return [(message["name"], message["status"]) for message in self.sent if message["m"] == "stage"]


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    """The channel of a loader whose marks stand on MLX itself, until the test ends."""
    for owner, name in ((mx, "load"), (nn, "quantize"), (nn.Module, "load_weights")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    made = Channel()
    Loader(made, None, "tts")._wrap_mlx()  # type: ignore[arg-type]
    yield made


def test_a_call_that_the_model_does_not_take_still_fails(channel: Channel) -> None:
    # mlx-audio 0.1.0 calls it so; passing the tensors on by position would hide the defect.
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'weights'"):
        model.load_weights(weights=[], strict=False)
    assert "strict" in inspect.signature(model.load_weights).parameters


def test_a_file_given_to_load_weights_is_compared_as_pairs_are(channel: Channel, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"weight": ("F32", (3, 2))})
    nn.Linear(2, 2).load_weights(str(file), strict=False)
    (tables,) = [message for message in channel.sent if message["m"] == "tensors"]
    assert tables["counts"]["missing"] == 1
    assert channel.stages() == [("load", "running"), ("load", "passed")]


def test_marks_inside_another_step_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in ((mx, "load"), (nn, "quantize"), (nn.Module, "load_weights")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    channel = Channel()
    loader = Loader(channel, None, "tts")  # type: ignore[arg-type]
    loader._wrap_mlx()
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"weight": ("F32", (2, 2)), "bias": ("F32", (2,))})
    with loader.clock.step("construct"):
        nn.Linear(2, 2).load_weights(str(file))
    assert channel.stages() == [("construct", "running"), ("construct", "passed")]


class _Part(nn.Module):  # type: ignore[misc]
    """A layer, and a constant that no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.noise = mx.zeros((3,))


class _Whole(nn.Module):  # type: ignore[misc]
    """A family that fills its parts itself and compares nothing, as chatterbox does."""

    def __init__(self) -> None:
        super().__init__()
        self.part = _Part()

    def load_weights(self, weights: list[tuple[str, Any]], strict: bool = True) -> None:
        self.part.load_weights([(name.removeprefix("part."), value) for name, value in weights], strict=False)


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({"part.layer.weight": (2, 2), "part.layer.bias": (2,)}, None),
        ({"part.layer.weight": (2, 2)}, {"missing": 1, "unexpected": 0, "shape": 0, "matched": 1}),
        (
            {"part.layer.weight": (2, 9), "part.layer.bias": (2,), "part.x": (1,)},
            {"missing": 0, "unexpected": 1, "shape": 1, "matched": 1},
        ),
    ],
    ids=["whole", "lacking", "of another shape"],
)
def test_parts_that_are_filled_without_a_comparison_are_compared(
    channel: Channel, given: dict[str, tuple[int, ...]], counts: dict[str, int] | None
) -> None:
    loader = Loader(channel, None, "tts")  # type: ignore[arg-type]
    for owner in (_Whole, nn.Module):
        owner.load_weights = loader._loading(getattr(owner.load_weights, "__wrapped__", owner.load_weights))
    _Whole().load_weights([(name, mx.zeros(shape)) for name, shape in given.items()])
    tables = [message for message in channel.sent if message["m"] == "tensors"]
    assert [message["counts"] for message in tables] == ([] if counts is None else [counts])
    assert all(message["strict"] is False and "part.layer.weight" in message["model"] for message in tables)
