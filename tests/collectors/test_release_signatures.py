"""Signatures of whole releases, and what changed between two of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from mlx_diagnose.collectors.annotation_types import normalised
from mlx_diagnose.collectors.release_signatures import Release, read_documents, release_in
from mlx_diagnose.collectors.signature_changes import changes
from tests.collectors.releases import NEW, OLD, write_release


def _documents(release: Release) -> dict[tuple[str, str], dict[str, object]]:
    return {key: release.describe(*key) for key in release.families()}


def test_a_family_of_an_old_release(tmp_path: Path) -> None:
    release = Release(write_release(tmp_path, OLD))
    assert (release.version, release.families()) == ("0.0.4", [("tts", "chant"), ("tts", "gone")])
    document = release.describe("tts", "chant")
    assert document["loader"]["function"] == "load_model"
    assert (document["loader"]["strict"], document["loader"]["shared"]) == (True, False)
    classes = {cls["class_name"]: cls for cls in document["classes"]}
    assert {name: cls["role"] for name, cls in classes.items()} == {
        "Model": "model",
        "ModelConfig": "config",
        "VoiceConfig": "nested",
    }
    config = classes["ModelConfig"]
    assert config["file"] == "mlx_audio/tts/models/chant/chant.py"
    assert [(p["name"], p["required"], p["type"], p["default"], p["nested"]) for p in config["parameters"]] == [
        ("hidden_size", True, "int", None, None),
        ("num_heads", False, "int", "8", None),
        ("sample_rate", False, "int", "24000", None),
        ("old_switch", False, "bool", "false", None),
        ("voice_config", False, "Optional[VoiceConfig]", "null", "VoiceConfig"),
    ]
    takes = config["takes_dict"]
    assert (takes["method"], takes["unknown_keys"]) == ("from_dict", "dropped")
    assert takes["keys"] == ["hidden_size", "num_heads", "old_switch", "sample_rate", "voice_config"]
    assert classes["VoiceConfig"]["takes_dict"]["unknown_keys"] == "rejected"
    assert {(r["paths"][0], r["how"], r["required"], r["reader"]) for r in document["reads"]} == {
        ("hidden_size", "attribute", True, "Model"),
        ("num_heads", "attribute", True, "Model"),
    }
    (dependency,) = document["dependencies"]
    assert (dependency["relation"], dependency["paths"], dependency["others"], dependency["asserted"]) == (
        "divisible",
        ["hidden_size"],
        ["num_heads"],
        False,
    )
    assert json.loads(json.dumps(document)) == document


def test_what_changed_between_two_releases(tmp_path: Path) -> None:
    old = _documents(Release(write_release(tmp_path / "old", OLD)))
    new = _documents(Release(write_release(tmp_path / "new", NEW)))
    found = {(c.family, c.what, c.class_name, c.name): c for c in changes(old, new)}
    assert set(found) == {
        ("chant", "loader-changed", None, None),
        ("chant", "default-changed", "ModelConfig", "num_heads"),
        ("chant", "type-changed", "ModelConfig", "sample_rate"),
        ("chant", "parameter-removed", "ModelConfig", "old_switch"),
        ("chant", "parameter-added", "ModelConfig", "depth"),
        ("chant", "required-added", "ModelConfig", "width"),
        ("chant", "unknown-keys-changed", "ModelConfig", None),
        ("chant", "now-required", "VoiceConfig", "pitch"),
        ("chant", "default-changed", "VoiceConfig", "rates"),
        ("gone", "family-removed", None, None),
        ("fresh", "family-added", None, None),
    }
    heads = found["chant", "default-changed", "ModelConfig", "num_heads"]
    assert (heads.old, heads.new, heads.breaking) == ("8", "16", True)
    rates = found["chant", "default-changed", "VoiceConfig", "rates"]
    assert (rates.old, rates.new) == ("[8, 8]", "[4, 4, 4]")
    unbroken = {key[1] for key, change in found.items() if not change.breaking}
    # A whole number still is a number, and Optional[X] is X | None.
    assert unbroken == {"loader-changed", "type-changed", "parameter-added", "family-added"}
    assert list(changes(new, new)) == []


def test_documents_are_read_back_as_written(tmp_path: Path) -> None:
    old = _documents(Release(write_release(tmp_path / "release", OLD)))
    for (category, family), document in old.items():
        target = tmp_path / "written" / category / f"{family}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(document))
    (tmp_path / "written" / "other.json").write_text('{"a": 1}')
    (tmp_path / "written" / "broken.json").write_text("{")
    assert {(d["category"], d["family"]): d for d in read_documents(tmp_path / "written")} == old
    assert release_in(tmp_path / "release") == release_in(tmp_path / "release" / "mlx_audio")
    assert release_in(tmp_path / "written") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Optional[List[int]]", "list[int] | None"),
        ("typing.Union[None, int, str]", "int | str | None"),
        ("'Dict[str, Any]'", "dict[str,Any]"),
        (None, None),
    ],
)
def test_spellings_of_one_type(one: str | None, other: str | None) -> None:
    assert normalised(one) == normalised(other)
    assert normalised("int") != normalised("float")


def test_every_family_of_the_installed_release_is_described() -> None:
    found = importlib.util.find_spec("mlx_audio")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mlx-audio is not installed")
    folder = Path(found.submodule_search_locations[0])
    release = Release(folder, (str(folder.parent),))
    documents = {key: release.describe(*key) for key in release.families() if key[0] in ("vad", "lid", "codec")}
    assert {key: d["reasons"] for key, d in documents.items() if d["reasons"]} == {}
    assert {category for category, _ in documents} == {"vad", "lid", "codec"}
    assert all(d["classes"] for d in documents.values())


# -- sources that cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"class Model(:\n", "syntax-error"),
        (b"x = '\xff'\n", "syntax-error"),
        (b"x = 1\0\n", "syntax-error"),
        (b"(" * 5000, "syntax-error"),
        (None, "compiled-only"),
    ],
)
def test_a_source_that_cannot_be_read_is_told_with_its_reason(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    folder = write_release(tmp_path, OLD)
    module = folder / "tts" / "models" / "chant" / "chant.py"
    if content is None:
        module.rename(module.with_suffix(".pyc"))
    else:
        module.write_bytes(content)
    document = Release(folder).describe("tts", "chant")
    (problem,) = document["unreadable"]
    assert problem["module"] == "mlx_audio.tts.models.chant.chant"
    assert problem["reason"] in (reason, "not-text")
    assert problem["file"].startswith("mlx_audio/tts/models/chant/chant.py")
    assert problem["message"]


def test_classes_of_any_shape_do_no_harm(tmp_path: Path) -> None:
    folder = write_release(
        tmp_path,
        {
            **OLD,
            "mlx_audio/tts/models/chant/chant.py": """
                from dataclasses import dataclass
                class Meta(type):
                    def __getattribute__(cls, name):
                        raise RuntimeError(name)
                class ModelConfig(Loop, metaclass=Meta):
                    pass
                class Loop(ModelConfig):
                    pass
                def __getattr__(name):
                    raise RuntimeError(name)
                @dataclass
                class Odd(ModelConfig, *[object]):
                    x: "int |" = 1
                    y: Model = None
                class Model(Model):
                    def __init__(self, config: "ModelConfig[", *, deep=lambda: [a for a in 3]):
                        self.a = self.b = config.x // (yield)
                        [self.c, *d] = config
                        assert config.x % 0 == 0 and not config.y
                        if config.x % config.y:
                            raise
                    @property
                    def broken(self):
                        return
            """,
        },
    )
    document = Release(folder).describe("tts", "chant")
    assert document["reasons"] == []
    assert {cls["class_name"] for cls in document["classes"]} >= {"Model", "ModelConfig", "Odd"}
