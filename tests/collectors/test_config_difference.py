"""config.json against the real classes of mlx-audio, and against small families written for the purpose."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.config import parse_config
from mlx_diagnose.collectors.config_difference import collect
from mlx_diagnose.collectors.sources import describe_source, merged
from mlx_diagnose.engine.memory import WorkingMemory

_KNOWN = Path(__file__).parents[2] / "knowledge_base" / "configurations" / "tts"
_CONFIGURATIONS = sorted(file for file in _KNOWN.glob("*.json") if "." not in file.stem)


def _difference(folder: Path, family: str, config: dict[str, Any], signature: Any = None) -> WorkingMemory:
    memory = WorkingMemory()
    document = parse_config(Path("/model"), json.dumps(config, indent=1).encode())
    collect(memory, document, signature, mlx_audio_dir=folder, category="tts", family=family)
    return memory


def _family(tmp_path: Path, source: str) -> Path:
    """A folder mlx_audio with one family, ``mine``, of the given source."""
    package = tmp_path / "mlx_audio" / "tts" / "models" / "mine"
    package.mkdir(parents=True)
    for folder in (package, *package.parents):
        if folder == tmp_path:
            break
        (folder / "__init__.py").touch()
    (package / "__init__.py").write_text("from .model import Model, ModelConfig\n")
    (package / "model.py").write_text(textwrap.dedent(source))
    return tmp_path / "mlx_audio"


# -- real families -----------------------------------------------------------------------------


@pytest.mark.parametrize("file", _CONFIGURATIONS, ids=lambda file: file.stem)
def test_a_configuration_known_to_load_lacks_nothing(mlx_audio: Path, file: Path) -> None:
    if not (mlx_audio / "tts" / "models" / file.stem).is_dir():
        pytest.skip("the installed mlx-audio has no such family")
    memory = _difference(mlx_audio, file.stem, json.loads(file.read_text()))
    assert memory.of("absent_key", required=True) == []
    assert memory.of("absent_section") == []
    assert memory.of("type_disagreement") == []
    assert memory.of("unknown_key", effect="rejected") == []
    assert [f for f in memory.of("key_similarity", required=True) if f["best"]] == []
    assert all(fact["lacking"] == 0 for fact in memory.of("config_fit"))


def test_dia_needs_its_three_sections(mlx_audio: Path) -> None:
    memory = _difference(mlx_audio, "dia", {"model_type": "dia"})
    sections = {f["path"]: f["class_name"] for f in memory.of("absent_section", required=True, flattened=False)}
    assert sections == {"model": "ModelConfig", "training": "TrainingConfig", "data": "DataConfig"}
    assert {(f["class_name"], f["section"], f["unknown_keys"]) for f in memory.of("config_class")} >= {
        ("EncoderConfig", "model.encoder", "rejected"),
        ("DataConfig", "data", "rejected"),
        ("DiaConfig", "", "dropped"),
    }


def test_kokoro_hands_its_sections_to_other_classes(mlx_audio: Path) -> None:
    config = {"istftnet": {}, "plbert": {"vocab_size": 178, "num_layers": 12}, "dim_in": "64", "n_mel": 80}
    memory = _difference(mlx_audio, "kokoro", config)
    unknown = {f["path"]: (f["class_name"], f["effect"]) for f in memory.of("unknown_key", housekeeping=False)}
    assert unknown == {
        "n_mel": ("ModelConfig", "dropped"),
        "plbert.num_layers": ("AlbertModelArgs", "rejected"),
        # The call gives vocab_size itself, so the key is one too many.
        "plbert.vocab_size": ("AlbertModelArgs", "rejected"),
    }
    best = {f["given"]: f["wanted"] for f in memory.of("key_similarity", best=True)}
    assert best == {"n_mel": "n_mels", "plbert.num_layers": "plbert.num_hidden_layers"}
    (wrong,) = memory.of("type_disagreement")
    assert (wrong["path"], wrong["expected"], wrong["convertible"], wrong["converted"]) == ("dim_in", "int", True, "64")
    assert "istftnet.upsample_rates" in {f["path"] for f in memory.of("absent_key", required=True)}


def test_a_section_flattened_into_the_top_level(mlx_audio: Path) -> None:
    text = {"hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "num_attention_heads": 1}
    rest = {"rms_norm_eps": 1e-6, "vocab_size": 9, "num_key_value_heads": 1, "head_dim": 8, "rope_theta": 1.0}
    memory = _difference(mlx_audio, "moss_tts", {**text, **rest, "max_position_embeddings": 8})
    (section,) = memory.of("absent_section")
    assert (section["path"], section["required"]) == ("language_config", True)
    assert (section["flattened"], section["found_at"]) == (True, "")
    given = _difference(mlx_audio, "moss_tts", {"qwen3_config": {**text, **rest, "max_position_embeddings": 8}})
    assert given.of("absent_section") == []


def test_keys_read_from_a_raw_section_are_needed(mlx_audio: Path) -> None:
    if not (mlx_audio / "tts" / "models" / "lingv3_tts").is_dir():
        pytest.skip("the installed mlx-audio has no such family")
    memory = _difference(mlx_audio, "lingv3_tts", {"audio_config": {"enc_kwargs": {}}})
    needed = {f["path"] for f in memory.of("absent_key", required=True)}
    assert {"audio_config.sample_rate", "audio_config.enc_kwargs.latent_dim", "audio_config.dec_kwargs"} <= needed


def test_aliases_that_a_family_handles_itself_are_not_unknown(mlx_audio: Path) -> None:
    config = {"acostic_vae_dim": 64, "sampling_rate": 24000, "decoder_config": {"n_layer": 3}}
    memory = _difference(mlx_audio, "vibevoice", config)
    assert [f["path"] for f in memory.of("unknown_key", housekeeping=False)] == ["decoder_config.n_layer"]


# -- small families ----------------------------------------------------------------------------

_BASE = """
    import inspect
    from dataclasses import dataclass, field

    @dataclass
    class Base:
        @classmethod
        def from_dict(cls, params):
            return cls(**{k: v for k, v in params.items() if k in inspect.signature(cls).parameters})
"""


def test_fields_defaults_and_inheritance(tmp_path: Path) -> None:
    folder = _family(
        tmp_path,
        _BASE
        + """
    RATE = 24_000

    @dataclass
    class Shared(Base):
        dim: int
        rate: int = RATE
        window: int = 6 * 16000
        steps: list[int] = field(default_factory=lambda: [1, 2])
        hidden: int = field(default=3, init=False)

    @dataclass
    class ModelConfig(Shared):
        dim: int = 8
        name: "str | None" = None

    class Model:
        def __init__(self, config: ModelConfig):
            self.config = config
    """,
    )
    memory = _difference(folder, "mine", {"rate": 1})
    parameters = {f["name"]: (f["required"], f["type"], f["default"]) for f in memory.of("init_parameter")}
    assert parameters == {
        "dim": (False, "int", "8"),
        "rate": (False, "int", "24000"),
        "window": (False, "int", "96000"),
        "steps": (False, "list[int]", "[1, 2]"),
        "name": (False, "str | None", "null"),
    }
    assert {f["name"] for f in memory.of("absent_key")} == {"dim", "window", "steps", "name"}


def test_a_class_with_keyword_rest_accepts_and_its_attributes_are_needed(tmp_path: Path) -> None:
    folder = _family(
        tmp_path,
        """
    class Args:
        def __init__(self, **kwargs):
            for k, v in kwargs.items():
                setattr(self, k, v)

    class Model:
        def __init__(self, config: dict):
            args = Args(**config)
            args.width = config.get("wide")
            self.size = args.hidden_size + args.width
            if args.hidden_size > 3:
                self.extra = args.extra
            self.voice = config.get("voice", "af")

    ModelConfig = None
    """,
    )
    memory = _difference(folder, "mine", {"anything": 1})
    assert memory.of("unknown_key") == []
    assert [f["path"] for f in memory.of("absent_key", required=True)] == ["hidden_size"]


def test_what_only_one_way_through_the_code_needs_is_not_required(tmp_path: Path) -> None:
    folder = _family(
        tmp_path,
        _BASE
        + """
    @dataclass
    class A(Base):
        both: int
        only_a: int

    @dataclass
    class B(Base):
        both: int
        only_b: int

    class Model:
        def __init__(self, config: dict):
            if config.get("kind") == "a":
                self.inner = A.from_dict(config["inner"])
            else:
                self.inner = B.from_dict(config["inner"])
            try:
                self.rate = config["rate"]
            except KeyError:
                self.rate = config["sampling_rate"]

    ModelConfig = None
    """,
    )
    memory = _difference(folder, "mine", {"inner": {"other": 1, "only_b": 2}})
    assert [f["path"] for f in memory.of("absent_key", required=True)] == ["inner.both"]
    assert [f["path"] for f in memory.of("unknown_key")] == ["inner.other"]


def test_keys_read_somewhere_unfollowed_are_not_called_unknown(tmp_path: Path) -> None:
    folder = _family(
        tmp_path,
        _BASE
        + """
    import json

    @dataclass
    class ModelConfig(Base):
        dim: int = 1

    class Model:
        def __init__(self, config):
            pass

        @classmethod
        def post_load_hook(cls, model, path):
            settings = json.loads((path / "config.json").read_text())
            model.voice = settings.get("default_voice")
    """,
    )
    memory = _difference(folder, "mine", {"default_voice": "af", "nonsense": 1})
    assert [f["path"] for f in memory.of("unknown_key")] == ["nonsense"]


def test_a_misplaced_key_is_found_by_its_very_name(tmp_path: Path) -> None:
    folder = _family(
        tmp_path,
        _BASE
        + """
    @dataclass
    class Inner(Base):
        depth: int
        width: int = 3

    @dataclass
    class ModelConfig(Base):
        inner: Inner

        def __post_init__(self):
            if isinstance(self.inner, dict):
                self.inner = Inner.from_dict(self.inner)

    class Model:
        def __init__(self, config: ModelConfig):
            self.config = config
    """,
    )
    memory = _difference(folder, "mine", {"inner": {"width": "wide"}, "depth": 3})
    (pair,) = memory.of("key_similarity")
    assert (pair["given"], pair["wanted"], pair["required"], pair["best"]) == ("depth", "inner.depth", True, True)
    (wrong,) = memory.of("type_disagreement")
    assert (wrong["path"], wrong["convertible"], wrong["converted"]) == ("inner.width", False, None)


@pytest.mark.parametrize(
    "source",
    [
        "class Model:\n    def __init__(self, config):\n        Model(config)\n",
        "class A(B): pass\nclass B(A): pass\nModelConfig = A\nModel = Model\n",
        "from .model import Model, ModelConfig\n",
        "from . import *\nfrom .nowhere import Model\nModelConfig = Model.x.y\n",
        "def broken(:\n",
        "\x00",
        "class ModelConfig:\n    @classmethod\n    def from_dict(cls, d):\n        return cls.from_dict({**d})\n",
    ],
)
def test_sources_of_any_shape_are_survived(tmp_path: Path, source: str) -> None:
    folder = _family(tmp_path, source)
    document = describe_source(folder, "tts", "mine")
    assert document["module"] == "mlx_audio.tts.models.mine"
    assert isinstance(_difference(folder, "mine", {"a": {"b": 1}}), WorkingMemory)


def test_a_family_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    document = describe_source(tmp_path / "mlx_audio", "tts", "nothing")
    assert document["classes"] == [] and len(document["reasons"]) == 1


# -- the patient's own classes -----------------------------------------------------------------

_PROBE = """
import importlib, json, sys
from mlx_diagnose.collectors.probes import signature
documents = [signature.describe(importlib.import_module("mlx_audio.tts.models." + name)) for name in sys.argv[1:]]
json.dump(documents + [signature.describe(object())], sys.stdout)
"""


def test_the_probe_tells_exact_defaults_and_leads_to_the_source(mlx_audio: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, "bark", "vibevoice"], capture_output=True, text=True, check=True
    )
    bark, vibevoice, nothing = json.loads(done.stdout.splitlines()[-1])
    assert nothing["classes"] == [] and bark["reasons"] == []
    classes = {c["class_name"]: c for c in bark["classes"]}
    semantic = {p["name"]: p for p in classes["SemanticConfig"]["parameters"]}
    assert (semantic["n_layer"]["default"], semantic["n_layer"]["type"]) == ("12", "int")
    assert {p["name"]: p["nested"] for p in classes["ModelConfig"]["parameters"]}["codec_config"] == "CodecConfig"

    memory = WorkingMemory()
    document = parse_config(Path("/model"), b'{"semantic_config": {"n_layer": 1}}')
    collect(memory, document, bark)
    assert {f["path"] for f in memory.of("absent_section")} == {
        "coarse_acoustics_config",
        "fine_acoustics_config",
        "codec_config",
    }
    seen = {"module": "m", "class_name": "C", "dataclass": True}
    own = {"required": False, "type": "int", "nested": None}
    inherited = {**seen, "parameters": [{**own, "name": name, "default": "8"} for name in ("dim", "depth", "rate")]}
    cls = {"module": "m", "class_name": "C", "sections": ["a"], "given": ["rate"], "explicit": False}
    partial = {"classes": [{**cls, "parameters": [{**own, "name": "dim", "paths": ["a.dim"], "default": None}]}]}
    (whole,) = merged({**partial, "reasons": []}, {"classes": [inherited]})["classes"]
    assert [(p["paths"], p["default"]) for p in whole["parameters"]] == [(["a.dim"], "8"), (["a.depth"], "8")]

    static = describe_source(mlx_audio, "tts", "vibevoice")
    for before, after in zip(static["classes"], merged(static, vibevoice)["classes"], strict=True):
        own = {p["name"]: (p["required"], p["default"]) for p in before["parameters"]}
        exact = {p["name"]: (p["required"], p["default"]) for p in after["parameters"]}
        assert exact.keys() >= own.keys()
        assert all(exact[name] == own[name] for name in own if own[name][1] is not None)


def test_a_section_at_another_place(mlx_audio: Path) -> None:
    config = json.loads((_KNOWN / "bark.json").read_text())
    moved = {**config, "model": {"semantic": config["semantic_config"]}}
    del moved["semantic_config"]
    memory = _difference(mlx_audio, "bark", moved)
    (section,) = memory.of("absent_section")
    assert (section["path"], section["moved_from"], section["flattened"]) == (
        "semantic_config",
        "model.semantic",
        False,
    )
    # Two that would do are none.
    memory = _difference(mlx_audio, "bark", {**moved, "other": config["semantic_config"]})
    assert [f["moved_from"] for f in memory.of("absent_section")] == [None]


def test_a_single_value_where_a_class_would_take_a_section_is_not_absent(tmp_path: Path) -> None:
    source = """
    from dataclasses import dataclass

    @dataclass
    class Quantizer:
        size: int

    class Head:
        def __init__(self, width, depth):
            self.width = width

        @classmethod
        def from_config(cls, config):
            return cls(config.width, config.depth)

    @dataclass
    class ModelConfig:
        quantizer: Quantizer

        @classmethod
        def from_dict(cls, config):
            return cls(quantizer=Quantizer(**config["quantizer"]))

    class Model:
        def __init__(self, config):
            self.head = Head.from_config(config.quantizer.size)
    """
    memory = _difference(_family(tmp_path, source), "mine", {"quantizer": {"size": 32}})
    assert not memory.of("absent_section")
    assert not memory.of("absent_key", section="quantizer.size")


def test_a_section_inside_itself(mlx_audio: Path) -> None:
    config = json.loads((_KNOWN / "irodori_tts.json").read_text())
    memory = _difference(mlx_audio, "irodori_tts", {**config, "dit": {"dit": config["dit"]}})
    (section,) = memory.of("absent_section")
    assert (section["path"], section["moved_from"], section["required"]) == ("dit", "dit.dit", False)
    # What lies further inside goes with it.
    config = json.loads((_KNOWN / "dia.json").read_text())
    memory = _difference(mlx_audio, "dia", {**config, "model": {"model": config["model"]}})
    assert [(f["path"], f["moved_from"]) for f in memory.of("absent_section")] == [("model", "model.model")]


def test_a_section_of_defaults_that_is_flattened(mlx_audio: Path) -> None:
    config = json.loads((_KNOWN / "irodori_tts.json").read_text())
    flat = {**{key: value for key, value in config.items() if key != "dit"}, **config["dit"]}
    (section,) = _difference(mlx_audio, "irodori_tts", flat).of("absent_section")
    assert (section["path"], section["flattened"], section["required"], section["usual"]) == ("dit", True, False, True)
    del config["dit"]
    assert _difference(mlx_audio, "irodori_tts", config).of("absent_section") == []


@pytest.mark.parametrize(
    ("family", "path", "to", "best", "beside"),
    [
        ("llama", "rope_theta", "rope_base", True, "like"),
        ("llama", "rope_scaling", "rope_parameters", True, "null"),
        ("zonos2", "n_codebooks", "audio_num_codebooks", True, "equal"),
        ("irodori_tts", "dit.text_vocab_size", "textVocabSize", True, "equal"),
        ("higgs_audio", "text_config.num_hidden_layers", "n_layers", True, "equal"),
    ],
)
def test_a_dropped_key_beside_a_default(
    mlx_audio: Path, family: str, path: str, to: str, best: bool, beside: str
) -> None:
    config = json.loads((_KNOWN / f"{family}.json").read_text())
    parent: dict[str, Any] = config
    *above, name = path.split(".")
    for part in above:
        parent = parent[part]
    parent[to] = parent.pop(name)
    (pair,) = _difference(mlx_audio, family, config).of("key_similarity", wanted=path)
    assert (pair["given"], pair["best"]) == (".".join([*above, to]), best)
    assert (pair["beside_default"], pair["usual"], pair["required"]) == (beside, False, False)


def test_absent_keys_with_their_known_good_values(mlx_audio: Path) -> None:
    config = json.loads((_KNOWN / "kokoro.json").read_text())
    n_token = config.pop("n_token")
    memory = _difference(mlx_audio, "kokoro", config)
    (key,) = memory.of("absent_key", path="n_token")
    assert key["known"] == json.dumps(n_token)


_STYLED = """
    from dataclasses import dataclass
    from mlx_audio.tts.models.base import BaseModelArgs

    @dataclass
    class ModelConfig:
        hidden_size: int
        num_layers: int = 2
        text_config: dict = None

        @classmethod
        def from_dict(cls, params):
            return cls(**params)

    class Model:
        def __init__(self, config: ModelConfig):
            self.width = config.text_config["vocab_size"]
"""


def _moves(tmp_path: Path, config: dict[str, Any]) -> list[tuple[Any, ...]]:
    memory = _difference(_family(tmp_path, _STYLED), "mine", config)
    return [(fact["given"], fact["source"], fact["target"]) for fact in memory.of("restyled_key")]


def test_names_in_another_style_are_told_a_section_before_what_it_holds(tmp_path: Path) -> None:
    config = {"hiddenSize": 8, "num-layers": 4, "textConfig": {"vocabSize": 9}, "epochsDone": 3}
    assert _moves(tmp_path, config) == [
        ("hiddenSize", "/hiddenSize", "/hidden_size"),
        ("num-layers", "/num-layers", "/num_layers"),
        ("textConfig", "/textConfig", "/text_config"),
        ("textConfig.vocabSize", "/text_config/vocabSize", "/text_config/vocab_size"),
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"hidden_size": 8, "hiddenSize": 9, "numLayers": 3, "textConfig": {}},
        {"hidden_size": 8, "numLayers": 4, "text_config": {"vocabSize": 9}},
        {"hidden_size": 8, "num_layers": 2},
    ],
)
def test_few_names_are_no_style_and_what_is_given_is_not_written_over(tmp_path: Path, config: dict[str, Any]) -> None:
    assert _moves(tmp_path, config) == []
