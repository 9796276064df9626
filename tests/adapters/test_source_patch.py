"""Patches of mlx-audio: git and patch take them, they change nothing else, and made again there are none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("libcst")

from mlx_diagnose.adapters.codemods import codemod, names
from mlx_diagnose.adapters.source_patch import PatchRefused, SourcePatch, apply_to, make_patch
from mlx_diagnose.collectors.package_copy import copy_package, package_folder
from tests.specimens.older_packages import OLDER, older

LLAMA = "mlx_audio/tts/models/llama/llama.py"
KOKORO = "mlx_audio/tts/models/kokoro/kokoro.py"
KUGEL = "mlx_audio/tts/models/kugelaudio/kugelaudio.py"


@pytest.fixture(scope="module")
def folder() -> Path:
    found = package_folder(sys.executable)
    assert found is not None
    return found


#: Codemods whose defect the installed release has, and those of older ones, with file and what the line has.
INSTALLED = {"first-use": LLAMA, "keep-fitting": KOKORO, "keep-packed": KUGEL, "known-keys": KOKORO}
LINES = {"known-keys": ("**config.istftnet", "known_keys(Decoder"), "path-as-text": ('.startswith("~")',)}
OF_OLDER = {"mapped-type": "remapping-ignored", "module-names": "module-names", "path-as-text": "path-as-text"}


@pytest.fixture(scope="module")
def folders(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The package that each codemod is for."""
    made = {name: older(tmp_path_factory.mktemp(name), defect) for name, defect in OF_OLDER.items()}
    return {**dict.fromkeys(INSTALLED, folder), **made}


@pytest.fixture(params=[*INSTALLED, *OF_OLDER])
def patch(request: pytest.FixtureRequest, folders: Mapping[str, Path]) -> SourcePatch:
    """One patch a codemod."""
    name = request.param
    file = INSTALLED.get(name) or OLDER[OF_OLDER[name]].file
    made = make_patch(folders[name], file, name, "0.6.2", line_of((folders[name] / file).read_text(), name))
    assert made is not None
    return made


def line_of(text: str, codemod: str) -> int | None:
    """Where the defect shows, for codemods that are told."""
    words = LINES.get(codemod, ())
    return next((number for number, row in enumerate(text.splitlines(), 1) if any(w in row for w in words)), None)


def test_every_codemod_is_tested() -> None:
    assert names() == sorted([*INSTALLED, *OF_OLDER])


@pytest.mark.parametrize("program", [["git", "apply", "--check"], ["git", "apply"], ["patch", "-p1"]], ids=" ".join)
def test_it_applies(patch: SourcePatch, folders: Mapping[str, Path], tmp_path: Path, program: list[str]) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"there is no {program[0]}")
    target = tmp_path / patch.file
    target.parent.mkdir(parents=True)
    shutil.copyfile(folders[patch.codemod] / patch.file, target)
    subprocess.run(program, cwd=tmp_path, input=patch.diff, text=True, check=True, capture_output=True)
    assert target.read_text() == (patch.old if "--check" in program else patch.new)


def test_it_is_minimal_and_made_once(patch: SourcePatch, tmp_path: Path) -> None:
    changed = [row for row in patch.diff.splitlines() if row[:1] in "+-" and row[:3] not in ("+++", "---")]
    assert len(changed) < 30
    target = tmp_path / patch.file
    target.parent.mkdir(parents=True)
    target.write_text(patch.new)
    line = line_of(patch.new, patch.codemod)
    assert make_patch(tmp_path, patch.file, patch.codemod, "0.6.2", line) is None
    compile(patch.new, patch.file, "exec")


def test_it_is_for_one_file_alone(patch: SourcePatch, folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = folders[patch.codemod]
    copy_package(folder, tmp_path)
    apply_to(tmp_path, patch)
    assert (tmp_path / patch.file).read_text() == patch.new
    assert (folder / patch.file).read_text() == patch.old
    with pytest.raises(PatchRefused) as caught:
        apply_to(tmp_path, patch)
    assert caught.value.reference == "source-differs"


@pytest.mark.long
def test_the_regression_test_fails_before_and_passes_after(
    patch: SourcePatch, folders: Mapping[str, Path], tmp_path: Path
) -> None:
    copy_package(folders[patch.codemod], tmp_path)
    texts = patch.texts("TypeError: x")
    assert sorted(texts) == sorted(
        [f"{patch.stem}.patch", f"{patch.stem}.md", f"test_{patch.stem.replace('-', '_')}.py"]
    )
    name = next(name for name in texts if name.endswith(".py"))
    (tmp_path / name).write_text(texts[name])

    def passes() -> bool:
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", name]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True).returncode == 0

    assert not passes()
    apply_to(tmp_path, patch)
    assert passes()


def test_what_cannot_be_patched(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def (")
    for file in ("a.py", "absent.py"):
        with pytest.raises(PatchRefused) as caught:
            make_patch(tmp_path, file, "first-use", "1")
        assert caught.value.reference == "source-not-patched"


# Small sources with what makes each change hard.

FIRST_USE = '''\
"""Text."""

from __future__ import annotations

import os
from typing import Any

import x

codec = Codec.from_pretrained("org/codec")  # a codec
path = os.getcwd()


def f(codec_name, codec=codec):
    self.codec = g(codec=codec)
    return codec.decode(codec)
'''
FIRST_USE_AFTER = '''\
"""Text."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import x

@lru_cache(maxsize=None)
def codec():
    return Codec.from_pretrained("org/codec")
path = os.getcwd()


def f(codec_name, codec=codec()):
    self.codec = g(codec=codec())
    return codec().decode(codec())
'''


def test_only_values_are_called() -> None:
    assert codemod("first-use").transform(FIRST_USE, None) == FIRST_USE_AFTER


SANITIZE = '''\
from mlx.utils import tree_flatten
import mlx.nn as nn


class Other:
    def sanitize(self, weights):
        return weights


class Model(nn.Module):
    def sanitize(self, weights: dict) -> dict:
        """Text."""
        if not weights:
            return {}
        return {k: v.transpose(0, 2, 1) for k, v in weights.items()}

    @staticmethod
    def from_pretrained(path):
        return path
'''


def test_only_the_models_sanitize_is_changed() -> None:
    made = codemod("keep-fitting").transform(SANITIZE, None)
    assert made.count("return keep_fitting(self, given, ") == 2
    assert '        """Text."""\n        given = dict(weights)\n' in made
    assert "        return weights\n" in made and "        return path\n" in made
    assert made.count("import tree_flatten") == 1


def test_only_the_call_of_that_line_is_filtered() -> None:
    source = "class A:\n    pass\n\n\nx = A(**config)\ny = A(**config)\nz = dict(**config)\nu = f()(**config)\n"
    made = codemod("known-keys").transform(source, 5)
    assert "x = A(**known_keys(A, config))\ny = A(**config)\n" in made
    for line in (None, 1, 7, 8):
        assert codemod("known-keys").transform(source, line) == source


RESOLUTION = """\
def get_model_class(model_type, model_name, category, model_remapping):
    model_type_mapped = model_remapping.get(model_type, None)

    # Parts of the name.
    if model_name is not None and model_type_mapped != model_type:
        for part in model_name:
            model_type = part
    elif model_type_mapped is not None:
        model_type = model_type_mapped

    return model_type
"""


def test_the_remapping_comes_before_the_name() -> None:
    made = codemod("mapped-type").transform(RESOLUTION, None)
    space: dict[str, Any] = {}
    exec(made, space)
    assert space["get_model_class"]("csm", ["checkpoint"], "tts", {"csm": "sesame"}) == "sesame"
    assert space["get_model_class"]("x", ["checkpoint"], "tts", {"csm": "sesame"}) == "checkpoint"
    assert space["get_model_class"]("x", None, "tts", {}) == "x"
    older = RESOLUTION.replace("    elif model_type_mapped is not None:\n        model_type = model_type_mapped\n", "")
    older = older.replace("get(model_type, None)", "get(model_type, model_type)")
    exec(codemod("mapped-type").transform(older, None), space)
    assert space["get_model_class"]("csm", ["checkpoint"], "tts", {"csm": "sesame"}) == "sesame"
    assert "    # Parts of the name.\n    if model_type_mapped is not None:\n" in made
    assert codemod("mapped-type").transform(made, None) == made


def test_scales_and_layouts_can_be_kept_by_one_sanitize() -> None:
    made = codemod("keep-packed").transform(codemod("keep-fitting").transform(SANITIZE, None), None)
    assert "return keep_packed(given, keep_fitting(self, given, {k: v" in made
    assert made.count("given = dict(weights)") == 1
    assert codemod("keep-fitting").transform(made, None) == made
    assert codemod("keep-packed").transform(made, None) == made


def test_only_what_may_be_a_path_is_taken_as_text() -> None:
    rows = [
        "a = path.lower()",
        "b = self.path.split('/')[0]",
        "c = path.replace(x)",
        "d = f().lower()",
        "e = 'x'.lower()",
    ]
    source = "\n".join([*rows, ""])
    found = [codemod("path-as-text").transform(source, line).splitlines()[line - 1] for line in range(1, 6)]
    assert found == ["a = str(path).lower()", "b = str(self.path).split('/')[0]", *rows[2:]]
    assert codemod("path-as-text").transform(source, None) == source
