"""What the installed mlx-audio has is read from its files; the choice of a category is mlx-audio's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlx_diagnose.collectors.probes import installed

pytest.importorskip("mlx_audio")

CASES = [
    ({"model_type": "soprano"}, "soprano-80m"),
    ({"model_type": "kokoro"}, "anything"),
    ({"model_type": "whisper"}, "whisper-tiny"),
    ({"model_type": "whisper"}, "kokoro-82m"),
    ({"model_type": "qwen3_asr"}, "qwen3-asr-0.6b"),
    ({"model_type": "nosuch"}, "a-voice"),
    ({"model_type": "vibevoice_streaming"}, "vibevoice-realtime"),
    ({"model_type": "silero"}, "vad-model"),
    ({}, "dia-1.6b"),
]


@pytest.fixture(scope="module")
def directory() -> str:
    found = installed.package_directory()
    assert found is not None
    return found


def test_the_category_is_the_one_that_mlx_audio_itself_would_take(directory: str) -> None:
    script = (
        "import json, sys\n"
        "from mlx_audio.utils import get_model_category, get_model_name_parts\n"
        "for config, name in json.loads(sys.argv[1]):\n"
        "    print(get_model_category(config.get('model_type'), get_model_name_parts(name)))\n"
    )
    import json

    result = subprocess.run(
        [sys.executable, "-c", script, json.dumps(CASES)], capture_output=True, text=True, check=True
    )
    theirs = [line if line != "None" else "tts" for line in result.stdout.split()]
    assert [installed.category_of(directory, config, name) for config, name in CASES] == theirs


def test_families_and_remapping_are_those_of_the_release(directory: str) -> None:
    assert {"kokoro", "soprano"} <= set(installed.families(directory, "tts"))
    assert installed.remapping(directory, "tts")["csm"] == "sesame"
    assert installed.version(directory)


@pytest.mark.parametrize("content", ["MODEL_REMAPPING = {1: make()}\n", "def (", "MODEL_REMAPPING = [1]\n", ""])
def test_a_remapping_that_is_no_literal_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "tts").mkdir()
    (tmp_path / "tts" / "utils.py").write_text(content)
    assert installed.remapping(str(tmp_path), "tts") == {}


def test_a_family_may_be_a_folder_a_file_or_compiled(tmp_path: Path) -> None:
    models = tmp_path / "tts" / "models"
    (models / "folder").mkdir(parents=True)
    (models / "single.py").write_text("")
    (models / "compiled.pyc").write_bytes(b"")
    assert [installed.has_family(str(tmp_path), "tts", name) for name in ("folder", "single", "compiled", "none")] == [
        True,
        True,
        True,
        False,
    ]
