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


@pytest.mark.parametrize(
    ("config", "name", "category"),
    [
        # The declared type and the name say one category; a shorter part of the name says another.
        ({"model_type": "mimo_audio"}, "MiMo-Audio-7B-Instruct", "sts"),
        ({"model_type": "qwen2", "architectures": ["MiMoAudioModel"]}, "MiMo-Audio-7B-Instruct", "sts"),
        # A language model's name says less than a declared type.
        ({"model_type": "qwen3_forced_aligner"}, "Qwen3-ForcedAligner-0.6B", "stt"),
        ({"model_type": "wav2vec2"}, "mms-lid-256", "lid"),
        ({"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForSequenceClassification"]}, "checkpoint", "lid"),
        # Of a type that nobody has, what a family says that it takes.
        ({"model_type": "vibevoice", "architectures": ["VibeVoiceForASRTraining"]}, "checkpoint", "stt"),
        ({"model_type": "vibevoise", "architectures": ["VibeVoiceForASRTraining"]}, "checkpoint", "stt"),
        ({"architectures": ["VibeVoiceForASRStreamingTraining"]}, "checkpoint", "stt"),
        ({"architectures": ["LlamaForCausalLM"]}, "checkpoint", "tts"),
        # Told by keys, as the loader of sts does.
        ({"model_version": "DeepFilterNet3", "sample_rate": 48000}, "checkpoint", "sts"),
        ({"audio_codec": {}, "text_encoder": {}, "transformer": {}}, "checkpoint", "sts"),
        ({"win_len": 1920, "win_inc": 384, "num_mels": 60, "out_channels_final": 961}, "checkpoint", "sts"),
        # Nothing says it: the family whose sources name the keys.
        ({"preprocessor": {}, "encoder": {}, "joint": {}, "decoding": {}, "target": "nemo"}, "checkpoint", "stt"),
        ({"branch_16k": {}, "branch_8k": {}, "min_speech_duration_ms": 250}, "checkpoint", "vad"),
        ({"some": 1, "keys": 2, "of": 3, "nobody": 4}, "checkpoint", "tts"),
        (None, "S3TokenizerV2", "codec"),
        (None, "checkpoint", "tts"),
    ],
)
def test_the_category_is_told_by_type_keys_and_name(directory: str, config: object, name: str, category: str) -> None:
    assert installed.category_of(directory, config, name) == category


def test_a_configuration_of_speech_is_of_speech_however_it_is_called(directory: str) -> None:
    from tests.specimens import configuration, families, recipe

    configs = {family: configuration(family, "small") for family in families()}
    names = {family: (recipe(family).name, "checkpoint") for family in families()}
    wrong = [
        (family, name)
        for family, config in configs.items()
        for name in names[family]
        if installed.category_of(directory, config, name) != "tts"
    ]
    bare = [
        family
        for family, config in configs.items()
        if installed.category_of(directory, {**config, "model_type": "no-such-type"}, "checkpoint") != "tts"
    ]
    assert (wrong, bare) == ([], [])


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
