"""Prints the error of the memory forecast: ``python tests/benchmarks/memory.py [FAMILY ...]``.

For each whole full-size specimen: what ``diagnose`` forecasts, and the peak of a fresh process that
loads it with mlx-audio and computes every array. The second pair is the same, quantised to 4
bits while loading. The largest of the default families take 2 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.processes import Case, healthy

FAMILIES = ("kitten_tts", "kokoro", "melotts", "soprano", "irodori_tts", "chatterbox", "voxcpm", "vibevoice")

#: Loads and computes in a fresh process and prints the peak of resident bytes.
_MEASURE = """
import resource, sys
import mlx.core as mx, mlx.nn as nn
from mlx_audio.tts.utils import load_model
model = load_model(sys.argv[1], lazy=True, strict=True)
if sys.argv[2] == "quantise":
    fits = lambda _, module: hasattr(module, "to_quantized") and module.weight.shape[-1] % 64 == 0
    nn.quantize(model, group_size=64, bits=4, class_predicate=fits)
mx.eval(model.parameters())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def forecast(case: Case) -> Mapping[str, Any]:
    """The forecast that a diagnosis of ``case`` makes."""
    done = subprocess.run(case.diagnose, env=dict(case.environment), capture_output=True, text=True, check=False)
    facts = json.loads(done.stdout)["facts"]
    found: Mapping[str, Any] = next(fact for fact in facts if fact["kind"] == "memory_forecast")
    return found


def measured(case: Case, how: str) -> int | None:
    """Peak of resident bytes of a process that loads and computes; None where it fails."""
    command = [sys.executable, "-c", _MEASURE, str(case.specimen.path), how]
    done = subprocess.run(command, env=dict(case.environment), capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1]) if done.returncode == 0 else None


def compared(expected: int | None, found: int | None) -> str:
    if expected is None or found is None:
        return "- | - | -"
    return f"{expected / 1e6:.0f} MB | {found / 1e6:.0f} MB | {expected / found - 1:+.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Forecast and measured memory, as a table of Markdown")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"default: {' '.join(FAMILIES)}")
    families = parser.parse_args().families or FAMILIES
    print("| | forecast | measured | error | quantising: forecast | measured | error |")
    print("|---|---|---|---|---|---|---|")
    for family in families:
        with tempfile.TemporaryDirectory() as directory:
            case = healthy(family, Path(directory))
            told = forecast(case)
            plain = compared(told["peak_bytes"], measured(case, "plain"))
            quantised = compared(told["quantizing_peak_bytes"], measured(case, "quantise"))
            print(f"| {case.specimen.path.name} | {plain} | {quantised} |", flush=True)


if __name__ == "__main__":
    main()
