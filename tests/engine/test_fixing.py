"""``--fix`` on real specimens: what was written is loaded by the real loader, and holds what the whole one holds."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.adapters.model_directory import write_directory
from mlx_diagnose.adapters.registry import read as read_entry
from mlx_diagnose.collectors.package_copy import copy_package, package_folder
from mlx_diagnose.collectors.target import locate
from mlx_diagnose.engine import bench
from mlx_diagnose.engine.fixing import chosen, default_target, show_fixes, write_fixes
from mlx_diagnose.engine.model import Finding, Fix, Report, Written
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.report.json import from_json, to_json
from tests.adapters import stored
from tests.specimens import make_specimen
from tests.specimens.hub import environment, snapshot
from tests.specimens.mutants import mutate, quantised
from tests.specimens.older_packages import older
from tests.specimens.recipe import Specimen

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of its own."""
    monkeypatch.setenv("MLX_DIAGNOSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def specimen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Specimen]:
    """A whole small specimen of a family; its environment becomes that of this process."""

    def make(family: str) -> Specimen:
        made = make_specimen(family, tmp_path / "whole")
        for name, value in environment(made.hub).items():
            monkeypatch.setenv(name, value)
        return made

    return make


def parameters(*paths: Path, adapter: Path | None = None) -> list[dict[str, list[object]]]:
    """What the real loader, or an adapter, makes of each directory."""
    words = ["--adapter", str(adapter)] if adapter else []
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "loaded_parameters.py"), *words, *map(str, paths)],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [outcome["error"] for outcome in outcomes] == [None] * len(paths)
    return [outcome["parameters"] for outcome in outcomes]


def broken(specimen: Specimen, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the specimen whose config.json is changed."""
    path = folder / specimen.path.name
    path.mkdir(parents=True)
    for entry in specimen.path.iterdir():
        if entry.name != "config.json":
            (path / entry.name).symlink_to(entry)
    config = json.loads((specimen.path / "config.json").read_text())
    change(config)
    (path / "config.json").write_text(json.dumps(config, indent=4) + "\n")
    return path


def fixed(path: Path, out: Path | None = None) -> Report:
    options = Options(model=str(path), timeout=120)
    report, error = write_fixes(diagnose(options), options, out)
    assert error is None
    assert to_json(from_json(to_json(report))) == to_json(report)
    return report


def test_two_faults_of_the_config(specimen: Callable[[str], Specimen], tmp_path: Path) -> None:
    whole = specimen("soprano")

    def change(config: dict[str, Any]) -> None:
        config["n_layers"] = config.pop("num_hidden_layers")
        config["intermediate_size"] *= 2

    path = broken(whole, tmp_path, change)
    report = fixed(path)
    assert report.written is not None and report.written.path is not None and report.written.loads
    made = Path(report.written.path)
    assert made == tmp_path / "diagnose-fixed" / whole.path.name
    assert json.loads((made / "config.json").read_text()) == whole.config
    assert (made / "config.json").read_text().startswith('{\n    "')
    mended, original = parameters(made, whole.path)
    assert mended == original
    assert parameters(path, adapter=next((made / "diagnose").glob("adapter_*.py"))) == [original]
    record = json.loads((made / "diagnose" / "undo.json").read_text())
    entry = read_entry(Path(str(report.written.registry)))
    assert (entry.id, entry.config, entry.directory) == (whole.path.name.lower(), whole.config, str(made))
    assert entry.mend["config_patch"] == record["config_patch"]
    assert record["original"] == str(path)
    assert record["fixes"] == list(report.written.fixes)


def test_names_of_tensors(specimen: Callable[[str], Specimen], tmp_path: Path) -> None:
    """Broken by NumPy; found, mended and written by us; loaded by mlx-audio with the values of the whole one."""
    whole = specimen("dia")
    path = broken(whole, tmp_path, lambda config: None)
    weights = next(path.glob("*.safetensors"))
    arrays = stored.read(weights)
    weights.unlink()
    stored.write(weights, {f"module.{name}": array for name, array in arrays.items()})
    report = fixed(path)
    assert report.written is not None and report.written.path is not None
    made = Path(report.written.path)
    mended, original = parameters(made, whole.path)
    assert mended == original
    assert parameters(path, adapter=next((made / "diagnose").glob("adapter_*.py"))) == [original]


def test_a_whole_model_needs_nothing(specimen: Callable[[str], Specimen], tmp_path: Path) -> None:
    report = fixed(specimen("soprano").path)
    assert report.written is not None
    assert (report.written.path, report.written.loads) == (None, True)
    assert not (tmp_path / "whole" / "diagnose-fixed").exists()


def test_what_a_model_that_loads_is_warned_of_is_mended(specimen: Callable[[str], Specimen], tmp_path: Path) -> None:
    """Kokoro takes the text "false" for true, without a word."""
    path = broken(specimen("kokoro"), tmp_path, lambda config: config.update(multispeaker="False"))
    report = fixed(path)
    assert report.verdict == "loads-with-warnings"
    assert report.written is not None and report.written.path is not None
    assert json.loads((Path(report.written.path) / "config.json").read_text())["multispeaker"] is False
    again = diagnose(Options(model=report.written.path, timeout=120))
    assert "config/wrong-type" not in [finding.failure_class for finding in again.findings]
    assert fixed(Path(report.written.path)).written == Written(None, True, "the model loads; there is nothing to mend")


def test_what_cannot_be_mended_is_not_written(specimen: Callable[[str], Specimen], tmp_path: Path) -> None:
    path = broken(specimen("soprano"), tmp_path, lambda config: None)
    (path / "model.safetensors").unlink()
    report = fixed(path)
    assert report.written is not None
    assert (report.written.path, report.written.loads) == (None, False)
    assert not (tmp_path / "diagnose-fixed").exists()


def test_the_diff_shows_and_writes_nothing(specimen: Callable[[str], Specimen], tmp_path: Path) -> None:
    path = broken(specimen("soprano"), tmp_path, lambda config: config.__setitem__("hidden_size", 128))
    options = Options(model=str(path), timeout=120)
    report = show_fixes(diagnose(options), options, None)
    assert report.written is not None and report.written.diff is not None
    patch = report.written.diff[report.written.diff.index("--- a/config.json") :]
    assert not (tmp_path / "diagnose-fixed").exists()
    subprocess.run(["git", "apply", "-p1"], cwd=path, input=patch, text=True, check=True)
    assert json.loads((path / "config.json").read_text())["hidden_size"] != 128


def test_weights_with_other_names_and_layouts(specimen: Callable[[str], Specimen], tmp_path: Path) -> None:
    """Broken by NumPy, mended by us, loaded by mlx-audio: parameter by parameter what the whole one has."""
    whole = specimen("kokoro")
    path = broken(whole, tmp_path, lambda config: None)
    weights = next(path.glob("*.safetensors"))
    arrays = stored.read(weights)
    conv = next(name for name, array in arrays.items() if array.ndim == 3 and len(set(array.shape)) == 3)
    spoilt = {f"module.{name}": array.transpose(2, 0, 1) if name == conv else array for name, array in arrays.items()}
    weights.unlink()
    stored.write(weights, spoilt, {"format": "pt"})
    mend = Mend(
        weight_map=(
            {"op": "rename", "from": "module.{rest}", "to": "{rest}"},
            {"op": "transpose", "name": conv, "axes": [1, 2, 0]},
        )
    )
    made = write_directory(path, tmp_path / "out" / path.name, mend, lambda *_: {})
    mended, original = parameters(made.path, whole.path)
    assert mended == original


def _only_shim(report: Report) -> Report:
    """``report`` as if a loader shim were all that was found to help, and changes of the model's files were not."""
    findings = [
        replace(finding, fixes=tuple(fix for fix in finding.fixes if not fix.config_patch and not fix.weight_map))
        for finding in report.findings
    ]
    left = {fix.id for finding in findings for fix in finding.fixes}
    return replace(report, findings=findings, mends=[name for name in report.mends if name in left])


@pytest.mark.parametrize(
    ("shim", "family", "kind", "options"),
    [
        pytest.param(
            "codec-when-used",
            "llama",
            "companion-missing",
            {"repository": "mlx-community/snac_24khz"},
            marks=pytest.mark.long,
        ),
        ("unknown-keys-dropped", "voxcpm", "key-unknown", {"path": "lm_config.num_experts", "value": 8}),
        ("sanitize-keeps-layout", "kokoro", "mlx-layout", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_loader_shim_gives_back_the_parameters_of_the_whole_model(
    specimen: Callable[[str], Specimen],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shim: str,
    family: str,
    kind: str,
    options: dict[str, Any],
) -> None:
    """Both forms of the adapter load the broken model, as it lies there."""
    whole = specimen(family)
    (expected,) = parameters(whole.path)
    mutant = mutate(whole, kind, tmp_path / "broken", **options).specimen
    for name, value in mutant.environment.items():
        monkeypatch.setenv(name, value)
    asked = Options(model=str(mutant.path), timeout=120)
    report, error = write_fixes(_only_shim(diagnose(asked)), asked, tmp_path / "out")
    assert error is None
    assert report.written is not None and report.written.loads
    assert {fix.shim for fix in chosen(report)} == {shim}
    for ending in ("py", "yaml"):
        (adapter,) = (tmp_path / "out").glob(f"adapter_*.{ending}")
        (found,) = parameters(mutant.path, adapter=adapter)
        if kind == "mlx-layout":  # written anew, so its values are others
            assert {name: row[:2] for name, row in found.items()} == {name: row[:2] for name, row in expected.items()}
        else:
            assert found == expected


def test_a_quantised_model_whose_scales_sanitize_drops(
    specimen: Callable[[str], Specimen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KugelAudio: sanitize drops the scales of lm_head and transposes what is packed. A shim and a patch mend both."""
    whole = specimen("kugelaudio")
    packed = quantised(whole, tmp_path / "packed")
    report = fixed(packed.path, tmp_path / "out")
    assert report.written is not None and report.written.loads
    assert [fix.shim for fix in chosen(report)] == ["sanitize-keeps-scales"]
    held = stored.read(next(packed.path.glob("*.safetensors")))
    kept = {name: array for name, array in held.items() if name.rpartition(".")[0] + ".scales" in held}
    expected = {
        name.removeprefix("model."): hashlib.sha256(array.tobytes()).hexdigest() for name, array in kept.items()
    }
    assert {"lm_head.scales", "language_model.layers.0.mlp.up_proj.weight"} <= set(expected)
    for ending in ("py", "yaml"):
        (adapter,) = (tmp_path / "out").glob(f"adapter_*.{ending}")
        (found,) = parameters(packed.path, adapter=adapter)
        assert {name: found[name][2] for name in expected} == expected
    _apply(next((tmp_path / "out").glob("keep-packed-*.patch")), package_folder(sys.executable), tmp_path / "patched")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patched"))
    assert parameters(packed.path) == [found]


def _apply(file: Path, folder: Path | None, patched: Path) -> None:
    """The patch in ``file`` applied by git to a copy of the package in ``folder``, whose other files are links."""
    assert folder is not None
    copy_package(folder, patched)
    changed = next(row[6:] for row in file.read_text().splitlines() if row.startswith("+++ b/"))
    (patched / changed).unlink()
    shutil.copyfile(folder / changed, patched / changed)
    subprocess.run(["git", "apply", "--check", str(file)], cwd=patched, check=True)
    subprocess.run(["git", "apply", str(file)], cwd=patched, check=True)


@pytest.mark.parametrize(
    ("family", "kind", "options", "patch"),
    [
        pytest.param(
            "llama",
            "companion-missing",
            {"repository": "mlx-community/snac_24khz"},
            "first-use-llama",
            marks=pytest.mark.long,
        ),
        ("kokoro", "mlx-layout", {}, "keep-fitting-kokoro"),
        ("kokoro", "key-unknown", {"path": "istftnet.gen_istft_win_size", "value": 20}, "known-keys-kokoro"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_defect_of_mlx_audio_gets_a_patch_with_which_the_model_loads(
    specimen: Callable[[str], Specimen],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    kind: str,
    options: dict[str, Any],
    patch: str,
) -> None:
    pytest.importorskip("libcst")
    mutant = mutate(specimen(family), kind, tmp_path / "broken", **options).specimen
    for name, value in mutant.environment.items():
        monkeypatch.setenv(name, value)
    report = fixed(mutant.path)
    assert report.written is not None and report.written.path is not None and report.written.loads
    (file,) = Path(report.written.path).rglob(f"{patch}.patch")
    # The unmodified rest of the package loads the broken model.
    _apply(file, package_folder(sys.executable), tmp_path / "patched")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patched"))
    (loaded,) = parameters(mutant.path)
    assert loaded


@pytest.mark.long
@pytest.mark.parametrize(
    ("defect", "family", "name", "model_type", "patch"),
    [
        ("remapping-ignored", "sesame", "some-voice", "csm", "mapped-type-utils"),
        ("path-as-text", "soprano", "Soprano-80M-bf16", "soprano", "path-as-text-soprano"),
    ],
)
def test_a_defect_of_an_older_release_gets_a_patch_as_well(
    specimen: Callable[[str], Specimen],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    defect: str,
    family: str,
    name: str,
    model_type: str,
    patch: str,
) -> None:
    pytest.importorskip("libcst")
    whole = specimen(family)
    expected = parameters(whole.path)
    path = broken(whole, tmp_path / "broken", lambda config: config.__setitem__("model_type", model_type))
    path = path.rename(path.with_name(name))
    folder = older(tmp_path / "older", defect)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    report = fixed(path, tmp_path / "out" / name)
    assert report.written is not None and report.written.loads
    (file,) = (tmp_path / "out").rglob(f"{patch}.patch")
    _apply(file, folder, tmp_path / "patched")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "patched"), str(folder)]))
    assert parameters(path) == expected


def _reading_values(specimen: Callable[[str], Specimen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint with a prefix too many, for a sanitize that reads values: hollow weights prove nothing there."""
    mutant = mutate(specimen("soprano"), "prefix-added", tmp_path / "broken", prefix="module.").specimen
    monkeypatch.setenv("PYTHONPATH", str(older(tmp_path / "older", "values-read")))
    return mutant.path


@pytest.mark.long
def test_where_values_are_read_the_weights_are_really_rewritten_for_a_trial(
    specimen: Callable[[str], Specimen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _reading_values(specimen, tmp_path, monkeypatch)
    report = fixed(path, tmp_path / "out" / path.name)
    (fix,) = chosen(report)
    assert "values included" in str(fix.reason)
    assert parameters(tmp_path / "out" / path.name) == parameters(tmp_path / "whole" / path.name)


def test_weights_that_are_too_large_for_that_are_not_rewritten_and_the_fix_says_so(
    specimen: Callable[[str], Specimen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant = mutate(specimen("soprano"), "tensor-extra", tmp_path / "broken").specimen
    monkeypatch.setenv("PYTHONPATH", str(older(tmp_path / "older", "values-read")))
    monkeypatch.setattr(bench, "MAX_REWRITTEN", 1000)
    report = diagnose(Options(model=str(mutant.path), timeout=120))
    assert not report.mends
    fixes = [fix for finding in report.findings for fix in finding.fixes if fix.weight_map]
    assert {fix.applicability for fix in fixes} == {"unverified"}
    assert any("are more than the 0 GB that are rewritten for a trial" in str(fix.reason) for fix in fixes), fixes


@pytest.mark.parametrize("folder", ["models", "hub", "hub/models"])
@pytest.mark.parametrize("name", ["Kokoro-82M-bf16", "Soprano-1.1-80M", "csm-1b", "a.b_c-d", "orpheus-3b-0.1-ft-bf16"])
def test_the_default_place_has_the_same_name_parts(tmp_path: Path, folder: str, name: str) -> None:
    utils = pytest.importorskip("mlx_audio.utils")
    model = tmp_path / folder / name
    model.mkdir(parents=True)
    target = default_target(locate(str(model)))
    for kind in (str, Path):
        assert utils.get_model_name_parts(kind(target)) == utils.get_model_name_parts(kind(model))
    target.mkdir(parents=True)
    again = default_target(locate(str(model)))
    assert again.name == name and not again.exists()


def test_a_snapshot_is_mended_outside_the_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    made = snapshot(tmp_path / "hf", "org/Kokoro-82M")
    (made / "config.json").write_text("{}")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for model in ("org/Kokoro-82M", str(made)):
        assert default_target(locate(model)) == here / "diagnose-fixed" / "Kokoro-82M"


def _finding(number: int, *fixes: Fix, **changes: Any) -> Finding:
    found = Finding(f"f{number}", "rule", "config/renamed-key", "error", 0.9, "construct", "t", "c", fixes=fixes)
    return replace(found, **changes)


def _fix(number: int, value: int, applicability: Any = "verified") -> Fix:
    change: Mapping[str, Any] = {"op": "add", "path": "/a", "value": value}
    return Fix(f"x{number}", "config-patch", "t", applicability, None, config_patch=(change,))


def test_one_verified_fix_of_every_root_is_chosen_in_the_order_found(sample: Callable[[str], Report]) -> None:
    findings = [
        _finding(1, _fix(10, 1, "unverified"), _fix(11, 2), _fix(12, 3)),
        _finding(2, _fix(2, 4)),
        _finding(3, _fix(3, 4)),
        _finding(4, _fix(4, 5), root=False),
        _finding(5, _fix(5, 6), severity="warning"),
    ]
    report = replace(sample("fails"), findings=findings)
    assert [fix.id for fix in chosen(report)] == ["x2", "x11"]
    assert [fix.id for fix in chosen(replace(report, verdict="loads-with-warnings"))] == ["x5"]
