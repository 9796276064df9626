"""What exceptions tell: real ones of mlx-audio's classes, and the words of other systems as recorded."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.config import collect as collect_config
from mlx_diagnose.collectors.exception_docs import ExceptionDoc, documents
from mlx_diagnose.collectors.exceptions import ExceptionContext, collect
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_SITE = "/venv/lib/python3.11/site-packages"
_AT = Provenance("test")

_SCRIPT = """
import importlib, json, sys
from mlx_diagnose.collectors.probes import failures

KOKORO = dict(istftnet={}, dim_in=1, dropout=0.1, hidden_dim=8, max_conv_dim=8, max_dur=3, multispeaker=True,
              n_layer=1, n_mels=8, n_token=10, style_dim=8, text_encoder_kernel_size=3, vocab={})

def build(family, config):
    module = importlib.import_module("mlx_audio.tts.models." + family)
    if hasattr(module, "ModelConfig"):
        config = module.ModelConfig.from_dict(config)
    module.Model(config)

found = {}
for name, family, config in [
    ("dia", "dia", {"model_type": "dia"}),
    ("bark", "bark", {"model_type": "bark"}),
    ("twice", "kokoro", dict(KOKORO, plbert={"vocab_size": 3})),
    ("unexpected", "kokoro", dict(KOKORO, plbert={"num_layers": 3})),
    ("null", "kokoro", dict(KOKORO, plbert=None)),
    ("sesame", "sesame", {"model_type": "csm"}),
]:
    try:
        build(family, config)
    except Exception as error:
        found[name] = {"chain": failures.chain(error, "construct"), "config": config}
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    """Exceptions that mlx-audio's own classes raise for broken configs, as the probe describes them."""
    if importlib.util.find_spec("mlx_audio") is None:
        pytest.skip("mlx-audio is not installed")
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _doc(
    type_: str, message: str, source: str = "", file: str = f"{_SITE}/mlx_audio/tts/models/x/x.py", **more: Any
) -> ExceptionDoc:
    attributes = more.pop("attributes", {})
    frames = [
        {
            "file": f"{_SITE}/mlx_audio/utils.py",
            "line": 390,
            "function": "base_load_model",
            "source": "model_class.Model(c)",
        },
        {"file": file, "line": 7, "function": "Model.__init__", "module": "mlx_audio.tts.models.x.x", "source": source},
    ]
    data = {"stage": "construct", "type": type_, "message": message, "attributes": attributes, "frames": frames, **more}
    return ExceptionDoc.from_json(data)


def _facts(*docs: ExceptionDoc, memory: WorkingMemory | None = None, **context: Any) -> WorkingMemory:
    memory = WorkingMemory() if memory is None else memory
    collect(memory, docs, ExceptionContext(**context))
    return memory


def _from_real(case: dict[str, Any], tmp_path: Path) -> WorkingMemory:
    (tmp_path / "config.json").write_text(json.dumps(case["config"]))
    memory = WorkingMemory()
    config = collect_config(memory, tmp_path).data
    return _facts(*documents(case["chain"]), memory=memory, config=config)


# -- real classes ------------------------------------------------------------------------------


def test_all_missing_arguments_of_a_real_class(real: dict[str, Any], tmp_path: Path) -> None:
    memory = _from_real(real["bark"], tmp_path)
    assert [(f["class_name"], f["path"]) for f in memory.of("missing_argument")] == [
        ("ModelConfig", "semantic_config"),
        ("ModelConfig", "coarse_acoustics_config"),
        ("ModelConfig", "fine_acoustics_config"),
        ("ModelConfig", "codec_config"),
    ]
    (exception,) = memory.of("exception")
    assert (exception["origin"], exception["package"], exception["root_cause"]) == ("family", "mlx-audio", True)


def test_an_argument_given_twice_is_traced_to_its_section(real: dict[str, Any], tmp_path: Path) -> None:
    (fact,) = _from_real(real["twice"], tmp_path).of("unexpected_argument")
    assert (fact["class_name"], fact["name"], fact["path"]) == ("AlbertModelArgs", "vocab_size", "plbert.vocab_size")
    assert fact["in_config"] is True


def test_an_unexpected_argument_is_traced_to_its_section(real: dict[str, Any], tmp_path: Path) -> None:
    (fact,) = _from_real(real["unexpected"], tmp_path).of("unexpected_argument")
    assert (fact["class_name"], fact["path"], fact["in_config"]) == ("AlbertModelArgs", "plbert.num_layers", True)


def test_a_null_section_is_named(real: dict[str, Any], tmp_path: Path) -> None:
    (fact,) = _from_real(real["null"], tmp_path).of("missing_key")
    assert (fact["path"], fact["how"]) == ("plbert", "none")


def test_a_config_object_that_came_to_nothing(real: dict[str, Any], tmp_path: Path) -> None:
    (fact,) = _from_real(real["dia"], tmp_path).of("missing_key")
    assert (fact["path"], fact["how"]) == ("model", "none")
    assert str(fact["file"]).endswith("dia/layers.py")


def test_attributes_a_config_object_lacks_and_the_root_of_the_chain(real: dict[str, Any], tmp_path: Path) -> None:
    memory = _from_real(real["sesame"], tmp_path)
    assert {(f["path"], f["how"]) for f in memory.of("missing_key")} == {
        ("backbone_flavor", "attribute"),
        ("num_hidden_layers", "attribute"),
    }
    assert [(f["role"], f["root_cause"]) for f in memory.of("exception")] == [("raised", False), ("cause", True)]


# -- config keys -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("doc", "path", "how"),
    [
        (_doc("KeyError", "'bits'", 'bits=config["quantization"]["bits"],'), "quantization.bits", "key"),
        (_doc("KeyError", "'rates'", 'rates = self.config["decoder"]["rates"][0]'), "decoder.rates", "key"),
        (_doc("KeyError", "'dim'", "", attributes={"key": "dim"}), "dim", "key"),
        (_doc("AttributeError", "'NoneType' object has no attribute 'dim'", "x = config.audio.dim"), "audio", "none"),
        (_doc("TypeError", "'NoneType' object is not subscriptable", 'n = cfg["audio"]["n"]'), "audio", "none"),
        (
            _doc("TypeError", "unsupported operand type(s) for //: 'NoneType' and 'int'", "config.dim // config.heads"),
            "dim",
            "none",
        ),
        (
            _doc("ValueError", "MOSS-TTS requires language_config", 'raise ValueError("...")'),
            "language_config",
            "message",
        ),
        (_doc("ValueError", "Missing text_config in Ming Omni config"), "text_config", "message"),
        (_doc("AttributeError", "'TalkerArgs' object has no attribute 'dim'", "args.dim"), "dim", "attribute"),
    ],
)
def test_keys_that_code_wants(doc: ExceptionDoc, path: str, how: str) -> None:
    config = {"quantization": {"group_size": 64}, "decoder": {}, "audio": None, "heads": 4, "dim": None}
    if how == "key" or how == "attribute":
        config.pop("dim")
    (fact,) = _facts(doc, config=config).of("missing_key")
    assert (fact["path"], fact["name"], fact["how"]) == (path, path.rpartition(".")[2], how)


@pytest.mark.parametrize(
    "doc",
    [
        _doc("KeyError", "'encoder.weight'", 'w = weights["encoder.weight"]'),
        _doc("KeyError", "'HOME'", 'os.environ["HOME"]', file="/usr/lib/python3.11/os.py"),
        _doc("KeyError", "'dim'", 'config["dim"]'),
        _doc("AttributeError", "'NoneType' object has no attribute 'encode'", "self.tokenizer.encode(text)"),
        _doc("AttributeError", "'str' object has no attribute '__module__'", "key.__module__.startswith('x')"),
        _doc("ValueError", "n_embd=7 must be divisible by n_head=2"),
        _doc("ValueError", "dim must be set", 'raise ValueError("dim must be set")'),
    ],
)
def test_what_is_not_about_a_missing_key(doc: ExceptionDoc) -> None:
    assert not _facts(doc, config={"dim": 8}).of("missing_key")


def test_the_section_of_a_class_comes_from_the_signature() -> None:
    memory = WorkingMemory()
    memory.add("config_class", _AT, class_name="ModelArgs", section="language_config", unknown_keys="dropped")
    message = "ModelArgs.__init__() missing 2 required positional arguments: 'hidden_size' and 'vocab_size'"
    _facts(_doc("TypeError", message, "return cls("), memory=memory)
    assert [f["path"] for f in memory.of("missing_argument")] == [
        "language_config.hidden_size",
        "language_config.vocab_size",
    ]


def test_the_path_of_a_key_comes_from_the_line_that_reads_it() -> None:
    memory = WorkingMemory()
    for line, path in ((7, "audio_config.sample_rate"), (99, "vocoder.sample_rate")):
        memory.add(
            "absent_key",
            Provenance("test", file=f"{_SITE}/mlx_audio/tts/models/x/x.py", line=line),
            path=path,
            section=path.partition(".")[0],
            name="sample_rate",
            class_name="AudioVAE",
            required=True,
            is_section=False,
        )
    doc = _doc("KeyError", "'sample_rate'", 'self.rate = int(config["sample_rate"])')
    (fact,) = _facts(doc, memory=memory, config={}).of("missing_key")
    assert fact["path"] == "audio_config.sample_rate"


def test_an_unqualified_method_of_an_old_python_gets_its_class_from_the_line() -> None:
    doc = _doc(
        "TypeError", "__init__() missing 1 required positional argument: 'flavor'", "args = SesameArgs(**config)"
    )
    (fact,) = _facts(doc, config={}).of("missing_argument")
    assert (fact["class_name"], fact["section"], fact["path"]) == ("SesameArgs", "", "flavor")


# -- imports -----------------------------------------------------------------------------------


def _masked(raised: str, type_: str = "ValueError") -> list[ExceptionDoc]:
    cause = _doc(
        "ModuleNotFoundError",
        "No module named 'misaki'",
        "from misaki import en",
        role="cause",
        order=1,
        stage="import",
    )
    return [_doc(type_, raised, stage="import"), cause]


def test_a_missing_module_behind_an_unsupported_model_type() -> None:
    (fact,) = _facts(*_masked("Model type kokoro not supported for tts.")).of("missing_module")
    assert fact["masked_as"] == "Model type kokoro not supported for tts."
    assert (fact["module"], fact["kind_of"], fact["importer"]) == ("misaki", "dependency", "mlx_audio.tts.models.x.x")


def test_a_message_that_names_the_module_does_not_mask_it() -> None:
    (named,) = _facts(*_masked("Kokoro requires misaki, which is not installed")).of("missing_module")
    assert named["masked_as"] is None
    said = "\nMissing dependency while loading kokoro: No module named 'misaki'\nPlease install it"
    (fact,) = _facts(*_masked(said, "ImportError")).of("missing_module")
    assert fact["masked_as"] is None
    (alone,) = _facts(_masked(said, "ImportError")[0]).of("missing_module")
    assert alone["module"] == "misaki"


@pytest.mark.parametrize(
    ("module", "kind_of", "package"),
    [
        ("mlx_audio.tts.models.dia", "family", "mlx-audio"),
        ("mlx_audio.tts.models.v1.5", "family", "mlx-audio"),
        ("mlx_audio.tts.models.kokoro.voice", "internal", "mlx-audio"),
        ("mlx_audio.codec", "internal", "mlx-audio"),
        ("huggingface_hub.utils", "dependency", "huggingface-hub"),
    ],
)
def test_what_kind_of_module_is_missing(module: str, kind_of: str, package: str) -> None:
    doc = _doc("ModuleNotFoundError", f"No module named '{module}'", attributes={"name": module})
    (fact,) = _facts(doc, config={"model_type": "v1.5"}).of("missing_module")
    assert (fact["kind_of"], fact["package"]) == (kind_of, package)


def test_whether_mlx_audio_declares_what_is_missing() -> None:
    memory = WorkingMemory()
    memory.add("requirement", _AT, owner="mlx-audio", owner_version="1", package="soxr", specifier="", satisfied=False)
    memory.add("package", _AT, name="misaki", installed=False, version=None, extra="tts")
    docs = [_doc("ModuleNotFoundError", f"No module named '{name}'") for name in ("soxr", "misaki", "nltk")]
    _facts(*docs, memory=memory)
    told = {f["module"]: (f["declared"], f["declared_extra"]) for f in memory.of("missing_module")}
    assert told == {"soxr": (True, None), "misaki": (False, "tts"), "nltk": (False, None)}


def test_missing_names_and_circular_imports() -> None:
    removed = _doc("ImportError", f"cannot import name 'save_weights' from 'mlx_lm.utils' ({_SITE}/mlx_lm/utils.py)")
    circular = _doc(
        "ImportError",
        "cannot import name 'wired_limit' from partially initialized module 'mlx_audio.stt.generate' (most likely due "
        "to a circular import) (/x/mlx_audio/stt/generate.py)",
    )
    attribute = _doc("AttributeError", "module 'mlx.core' has no attribute 'metal_kernel'")
    memory = _facts(removed, circular, attribute, packages={"mlx-lm": "0.25.2"})
    assert [(f["module"], f["name"], f["package"], f["version"], f["circular"]) for f in memory.of("missing_name")] == [
        ("mlx_lm.utils", "save_weights", "mlx-lm", "0.25.2", False),
        ("mlx_audio.stt.generate", "wired_limit", "mlx-audio", None, True),
        ("mlx.core", "metal_kernel", "mlx", None, False),
    ]


def _no_member(owner: str, name: str, *, itself: bool, file: str) -> ExceptionDoc:
    bare = owner.rpartition(".")[2]
    subject = f"type object '{bare}'" if itself else f"'{bare}' object"
    message = f"{subject} has no attribute '{name}'"
    attributes = {"name": name, "obj_class": owner, "obj_is_class": int(itself)}
    return _doc("AttributeError", message, attributes=attributes, file=file)


def test_a_class_of_another_package_lacks_a_name() -> None:
    wrapper, family = "phonemizer.backend.espeak.wrapper.EspeakWrapper", f"{_SITE}/mlx_audio/tts/models/x/x.py"
    stands_in = _no_member(wrapper, "set_data_path", itself=True, file=f"{_SITE}/misaki/espeak.py")
    tokenizer = _no_member("transformers.x.Tokenizer", "batch_encode_plus", itself=False, file=family)
    memory = _facts(
        stands_in,
        tokenizer,
        packages={"transformers": "5.0.0"},
        version_of={"phonemizer": "3.3.0"}.get,
    )
    told = [(f["name"], f["package"], f["version"], f["expected_package"]) for f in memory.of("missing_name")]
    assert told == [
        ("set_data_path", "phonemizer", "3.3.0", "phonemizer-fork"),
        ("batch_encode_plus", "transformers", "5.0.0", None),
    ]


def test_an_installed_package_lacks_a_module() -> None:
    doc = _doc("ModuleNotFoundError", "No module named 'mlx_lm.models.bailing_moe'")
    memory = _facts(doc, packages={"mlx-lm": "0.25.2"})
    told = [(f["module"], f["name"], f["package"], f["version"]) for f in memory.of("missing_name")]
    assert told == [("mlx_lm.models", "bailing_moe", "mlx-lm", "0.25.2")]
    assert not memory.of("missing_module")
    assert [f["module"] for f in _facts(doc).of("missing_module")] == ["mlx_lm.models.bailing_moe"]


def test_the_package_whose_class_a_config_class_extends() -> None:
    attributes = {"name": "layer_types", "obj_class": "mlx_audio.tts.models.x.ModelConfig", "obj_is_class": 0}
    message = "'ModelConfig' object has no attribute 'layer_types'"
    extends = _doc("AttributeError", message, attributes={**attributes, "obj_base": "mlx_lm.models.llama"})
    own = _doc("AttributeError", message, attributes={**attributes, "obj_base": "mlx_audio.tts.models.base"})
    found = [fact["base_package"] for fact in _facts(extends, own).of("missing_key")]
    assert found == ["mlx-lm", None]


def test_a_class_of_mlx_audio_lacks_what_its_loader_asks_for() -> None:
    doc = _no_member("mlx_audio.lid.models.x.ModelConfig", "from_dict", itself=True, file=f"{_SITE}/mlx_audio/utils.py")
    (fact,) = _facts(doc).of("missing_name")
    assert (fact["internal"], fact["of_class"], fact["package"], fact["altered"]) == (True, True, "mlx-audio", False)


@pytest.mark.parametrize(
    ("owner", "itself", "file"),
    [
        ("mlx_audio.tts.models.x.x.Model", False, "mlx_audio/tts/models/x/x.py"),
        ("mlx.nn.layers.linear.Linear", False, "mlx_audio/tts/models/x/x.py"),
        ("builtins.NoneType", False, "mlx_audio/tts/models/x/x.py"),
        ("argparse.Namespace", False, "mlx_audio/tts/models/x/x.py"),
        ("transformers.models.qwen2.configuration_qwen2.Qwen2Config", False, "mlx_audio/tts/models/x/x.py"),
        ("transformers.x.Tokenizer", False, "transformers/x.py"),
    ],
)
def test_what_an_object_of_data_or_of_ones_own_lacks_is_no_name_of_a_dependency(
    owner: str, itself: bool, file: str
) -> None:
    assert not _facts(_no_member(owner, "scales", itself=itself, file=f"{_SITE}/{file}")).of("missing_name")


# -- native libraries and files ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "message", "attributes", "source", "what", "library", "package"),
    [
        (
            "ImportError",
            "libmlx.so: cannot open shared object file: No such file or directory",
            {"name": "mlx.core", "path": f"{_SITE}/mlx/core.cpython-311-x86_64-linux-gnu.so"},
            "import mlx.core as mx",
            "missing-library",
            "libmlx.so",
            "mlx",
        ),
        (
            "ImportError",
            "libmlx.so: cannot open shared object file: No such file or directory",
            {},
            "import mlx.core as mx",
            "missing-library",
            "libmlx.so",
            "mlx",
        ),
        (
            "ImportError",
            "dlopen(/v/lib/python3.12/site-packages/mlx/core.cpython-312-darwin.so, 0x0002): Symbol not found: "
            "_cblas_cgemm$NEWLAPACK\n  Referenced from: ...",
            {},
            "",
            "missing-symbol",
            "_cblas_cgemm$NEWLAPACK",
            "mlx",
        ),
        (
            "ImportError",
            "dlopen(/v/lib/python3.12/site-packages/mlx/core.so, 0x0002): Library not loaded: @rpath/libmlx.dylib",
            {},
            "",
            "missing-library",
            "@rpath/libmlx.dylib",
            "mlx",
        ),
        (
            "ImportError",
            "dlopen(/v/lib/python3.12/site-packages/numpy/core/_m.so, 0x0002): tried: '/v/_m.so' (mach-o file, but is "
            "an incompatible architecture (have 'x86_64', need 'arm64'))",
            {},
            "",
            "abi-mismatch",
            "'/v/_m.so",
            "numpy",
        ),
        (
            "ValueError",
            "numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header",
            {},
            "from thinc.api import Model",
            "abi-mismatch",
            "numpy.dtype",
            "thinc",
        ),
        (
            "ImportError",
            "/v/lib/x.so: undefined symbol: _ZN3c10",
            {},
            "import torch",
            "missing-symbol",
            "_ZN3c10",
            "torch",
        ),
        ("ValueError", "[metal_kernel] No Metal back-end.", {}, "", "no-backend", "metal_kernel", "mlx"),
        (
            "RuntimeError",
            "[metal::device_info] Cannot get device info without metal backend",
            {},
            "",
            "no-backend",
            "metal::device_info",
            "mlx",
        ),
    ],
)
def test_native_errors(
    type_: str, message: str, attributes: dict[str, str], source: str, what: str, library: str, package: str
) -> None:
    (fact,) = _facts(_doc(type_, message, source, attributes=attributes)).of("native_error")
    assert (fact["what"], str(fact["library"]).lstrip("'"), fact["package"]) == (what, library.lstrip("'"), package)


def test_files_that_were_wanted(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    try:
        (model / "vocab.txt").open()
    except FileNotFoundError as error:
        real = _doc("FileNotFoundError", str(error), attributes={"filename": error.filename, "errno": error.errno})
    docs = [
        real,
        _doc("FileNotFoundError", f"Speaker file not found: {_SITE}/mlx_audio/tts/models/outetts/default_speaker.json"),
        _doc("FileNotFoundError", f"Config not found at {model}"),
        _doc("RuntimeError", f"[load_safetensors] Failed to open file {model}/voices/af.safetensors"),
        _doc("RuntimeError", f'NOT_FOUND: "{model}/spiece.model": No such file or directory'),
        _doc("OSError", f"Repo id must be in the form 'repo_name' or 'namespace/repo_name': '{model}/Qwen3-0.6B'. Use"),
        _doc("OSError", "mlx-community/x does not appear to have a file named preprocessor_config.json. Checkout ..."),
        _doc("FileNotFoundError", f"tekken.json not found at {model}"),
        _doc("FileNotFoundError", "tokenizer.model not found", role="swallowed"),
        _doc("FileNotFoundError", f"No weight files (safetensors or npz) found in {model}"),
    ]
    facts = _facts(*docs, model_directory=model).of("file_wanted")
    assert [(f["name"], f["in_model"], f["in_package"], f["package"], f["raised"]) for f in facts] == [
        ("vocab.txt", True, False, None, True),
        ("default_speaker.json", False, True, "mlx-audio", True),
        ("config.json", True, False, None, True),
        ("af.safetensors", True, False, None, True),
        ("spiece.model", True, False, None, True),
        ("Qwen3-0.6B", True, False, None, True),
        ("preprocessor_config.json", True, False, None, True),
        ("tekken.json", True, False, None, True),
        ("tokenizer.model", True, False, None, False),
    ]


def test_a_file_says_what_was_to_be_made_from_it() -> None:
    caught = _doc(
        "FileNotFoundError", "tokenizer.model not found", role="swallowed", parts=[{"part": "model.tokenizer"}]
    )
    ended = _doc("FileNotFoundError", "vocab.txt not found")
    facts = _facts(caught, ended).of("file_wanted")
    assert {f["name"]: f["part"] for f in facts} == {"tokenizer.model": "model.tokenizer", "vocab.txt": None}


def test_a_file_of_the_model_that_is_looked_for_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").touch()
    docs = [
        _doc("RuntimeError", 'NOT_FOUND: "tokenizer.model": No such file or directory'),
        _doc("RuntimeError", 'NOT_FOUND: "other.model": No such file or directory'),
    ]
    facts = _facts(*docs, model_directory=tmp_path).of("file_wanted")
    assert [(f["name"], f["elsewhere"]) for f in facts] == [("tokenizer.model", True), ("other.model", False)]


# -- tolerance ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "origin", "package"),
    [
        ("/src/mlx-audio/mlx_audio/utils.py", "loader", "mlx-audio"),
        ("/x/mlx_audio/tts/utils.py", "loader", "mlx-audio"),
        ("/x/mlx_audio/tts/models/dia/dia.py", "family", "mlx-audio"),
        ("/x/mlx_audio/codec/models/snac/snac.py", "codec", "mlx-audio"),
        (f"{_SITE}/mlx/nn/layers/base.py", "mlx", "mlx"),
        (f"{_SITE}/huggingface_hub/file_download.py", "huggingface_hub", "huggingface-hub"),
        (f"{_SITE}/transformers/modeling_utils.py", "transformers", "transformers"),
        (f"{_SITE}/soundfile.py", "dependency", "soundfile"),
        ("/usr/lib/python3.11/json/decoder.py", "stdlib", None),
        ("/opt/homebrew/Frameworks/Python.framework/Versions/3.12/lib/python3.12/json/decoder.py", "stdlib", None),
        ("/home/me/script.py", "dependency", None),
    ],
)
def test_whose_code_raised(file: str, origin: str, package: str | None) -> None:
    (fact,) = _facts(_doc("RuntimeError", "boom", file=file)).of("exception")
    assert (fact["origin"], fact["package"]) == (origin, package)


def test_mlx_speaks_without_a_frame() -> None:
    (fact,) = _facts(_doc("RuntimeError", "[load_safetensors] Invalid json header length file x")).of("exception")
    assert (fact["origin"], fact["package"]) == ("mlx", "mlx")


def test_a_document_with_nothing_but_a_type_is_enough() -> None:
    for name in ("KeyError", "TypeError", "ImportError", "ModuleNotFoundError", "FileNotFoundError", "ValueError"):
        memory = _facts(ExceptionDoc.from_json({"type": f"package.errors.{name}"}))
        (fact,) = memory.of("exception")
        assert (fact["type"], fact["module"]) == (name, "package.errors")


def test_messages_do_not_break_facts() -> None:
    memory = _facts(_doc("RuntimeError", "\x1b[31m" + "x" * 10_000 + "\ud800"))
    (fact,) = memory.of("exception")
    assert len(str(fact["message"])) < 600 and "\x1b" not in str(fact["message"])


@pytest.mark.parametrize(
    ("message", "module"),
    [
        (
            "\nVoxtralProcessor requires PyTorch >= 2.6, but PyTorch was not found or an older version is installed.",
            "torch",
        ),
        (
            "\nT5Tokenizer requires the SentencePiece library but it was not found in your environment. See",
            "sentencepiece",
        ),
        ("\nX requires the 🤗 Tokenizers library but it was not found in your environment. You can", "tokenizers"),
        ("\nX requires soundfile and soxr, which were not found in your environment.", "soundfile"),
    ],
)
def test_a_class_of_transformers_that_lacks_its_back_end(message: str, module: str) -> None:
    (fact,) = _facts(_doc("ImportError", message, stage="post_load")).of("missing_module")
    assert (fact["module"], fact["kind_of"]) == (module, "dependency")


def test_a_key_that_a_config_class_of_transformers_refuses() -> None:
    doc = _doc("AttributeError", "property 'adaptor_input_dim' of 'MossConfig' object has no setter", stage="post_load")
    (fact,) = _facts(doc, config={"adaptor_input_dim": 8}).of("unexpected_argument")
    assert (fact["class_name"], fact["name"], fact["path"]) == ("MossConfig", "adaptor_input_dim", None)
