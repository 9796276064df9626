"""How a model finds its family: the prediction against code that resolves, and the candidates for one that does not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors.name_resolution import MIMO_KEYS, effective_type, name_parts, predict, resolver_of
from mlx_diagnose.collectors.resolution import collect
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

# Resolvers in the shapes that mlx-audio's had over its releases, reduced to what decides.
_TYPE_ONLY = """
def get_model_and_args(model_type):
    model_type = MODEL_REMAPPING.get(model_type, model_type)
    return importlib.import_module(model_type)
"""
_NAME_FIRST = """
def get_model_and_args(model_type, model_name):
    model_type = MODEL_REMAPPING.get(model_type, model_type)
    models = get_available_models()
    for part in model_name:
        if part in models:
            model_type = part
        if part in MODEL_REMAPPING:
            model_type = MODEL_REMAPPING[part]
            break
    return importlib.import_module(model_type)
"""
_NAME_UNLESS_SAME = """
def get_model_and_args(model_type, model_name):
    model_type_mapped = MODEL_REMAPPING.get(model_type, None)
    models = get_available_models()
    if model_name is not None and model_type_mapped != model_type:
        for part in model_name:
            if part in models:
                model_type = part
            if part in MODEL_REMAPPING:
                model_type = MODEL_REMAPPING[part]
                break
    elif model_type_mapped is not None:
        model_type = model_type_mapped
    return importlib.import_module(model_type)
"""
_REMAPPING_FIRST = """
def get_model_class(model_type, model_name):
    model_type_mapped = MODEL_REMAPPING.get(model_type)
    if model_type_mapped is not None:
        model_type = model_type_mapped
    elif model_name is not None:
        models = get_available_models()
        for part in model_name:
            if part in models:
                model_type = part
            if part in MODEL_REMAPPING:
                model_type = MODEL_REMAPPING[part]
                break
    return importlib.import_module(model_type)
"""
_STYLES = {
    "type-only": _TYPE_ONLY,
    "name-first": _NAME_FIRST,
    "name-unless-same": _NAME_UNLESS_SAME,
    "remapping-first": _REMAPPING_FIRST,
}
_WORDS = st.sampled_from(["bark", "dia", "csm", "sesame", "kitten", "kokoro", "tiny", "v1"])


def _release(folder: Path, resolver: str, families: dict[str, list[str]], remapping: dict[str, dict[str, str]]) -> Path:
    """A folder mlx_audio with the given families and mappings, all of them empty."""
    package = folder / "mlx_audio"
    for category, names in families.items():
        for name in names:
            (package / category / "models" / name).mkdir(parents=True)
        source = f"MODEL_REMAPPING = {remapping.get(category, {})!r}\n" + textwrap.dedent(resolver)
        (package / category / "utils.py").write_text(source)
    (package / "version.py").write_text('__version__ = "0.4.3"\n')
    return package


def _facts(package: Path, name: str, config: dict[str, Any] | None, **more: Any) -> WorkingMemory:
    memory = more.pop("memory", None) or WorkingMemory()
    category = more.pop("category", "tts")
    collect(memory, mlx_audio_dir=package, category=category, directory_name=name, config=config, **more)
    return memory


# -- the prediction ----------------------------------------------------------------------------


@pytest.mark.parametrize("style", _STYLES)
def test_the_shape_of_a_resolver_is_recognised(tmp_path: Path, style: str) -> None:
    package = _release(tmp_path, _STYLES[style], {"tts": ["bark"]}, {})
    assert resolver_of(package, "tts").style == style


@given(
    style=st.sampled_from(sorted(_STYLES)),
    declared=_WORDS,
    parts=st.lists(_WORDS, min_size=1, max_size=4),
    families=st.sets(_WORDS, max_size=4),
    remapping=st.dictionaries(_WORDS, _WORDS, max_size=4),
)
def test_the_prediction_is_what_the_code_does(
    tmp_path_factory: pytest.TempPathFactory,
    style: str,
    declared: str,
    parts: list[str],
    families: set[str],
    remapping: dict[str, str],
) -> None:
    package = _release(tmp_path_factory.mktemp("release"), _STYLES[style], {"tts": ["x"]}, {})
    resolver = resolver_of(package, "tts")

    class Importer:
        @staticmethod
        def import_module(name: str) -> str:
            return name

    scope: dict[str, Any] = {
        "MODEL_REMAPPING": remapping,
        "get_available_models": lambda: families,
        "importlib": Importer,
    }
    exec(_STYLES[style], scope)
    arguments = (declared,) if style == "type-only" else (declared, parts)
    resolve = scope.get("get_model_class") or scope["get_model_and_args"]
    outcome = predict(resolver, declared, parts, families, remapping)
    assert outcome.family == resolve(*arguments)
    if outcome.via in ("name-part", "name-part-remapping"):
        assert outcome.part in parts


_NAMES = ["Kokoro-82M-bf16", "a_b-c", "x--y", "Qwen3-TTS-12Hz-0.6B", "dia", "voxcpm1.5-4bit", "-", "a-a-b"]
_REAL = """
import json, logging, sys
from pathlib import Path
logging.disable(logging.CRITICAL)
from mlx_audio import utils
from mlx_audio.tts.utils import MODEL_REMAPPING
names, types = json.loads(sys.argv[1])
found = {"parts": [utils.get_model_name_parts(Path(name)) for name in names], "resolved": []}
for name, model_type in types:
    try:
        utils.get_model_class(model_type, utils.get_model_name_parts(Path(name)), "tts", MODEL_REMAPPING)
    except ValueError as error:
        found["resolved"].append(str(error).split()[2])
json.dump(found, sys.stdout)
"""


def test_the_installed_loader_agrees(mlx_audio: Path) -> None:
    # Types and names that lead nowhere: nothing is imported, and the message tells what was tried.
    types = [["my-model", "nonsense"], ["v1.5", "new_type"], ["a-b", "Kokoro"]]
    done = subprocess.run(
        [sys.executable, "-c", _REAL, json.dumps([_NAMES, types])], capture_output=True, text=True, check=True
    )
    real = json.loads(done.stdout.splitlines()[-1])
    resolver = resolver_of(mlx_audio, "tts")
    assert [name_parts(name, resolver.all_parts) for name in _NAMES] == real["parts"]
    predicted = [
        _facts(mlx_audio, name, {"model_type": model_type}).of("resolution")[0]["resolved"]
        for name, model_type in types
    ]
    assert predicted == real["resolved"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "dia", "architecture": "x"}, "dia"),
        ({"architecture": "x"}, "x"),
        ({"flow_lm": {}, "mimi": {}}, "pocket_tts"),
        ({"model_type": "qwen2", "architectures": ["MiMoAudioModel"]}, "mimo_audio"),
        ({"model_type": "qwen2", **dict.fromkeys(MIMO_KEYS, 8)}, "mimo_audio"),
        ({"model_type": "llama", "acoustic_dim": 3}, "tada"),
        ({"model_type": ["dia"]}, None),
        ({"architectures": 3}, None),
    ],
)
def test_the_type_that_a_config_gives(config: dict[str, Any], expected: str | None) -> None:
    assert effective_type(config) == expected


def test_the_loader_of_speech_to_speech_tells_families_by_their_keys() -> None:
    config = {"model_version": "DeepFilterNet3", "sample_rate": 48000}
    assert effective_type(config, "sts") == "deepfilternet"
    assert effective_type(config) is None


# -- the resolution ----------------------------------------------------------------------------

_FAMILIES = {"tts": ["bark", "dia", "kitten_tts", "kokoro", "sesame"], "stt": ["whisper", "voxtral"]}
_MAPPINGS = {"tts": {"csm": "sesame", "kitten": "kitten_tts"}, "stt": {"whisper_v3": "whisper"}}


@pytest.mark.parametrize(
    ("resolver", "name", "config", "expected"),
    [
        (_REMAPPING_FIRST, "my-model", {"model_type": "dia"}, ("dia", "declared", None, True, True, "dia")),
        (_REMAPPING_FIRST, "my-model", {"model_type": "csm"}, ("sesame", "remapping", None, True, True, "sesame")),
        (_NAME_UNLESS_SAME, "my-model", {"model_type": "csm"}, ("csm", "declared", None, False, True, "sesame")),
        (
            _NAME_UNLESS_SAME,
            "csm-1b",
            {"model_type": "csm"},
            ("sesame", "name-part-remapping", "csm", True, True, "sesame"),
        ),
        (_REMAPPING_FIRST, "a-bark-b", {"model_type": "dia"}, ("bark", "name-part", "bark", True, True, "dia")),
        (_REMAPPING_FIRST, "kokoro-82m", {}, ("kokoro", "name-part", "kokoro", True, False, None)),
        (_REMAPPING_FIRST, "tiny-model", {}, ("tiny", "first-name-part", "tiny", False, False, None)),
        (_REMAPPING_FIRST, "x", {"model_type": "new"}, ("new", "declared", None, False, False, None)),
        (_TYPE_ONLY, "bark-small", {"model_type": "dia"}, ("dia", "declared", None, True, True, "dia")),
    ],
)
def test_resolution(
    tmp_path: Path, resolver: str, name: str, config: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    memory = _facts(_release(tmp_path, resolver, _FAMILIES, _MAPPINGS), name, config)
    (fact,) = memory.of("resolution")
    fields = ("resolved", "via", "name_part", "family_exists", "declared_exists", "declared_family")
    assert tuple(fact[field] for field in fields) == expected
    assert fact["declared"] == config.get("model_type")
    assert {f["name"] for f in memory.of("family")} == set(_FAMILIES["tts"])


def test_what_the_probe_saw_counts_more(tmp_path: Path) -> None:
    package = _release(tmp_path, _REMAPPING_FIRST, _FAMILIES, _MAPPINGS)
    seen = {"module": "mlx_audio.tts.utils", "function": "load_model", "strict": True, "shared": True}
    observed = {**seen, "asked": "dia", "name_parts": ["a", "bark"], "resolved": "bark"}
    memory = _facts(package, "whatever", {"model_type": "dia"}, observed=observed)
    (fact,) = memory.of("resolution")
    assert (fact["resolved"], fact["via"], fact["name_part"]) == ("bark", "name-part", "bark")
    (loader,) = memory.of("loader")
    assert (loader["strict"], loader["shared"], loader["mlx_audio_version"]) == (True, True, "0.4.3")
    (odd,) = _facts(package, "x", {"model_type": "dia"}, observed={"resolved": "elsewhere"}).of("resolution")
    assert (odd["resolved"], odd["via"], odd["family_exists"]) == ("elsewhere", "none", False)


def test_without_a_config_there_is_nothing_to_resolve(tmp_path: Path) -> None:
    package = _release(tmp_path, _REMAPPING_FIRST, _FAMILIES, _MAPPINGS)
    assert _facts(package, "x", None).of("resolution") == []
    memory = WorkingMemory()
    collect(memory, mlx_audio_dir=None, category="tts", directory_name="x", config={})
    assert len(memory) == 0


@pytest.mark.parametrize("model_type", ["a/../../b", "", "x" * 5000, "\x00", "a.b.c", "..", "/etc"])
def test_types_that_are_no_module_names(tmp_path: Path, model_type: str) -> None:
    memory = _facts(_release(tmp_path, _REMAPPING_FIRST, _FAMILIES, _MAPPINGS), "x", {"model_type": model_type})
    (fact,) = memory.of("resolution")
    assert fact["family_exists"] is False


# -- candidates --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "family", "category", "reason"),
    [
        ("whisper", "whisper", "stt", "same-name-other-category"),
        ("whisper_v3", "whisper", "stt", "same-name-other-category"),
        ("Kokoro", "kokoro", "tts", "normalised-name"),
        ("kitten-tts", "kitten_tts", "tts", "normalised-name"),
        ("dia-1.6b", "dia", "tts", "normalised-name"),
        ("CSM", "sesame", "tts", "known-alias"),
        ("kokro", "kokoro", "tts", "similar-name"),
        ("qwen3_tts", "qwen3_tts", "tts", "supported-since"),
        ("nemotron_asr", "nemotron_asr", "stt", "supported-since"),
    ],
)
def test_candidates_by_name(tmp_path: Path, declared: str, family: str, category: str, reason: str) -> None:
    package = _release(tmp_path, _REMAPPING_FIRST, _FAMILIES, _MAPPINGS)
    (package / "version.py").write_text('__version__ = "0.2.0"\n')
    memory = _facts(package, "x", {"model_type": declared})
    (best,) = memory.of("type_candidate", best=True)
    assert (best["family"], best["category"], best["reason"]) == (family, category, reason)
    assert (best["since"] is not None) == (reason == "supported-since")


def test_a_general_type_with_the_marks_of_a_family_that_came_later(tmp_path: Path) -> None:
    package = _release(tmp_path, _REMAPPING_FIRST, {"tts": ["qwen3"], "stt": ["whisper"]}, {})
    config = {"model_type": "qwen2", "architectures": ["MiMoAudioModel"]}
    (found,) = _facts(package, "x", config).of("type_candidate")
    assert (found["family"], found["category"], found["reason"]) == ("mimo_audio", "sts", "marked-since")
    (package / "version.py").write_text('__version__ = "0.6.2"\n')
    assert _facts(package, "x", config).of("type_candidate") == []  # nor is qwen2 a misspelt qwen3


def test_nothing_is_suggested_for_a_type_that_resembles_none(tmp_path: Path) -> None:
    package = _release(tmp_path, _REMAPPING_FIRST, _FAMILIES, _MAPPINGS)
    assert _facts(package, "x", {"model_type": "gpt_neox", "hidden_size": 8}).of("type_candidate") == []
    assert _facts(package, "x", {"model_type": "dia"}).of("type_candidate") == []


_KNOWN = Path(__file__).parents[2] / "knowledge_base" / "configurations" / "tts"


@pytest.mark.parametrize("family", ["bark", "dia", "kokoro", "qwen3_tts"])
def test_a_config_that_declares_nothing_tells_its_family_by_its_keys(mlx_audio: Path, family: str) -> None:
    config = json.loads((_KNOWN / f"{family}.json").read_text())
    config.pop("model_type", None)
    (best,) = _facts(mlx_audio, "my-model", config).of("type_candidate", best=True)
    assert (best["family"], best["category"], best["reason"]) == (family, "tts", "config-keys")


@pytest.mark.parametrize("family", ["llama", "qwen3", "soprano"])
def test_a_config_of_a_plain_language_model_tells_no_family(mlx_audio: Path, family: str) -> None:
    config = json.loads((_KNOWN / f"{family}.json").read_text())
    config.pop("model_type", None)
    assert _facts(mlx_audio, "my-model", config).of("type_candidate", best=True) == []


def test_a_family_taken_from_the_name_is_doubted_only_after_a_failure(mlx_audio: Path) -> None:
    config = json.loads((_KNOWN / "dia.json").read_text())
    config.pop("model_type", None)
    assert _facts(mlx_audio, "bark-small", config).of("type_candidate") == []
    memory = WorkingMemory()
    memory.add("stage", Provenance("test"), name="construct", status="failed", seconds=0.0)
    _facts(mlx_audio, "bark-small", config, memory=memory)
    (best,) = memory.of("type_candidate", best=True)
    assert best["family"] == "dia"


def test_a_type_that_published_models_of_the_family_declare_as_well() -> None:
    found = importlib.util.find_spec("mlx_audio")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mlx-audio is not installed")
    folder = Path(found.submodule_search_locations[0])

    def usual(name: str) -> tuple[object, object]:
        memory = WorkingMemory()
        collect(memory, mlx_audio_dir=folder, category="tts", directory_name=name, config={"model_type": "llama"})
        (fact,) = memory.of("resolution")
        return fact["resolved"], fact["declared_usual"]

    assert usual("Llama-OuteTTS-1.0-1B") == ("outetts", True)
    assert usual("my-bark") == ("bark", False)
