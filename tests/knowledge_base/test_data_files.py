"""The data files of the knowledge base: what they hold is well formed, and true of the mlx-audio that is here."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mlx_diagnose.engine.model import RuleError
from mlx_diagnose.knowledge_base import data

CATEGORIES = {"tts", "stt", "sts", "vad", "lid", "codec", "music"}


def installed_mlx_audio() -> Path:
    spec = importlib.util.find_spec("mlx_audio")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("mlx-audio is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


# -- distributions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name", "install"),
    [
        ("soxr", "soxr", "soxr"),
        ("yaml", "pyyaml", "pyyaml"),
        ("google.protobuf.message", "protobuf", "protobuf"),
        ("mistral_common.tokens", "mistral-common", "mistral-common[audio]"),
        ("pkg_resources", "setuptools", "setuptools<81"),
        ("misaki.en", "misaki", "misaki[en]"),
    ],
)
def test_a_module_leads_to_its_distribution(module: str, name: str, install: str) -> None:
    found = data.distribution_of(module)
    assert (found.name, found.install) == (name, install)


def test_distributions_are_named_as_the_index_names_them() -> None:
    for module, name in data._mapping("distributions.yaml").items():
        assert isinstance(name, str), module
        assert canonicalize_name(name) == name
        assert name != module, f"{module} says nothing"


def test_special_installs_say_something() -> None:
    for name, entry in data._mapping("installs.yaml").items():
        assert canonicalize_name(name) == name
        assert entry and set(entry) <= {"install", "extra", "python", "note"}
        SpecifierSet(entry.get("python", ""))


# -- families --------------------------------------------------------------------------------


def test_every_installed_family_is_known() -> None:
    root = installed_mlx_audio()
    for category in CATEGORIES:
        folder = root / category / "models"
        present = (
            {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()} if folder.is_dir() else set()
        )
        known = data.families().get(category, {})
        assert present <= set(known), f"not in families.yaml: {sorted(present - set(known))} of {category}"


def test_families_and_types_name_releases() -> None:
    assert set(data.families()) == CATEGORIES
    for families in data.families().values():
        for release in families.values():
            Version(release)
    for category, types in data._model_types().items():
        for model_type, since in types.items():
            assert since.family in data.families()[category], model_type
            # A type is never mapped before its family is there.
            assert Version(since.release) >= Version(data.families()[category][since.family])


@pytest.mark.parametrize(
    ("model_type", "category", "expected"),
    [
        ("dia", "tts", ("dia", "0.1.0")),
        ("csm", "tts", ("sesame", "0.2.4")),
        ("whisper", "stt", ("whisper", "0.2.0")),
        ("whisper", "tts", None),
        ("no-such-type", "tts", None),
    ],
)
def test_the_release_of_a_model_type(model_type: str, category: str, expected: tuple[str, str] | None) -> None:
    found = data.supported_since(model_type, category)
    assert (found and (found.family, found.release)) == expected


# -- releases --------------------------------------------------------------------------------


def test_defects_of_releases_are_well_formed() -> None:
    defects = data.release_defects()
    assert len({defect.id for defect in defects}) == len(defects) >= 20
    for defect in defects:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", defect.id)
        assert defect.seen and defect.what.endswith(".") and defect.remedy.endswith(".") and defect.source
        for text in (defect.what, defect.remedy, defect.source, defect.seen):
            assert not re.search(r"/(work|root|home|tmp)/", text)
        broken = SpecifierSet(defect.broken)
        if defect.fixed_in is not None:
            assert defect.fixed_in not in broken, f"{defect.id}: the release that mends it is in the broken range"
        for package, specifier in defect.requires.items():
            assert canonicalize_name(package) == package
            SpecifierSet(specifier)


def test_families_of_defects_exist() -> None:
    known = {family for families in data.families().values() for family in families}
    for defect in data.release_defects():
        assert set(defect.families) <= known


def test_data_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "families.yaml"
    broken.write_text("tts: [unclosed", encoding="utf-8")
    with pytest.raises(RuleError, match=r"families\.yaml"):
        data._read(broken)


def test_the_readers_do_not_import_yaml_before_they_are_asked() -> None:
    source = Path(data.__file__).read_text(encoding="utf-8")
    assert not re.search(r"^(import|from) yaml", source, re.MULTILINE)
