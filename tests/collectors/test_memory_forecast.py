"""The memory forecast: against what MLX says of real arrays, and against recorded machines."""

from __future__ import annotations

from typing import Any

import pytest

from mlx_diagnose.collectors import environment, memory_forecast
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.memory_forecast import quantized_bytes
from mlx_diagnose.collectors.probes import memory_use
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Fact

#: As ``mx.device_info()`` of a MacBook Air (M2, 16 GB) tells.
_M2 = {"name": "Apple M2", "memory": 17179869184, "working_set": 11453251584, "buffer": 9534832640}
_MAC = {"python": "3.12.1", "system": "Darwin", "machine": "arm64", "os_version": "15.1", "path": []}
_GB = 1 << 30


def _forecast(monkeypatch: pytest.MonkeyPatch, gigabytes: float, run: LoadRun | None = None, **config: Any) -> Fact:
    # The machine's memory is a fact of where the test runs; that of the recorded machine stands in.
    monkeypatch.setattr(environment, "_physical_memory", lambda: _M2["memory"])
    memory = WorkingMemory()
    environment.collect(memory, hello=_MAC, backend={"importable": True, "device": "Device(gpu, 0)", "info": _M2})
    rows = int(gigabytes * _GB / 2 / 1024)
    table = {"embed.weight": TensorInfo("bfloat16", (rows, 1024)), "norm.weight": TensorInfo("bfloat16", (1024,))}
    memory_forecast.collect(memory, table, run or LoadRun(), config)
    fact = memory.one("memory_forecast")
    assert fact is not None
    return fact


def test_against_a_recorded_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    small = _forecast(monkeypatch, 4)
    assert (small["basis"], small["share_of_memory"], small["share_of_working_set"]) == ("headers", 0.25, 0.375)
    assert (small["weights"], small["memory"], small["base_bytes"]) == ("4.3 GB", "17.2 GB", 0)
    assert _forecast(monkeypatch, 12)["share_of_working_set"] == pytest.approx(1.125, abs=0.001)
    large = _forecast(monkeypatch, 20)
    assert large["share_of_memory"] == 1.25 and large["share_of_buffer"] == pytest.approx(2.252, abs=0.001)


def test_a_lazy_load_tells_what_is_taken_before_and_what_sanitize_made(monkeypatch: pytest.MonkeyPatch) -> None:
    run = LoadRun().take(
        [
            {"m": "stage", "name": "load", "status": "passed", "peak_memory": 300_000_000},
            {"m": "given", "count": 2, "bytes": 8 * _GB},
            {"m": "outcome", "loads": True, "stage": None, "active": _GB},
        ]
    )
    fact = _forecast(monkeypatch, 4, run)
    assert (fact["basis"], fact["given_bytes"], fact["peak_bytes"]) == ("lazy load", 8 * _GB, 8 * _GB + 300_000_000)
    assert fact["share_of_working_set"] == round(9 * _GB / _M2["working_set"], 3)


def test_the_setting_of_the_config_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    four = _forecast(monkeypatch, 4)["quantized_bytes"]
    eight = _forecast(monkeypatch, 4, quantization={"bits": 8, "group_size": 64})["quantized_bytes"]
    odd = _forecast(monkeypatch, 4, quantization={"bits": "8", "group_size": 0})["quantized_bytes"]
    assert isinstance(four, int) and isinstance(eight, int) and odd == four < eight < 2 * four


@pytest.mark.parametrize(("bits", "group"), [(4, 64), (8, 32), (2, 128)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_size_of_a_quantised_layer_is_what_mlx_makes_of_it(bits: int, group: int, dtype: str) -> None:
    mx = pytest.importorskip("mlx.core")
    nn = pytest.importorskip("mlx.nn")
    layer = nn.Linear(256, 96, bias=False)
    layer.weight = layer.weight.astype(getattr(mx, dtype))
    real = nn.QuantizedLinear.from_linear(layer, group, bits)
    size = memory_use.size_of((name, array) for name, array in real.parameters().items())
    assert quantized_bytes("a.weight", TensorInfo(dtype, (96, 256)), bits, group) == size


@pytest.mark.parametrize("shape", [(96,), (4, 4, 64), (96, 100)])
def test_what_is_not_quantised_keeps_its_size(shape: tuple[int, ...]) -> None:
    tensor = TensorInfo("float16", shape)
    assert quantized_bytes("a.weight", tensor, 4, 64) == tensor.elements * 2
    assert quantized_bytes("a.weight_v", TensorInfo("float16", (96, 64)), 4, 64) == 96 * 64 * 2


def test_mlx_tells_what_it_uses() -> None:
    mx = pytest.importorskip("mlx.core")
    before = memory_use.active()
    array = mx.zeros((1 << 20,))
    mx.eval(array)
    after = memory_use.active()
    assert before is not None and after is not None and after - before >= array.nbytes
    assert set(memory_use.device()) <= {"name", "memory", "working_set", "buffer"}
