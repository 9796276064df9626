"""What a pasted text tells: stage and what it proves, model, machine, tensors, known defects."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_diagnose.collectors import traceback_facts
from mlx_diagnose.collectors.traceback_environment import environment_in
from mlx_diagnose.collectors.traceback_facts import Reading
from mlx_diagnose.collectors.traceback_tensors import tensor_message
from mlx_diagnose.collectors.traceback_text import parse
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Fact, Scalar

SITE = "/home/me/env/lib/python3.11/site-packages"
SHARED = ("mlx_audio/utils.py", "base_load_model")
OLD = ("mlx_audio/tts/utils.py", "load_model")
FAMILY = "mlx_audio/tts/models/kokoro/kokoro.py"


def text_of(error: str, *frames: tuple[str, str, str], site: str = SITE) -> str:
    """A traceback of ``frames``, each a file below site-packages (or absolute), a function and its line."""
    rows = ["Traceback (most recent call last):"]
    for number, (file, function, source) in enumerate(frames, start=10):
        path = file if file.startswith(("/", "<")) else f"{site}/{file}"
        rows += [f'  File "{path}", line {number}, in {function}', f"    {source}"]
    return "\n".join([*rows, error, ""])


def read(text: str) -> Reading:
    return traceback_facts.read(parse(text))


def memory_of(text: str) -> WorkingMemory:
    memory, pasted = WorkingMemory(), parse(text)
    traceback_facts.collect(memory, pasted, traceback_facts.read(pasted))
    return memory


def one(memory: WorkingMemory, kind: str, **fields: Scalar) -> Fact:
    (fact,) = memory.of(kind, **fields)
    return fact


# -- stages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "frames"),
    [
        ("resolve", [(*SHARED, "model_path = get_model_path("), ("huggingface_hub/x.py", "download", "raise X")]),
        ("config", [(*SHARED, "config = load_config(model_path)")]),
        ("architecture", [(*SHARED, "model_class, model_type = get_model_class(")]),
        ("architecture", [("mlx_audio/tts/utils.py", "get_model_and_args", "")]),
        ("import", [(*SHARED, "m = get_model_class("), (FAMILY, "<module>", "import nothing")]),
        (
            "import",
            [("/me/speak.py", "<module>", "import mlx_audio"), ("mlx_audio/__init__.py", "<module>", "import x")],
        ),
        (
            "construct",
            [(*SHARED, "model_class.ModelConfig.from_dict(config)"), ("mlx_audio/tts/models/base.py", "from_dict", "")],
        ),
        ("construct", [(*SHARED, "model = model_class.Model(model_config)"), (FAMILY, "sanitize", "")]),
        ("weights", [(*SHARED, "weights = load_weights(model_path)")]),
        ("weights", [(*OLD, "weights.update(mx.load(wf))")]),
        ("sanitize", [(*SHARED, "weights = model.sanitize(weights)"), (FAMILY, "sanitize", "")]),
        ("quantize", [(*SHARED, "apply_quantization(model, config, weights, predicate)")]),
        ("quantize", [(*OLD, "nn.quantize(")]),
        ("load", [(*SHARED, "model.load_weights(list(weights.items()), strict=strict)")]),
        ("load", [("mlx/nn/layers/base.py", "load_weights", "raise ValueError(")]),
        ("post_load", [(*SHARED, "model = model_class.Model.post_load_hook(model, path)"), (FAMILY, "__init__", "")]),
        ("post_load", [("/me/speak.py", "<module>", "m.generate()"), (FAMILY, "generate", "raise X")]),
        ("construct", [("mlx_audio/stt/models/whisper/whisper.py", "from_pretrained", "model = cls.Model(config)")]),
        (None, [("/me/speak.py", "f", "x")]),
    ],
)
def test_the_stage_is_the_outermost_step_that_was_running(
    stage: str | None, frames: list[tuple[str, str, str]]
) -> None:
    assert read(text_of("RuntimeError: it broke", *frames)).stage == stage


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ("architecture", "ValueError: Model type dia not supported."),
        ("import", "ModuleNotFoundError: No module named 'soxr'"),
        ("import", "ImportError: \nMissing dependency while loading spark: No module named 'soxr'"),
        ("load", "ValueError: Missing 2 parameters: \na.weight,\nb.weight."),
        ("construct", "TypeError: ModelConfig.__init__() missing 1 required positional argument: 'dim'"),
        ("weights", "RuntimeError: [load_safetensors] Invalid json header length file /m/model.safetensors"),
        (None, "LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder"),
        (None, "KeyError: 'sample_rate'"),
    ],
)
def test_a_message_alone_tells_a_stage_only_if_it_belongs_to_one(stage: str | None, error: str) -> None:
    reading = read(error)
    assert reading.stage == stage
    assert not reading.passed


def test_what_has_passed_is_proven_by_the_line_of_the_load_function() -> None:
    always = {"resolve", "config", "architecture", "import", "construct", "weights"}
    loads = (*SHARED, "model.load_weights(list(weights.items()), strict=strict)")
    assert read(text_of("ValueError: x", loads)).passed == always
    assert read(text_of("ValueError: x", (*SHARED, "model = model_class.Model(config)"))).passed == always - {
        "construct",
        "weights",
    }
    # Before 0.3.0 weights were read before the family was looked for.
    assert read(text_of("ValueError: x", (*OLD, "model = model_class.Model(config)"))).passed == always - {"construct"}
    assert read(text_of("ValueError: x", (*OLD, "weights.update(mx.load(wf))"))).passed == {"resolve", "config"}
    # What a family does in a method of its own proves nothing of the loader.
    assert read(text_of("ValueError: x", (FAMILY, "__init__", "self.a = b"))).passed == set()


# -- the model and the machine -----------------------------------------------------------------------


def test_family_category_and_name() -> None:
    call = ("/me/speak.py", "<module>", 'model = load_model("mlx-community/Kokoro-82M-bf16")')
    model = read(
        text_of("KeyError: 'x'", call, (*SHARED, "model = model_class.Model(c)"), (FAMILY, "__init__", "c['x']"))
    ).model
    assert (model.category, model.family, model.name, model.is_hub_id) == (
        "tts",
        "kokoro",
        "mlx-community/Kokoro-82M-bf16",
        True,
    )
    codec = text_of(
        "KeyError: 'x'", (FAMILY, "__init__", ""), ("mlx_audio/codec/models/snac/snac.py", "__init__", "c['x']")
    )
    assert read(codec).model.family == "kokoro"
    assert read(f"$ python -m mlx_audio.tts.generate --model ./voice --text x\n{codec}").model.name == "./voice"
    cached = "/home/me/.cache/huggingface/hub/models--org--voice/snapshots/abc/config.json"
    assert read(f"FileNotFoundError: [Errno 2] No such file or directory: '{cached}'").model.name == "org/voice"
    weights = "RuntimeError: [load_safetensors] Invalid json header length file /models/voice/model.safetensors"
    assert read(weights).model.name == "/models/voice"


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        ("mlx-audio==0.4.4\nmlx==0.31.2", {"mlx-audio": "0.4.4", "mlx": "0.31.2"}),
        (
            "mlx-audio          0.6.2\nmlx_lm             0.31.1\nnumpy    2.1.0",
            {"mlx-audio": "0.6.2", "mlx-lm": "0.31.1", "numpy": "2.1.0"},
        ),
        ("I use mlx-audio 0.4.4 with transformers v5.13.0.", {"mlx-audio": "0.4.4", "transformers": "5.13.0"}),
        ("works with mlx-audio 0.4.3 but not with mlx-audio 0.4.4", {}),
        (
            "Successfully installed mlx-0.31.2 mlx-audio-0.4.5 numpy-2.1.0",
            {"mlx": "0.31.2", "mlx-audio": "0.4.5", "numpy": "2.1.0"},
        ),
        ("misaki>=0.8.2 is wanted, mlx-audio>=0.4 too", {}),
        ('"mlx-audio": "0.5.1"', {"mlx-audio": "0.5.1"}),
        ("mlx-audio==0.4.*", {}),
    ],
)
def test_versions(text: str, packages: dict[str, str]) -> None:
    assert environment_in(text.split("\n"), ()).packages == packages


def test_versions_of_paths_go_before_words() -> None:
    frame = ("/nix/store/x-mlx-audio-0.4.4/lib/python3.12/site-packages/mlx_audio/utils.py", "f", "")
    told = read(f"mlx-audio 0.6.2 is the newest.\n{text_of('KeyError: 1', frame)}").told
    assert (told.packages, told.python) == ({"mlx-audio": "0.4.4"}, "3.12")
    assert read("mlx-lm: not installed\nKeyError: 1").told.absent == {"mlx-lm"}


@pytest.mark.parametrize(
    ("site", "system", "python"),
    [
        ("/Users/me/.venv/lib/python3.12/site-packages", "Darwin", "3.12"),
        ("/opt/homebrew/lib/python3.13/site-packages", "Darwin", "3.13"),
        ("/home/me/x/lib/python3.10/site-packages", "Linux", "3.10"),
        ("/srv/x/lib/python3.9/site-packages", None, "3.9"),
    ],
)
def test_system_and_python(site: str, system: str | None, python: str) -> None:
    told = read(text_of("KeyError: 1", (FAMILY, "f", ""), site=site)).told
    assert (told.system, told.python) == (system, python)


def test_windows() -> None:
    file = "C:\\Python311\\Lib\\site-packages\\mlx_audio\\utils.py"
    text = f'Traceback (most recent call last):\n  File "{file}", line 3, in load_config\n    x\nKeyError: 1\n'
    told = read(text).told
    assert (told.system, told.python, read(text).stage) == ("Windows", "3.11", "config")
    assert one(memory_of(text), "exception")["origin"] == "loader"
    json = text.replace("site-packages\\mlx_audio\\utils.py", "json\\decoder.py")
    assert one(memory_of(json), "exception")["origin"] == "stdlib"


def test_a_checkout_in_a_folder_of_the_same_name() -> None:
    text = text_of("KeyError: 1", ("/home/me/mlx_audio/mlx_audio/tts/models/kokoro/kokoro.py", "__init__", "x"))
    assert read(text).model.family == "kokoro"


# -- tensors ------------------------------------------------------------------------------------------


def test_names_are_collapsed_and_counted() -> None:
    names = ",\n".join(f"layers.{layer}.{part}_proj.weight" for layer in range(3) for part in "qk")
    memory = memory_of(f"ValueError: Missing 6 parameters: \n{names}.")
    found = {str(fact["tensor"]): fact["count"] for fact in memory.of("tensor_difference", status="missing")}
    assert found == {"layers.{0..2}.q_proj.weight": 3, "layers.{0..2}.k_proj.weight": 3}
    assert one(memory, "weights_difference", raised=True, strict=True)["missing"] == 6


@pytest.mark.parametrize(
    "message",
    [
        "Received 190 parameters not in model: embed.weight, norm.weight, ...",
        "Received 190 parameters not in model: \nembed.weight,\nnorm.weight,\n[...]",
        "Received parameters not in model: embed.weight norm.weight.",
        "Received 2 parameters not in model: \nembed.weight,\nnorm.weight.\nEXIT 1",
    ],
)
def test_lists_of_names_of_every_release_and_cut(message: str) -> None:
    told = tensor_message(message)
    assert told is not None
    assert told.status == "unexpected"
    assert told.names == ("embed.weight", "norm.weight")
    assert told.count == (190 if "190" in message else 2)


@pytest.mark.parametrize(
    ("expected", "received", "permutation", "bits"),
    [
        ("(64, 3, 64)", "(64, 64, 3)", (0, 2, 1), None),
        ("(64, 64)", "(64, 8)", None, (None, 4)),
        ("(2048, 2048)", "(2048, 512)", None, (None, 8)),
        ("(64, 8)", "(64, 16)", None, (4, 8)),
        ("(512, 64)", "(256, 64)", None, None),
        ("(64,)", "(8,)", None, None),
        ("(64, 60)", "(64, 50)", None, None),
    ],
)
def test_what_two_shapes_say(
    expected: str, received: str, permutation: tuple[int, ...] | None, bits: tuple[int | None, int] | None
) -> None:
    told = tensor_message(f"Expected shape {expected} but received shape {received} for parameter a.q_proj.weight")
    assert told is not None
    assert (told.permutation, told.bits) == (permutation, bits)


@given(st.text(max_size=200))
def test_no_message_breaks_it(message: str) -> None:
    for head in ("", "Missing 3 parameters: ", "Received 2 parameters not in model: ", "Expected shape (1, 2) but "):
        tensor_message(head + message)


# -- the hub, types, releases -------------------------------------------------------------------------


OFFLINE = "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find it and outgoing traffic has been disabled."


def test_the_repository_that_a_family_asks_for() -> None:
    asks = (FAMILY, "<module>", 'snac = SNAC.from_pretrained("mlx-community/snac_24khz").eval()')
    memory = memory_of(
        text_of(
            OFFLINE, (*SHARED, "m = get_model_class("), asks, ("huggingface_hub/_s.py", "snapshot_download", "raise")
        )
    )
    reach = one(memory, "reach")
    assert (reach["target"], reach["outcome"], reach["at_import"], reach["stage"]) == (
        "mlx-community/snac_24khz",
        "not-cached",
        True,
        "import",
    )
    assert reach["file"] == f"{SITE}/{FAMILY}"
    assert one(memory, "target")["offline_by_user"] is True


def test_the_model_that_is_not_cached() -> None:
    cause = text_of(
        "huggingface_hub.errors.OfflineModeIsEnabled: "
        "Cannot reach https://huggingface.co/api/models/org/voice/revision/main: offline mode is enabled.",
        ("huggingface_hub/h.py", "send", "raise"),
    )
    link = "\nThe above exception was the direct cause of the following exception:\n\n"
    memory = memory_of(cause + link + text_of(OFFLINE, (*SHARED, "model_path = get_model_path(")))
    target = one(memory, "target")
    assert (target["model"], target["source"], target["state"]) == ("org/voice", "hub", "uncached")


NOT_THERE = (
    "ModuleNotFoundError: No module named 'mlx_audio.tts.models.{type}'\n\n"
    "During handling of the above exception, another exception occurred:\n\n{raised}"
)


def unsupported(type: str, suffix: str = "", version: str = "") -> str:
    raised = text_of(
        f"ValueError: Model type {type} not supported{suffix}.",
        (
            "mlx_audio/utils.py" if suffix else "mlx_audio/tts/utils.py",
            "get_model_class" if suffix else "get_model_and_args",
            "raise",
        ),
    )
    return text_of(NOT_THERE.format(type=type, raised=raised), ("importlib/__init__.py", "import_module", "")) + version


def test_a_type_whose_module_is_not_there() -> None:
    memory = memory_of(unsupported("dia"))
    assert one(memory, "resolution")["family_exists"] is False
    assert one(memory, "type_candidate")["since"] == "0.1.0"
    # The release maps the type: it was not applied.
    memory = memory_of(unsupported("csm", " for tts", "mlx-audio==0.5.9"))
    assert one(memory, "resolution", declared_exists=True)["declared_family"] == "sesame"
    # Its words tell that it is not older than the mapping.
    assert one(memory_of(unsupported("csm", " for tts")), "resolution")["declared_exists"] is True
    # A release that is too old for the type.
    memory = memory_of(unsupported("csm", "", "mlx-audio==0.2.3"))
    assert one(memory, "resolution")["declared_exists"] is False
    # Whichever: nothing is said.
    assert not memory_of(unsupported("csm")).of("resolution")
    assert not memory_of(unsupported("nosuch")).of("resolution")
    assert one(memory_of(unsupported("whisper")), "type_candidate")["category"] == "stt"


def defects(text: str) -> dict[str, tuple[bool, bool]]:
    found = memory_of(text).of("release_defect")
    return {str(fact["defect"]): (bool(fact["version_known"]), bool(fact["family_known"])) for fact in found}


SOPRANO = "ValueError: Received 14 parameters not in model: \nembed_tokens.weight,\nnorm.weight."


def test_known_defects_that_fit() -> None:
    assert defects(SOPRANO) == {"soprano-1-1-prefix": (False, False)}
    assert defects(f"mlx-audio==0.3.1\n{SOPRANO}") == {"soprano-1-1-prefix": (True, False)}
    assert defects(f"mlx-audio==0.4.0\n{SOPRANO}") == {}
    assert defects(SOPRANO.replace("embed_tokens", "other")) == {}
    shapes = "ValueError: Expected shape (512, 7, 256) but received shape (512, 256, 7)"
    twice = f"{shapes} for parameter predictor.F0.1.conv1.weight_v"
    assert defects(twice) == {"kokoro-transposes-twice": (False, False)}
    assert defects(twice.replace("(512, 256, 7)", "(512, 256, 9)")) == {}
    assert defects("ERROR: No matching distribution found for misaki>=0.8.2") == {"misaki-python-limit": (False, True)}


def test_a_defect_of_another_family_or_system_does_not_fit() -> None:
    fetch = (FAMILY, "post_load_hook", "snapshot_download(")
    assert "snac-at-import" not in defects(
        text_of("LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder", fetch)
    )
    assert "snac-at-import" not in defects("LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder")
    metal = "RuntimeError: [metal_kernel] No Metal back-end."
    frame = ("mlx_audio/codec/models/encodec/encodec.py", "<module>", "k = mx.fast.metal_kernel(")
    assert "encodec-needs-metal" in defects(text_of(metal, frame))
    assert "encodec-needs-metal" not in defects(text_of(metal, frame, site="/Users/me/lib/python3.12/site-packages"))
    assert "encodec-needs-metal" not in defects(f"mlx==0.32.1\n{text_of(metal, frame)}")


def test_the_words_of_the_loader_bound_its_release() -> None:
    """ "not supported for tts" came with 0.3.0, so a defect of older releases is not it."""
    assert "csm-transformers-layout" in defects(unsupported("csm"))
    assert "csm-transformers-layout" not in defects(unsupported("csm", " for tts"))
    assert defects(unsupported("csm", " for tts")) == {"remapping-ignored": (False, True)}


# -- nothing of this machine --------------------------------------------------------------------------


def test_files_of_this_machine_are_not_looked_at(tmp_path: Path) -> None:
    """A path of a text names a file of another machine, whatever lies there on this one."""
    memory = memory_of(f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path}'")
    assert one(memory, "file_wanted")["path"] == str(tmp_path)
    # Here that line takes a key of the weights, which would be no key of the config.
    source = tmp_path / "mlx_audio" / "tts" / "models" / "kokoro" / "kokoro.py"
    source.parent.mkdir(parents=True)
    source.write_text("class Model:\n    def __init__(self, weights):\n        weights['dim']\n")
    text = f"Traceback (most recent call last):\n  File \"{source}\", line 3, in __init__\nKeyError: 'dim'\n"
    assert one(memory_of(text), "missing_key")["path"] == "dim"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.sampled_from(
                [
                    SOPRANO,
                    OFFLINE,
                    unsupported("dia"),
                    'Traceback (most recent call last):\n  File "',
                    '", line 3, in ',
                    "mlx_audio/tts/models/",
                    "ERROR: No matching distribution found for ",
                    "Fatal Python error: Segmentation fault\n",
                    "mlx-audio==",
                    "0.4.4\n",
                    "\nKeyError: ",
                    "\x00",
                    "\ud800",
                ]
            ),
        ),
        max_size=12,
    ).map("".join)
)
def test_no_text_breaks_it(text: str) -> None:
    for fact in memory_of(text):
        str(fact.fields).encode("utf-8", "strict")
