"""Pasted tracebacks through the rules: the cause that is named, the verdict, and what would tell more."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from mlx_diagnose.engine.inference.explain import why
from mlx_diagnose.engine.model import Finding, Report
from mlx_diagnose.engine.pasted import classify
from mlx_diagnose.engine.report.json import from_json, schema, to_json
from mlx_diagnose.engine.report.text import render
from mlx_diagnose.engine.report.view import View
from mlx_diagnose.engine.rulebase import load_rules
from mlx_diagnose.engine.rulebase.sources import builtin_source

VALIDATOR = Draft202012Validator(schema())
SITE = "/home/me/env/lib/python3.11/site-packages"


def frame(file: str, function: str, source: str, line: int = 10) -> str:
    return f'  File "{SITE}/{file}", line {line}, in {function}\n    {source}\n'


def traceback(error: str, *frames: str) -> str:
    return f"Traceback (most recent call last):\n{''.join(frames)}{error}\n"


SHARED = "mlx_audio/utils.py"
TTS = "mlx_audio/tts/models"
GET_CLASS = frame(SHARED, "base_load_model", "model_class, model_type = get_model_class(")
LOADS = frame(SHARED, "base_load_model", "model.load_weights(list(weights.items()), strict=strict)") + frame(
    "mlx/nn/layers/base.py", "load_weights", "raise ValueError("
)
HANDLING = "\nDuring handling of the above exception, another exception occurred:\n\n"
MASKED = (
    traceback(
        "ModuleNotFoundError: No module named 'mlx_lm'",
        frame("mlx_audio/tts/utils.py", "get_model_and_args", "arch = importlib.import_module(name)"),
        frame(f"{TTS}/llama/llama.py", "<module>", "from mlx_lm.generate import stream_generate"),
    )
    + HANDLING
    + traceback(
        "ValueError: Model type llama not supported.",
        frame("mlx_audio/tts/utils.py", "get_model_and_args", "raise ValueError(msg)"),
    )
)
UNSUPPORTED = (
    traceback(
        "ModuleNotFoundError: No module named 'mlx_audio.tts.models.dia'",
        frame("mlx_audio/tts/utils.py", "get_model_and_args", "x"),
    )
    + HANDLING
    + traceback(
        "ValueError: Model type dia not supported.", frame("mlx_audio/tts/utils.py", "get_model_and_args", "raise")
    )
)
SHAPE = "ValueError: Expected shape {} but received shape {} for parameter {}"
SOPRANO = "ValueError: Received 14 parameters not in model: \nembed_tokens.weight,\nlayers.0.mlp.weight,\nnorm.weight."

#: A text, the stage that failed (None: it does not tell), and class and first subject of the first root cause.
KNOWN = {
    "masked-import": (MASKED, "import", "dependency/missing-module", "mlx_lm"),
    "unsupported": (UNSUPPORTED, "architecture", "architecture/unsupported", "dia"),
    "last-line-unsupported": (
        "ValueError: Model type dia not supported.",
        "architecture",
        "architecture/unsupported",
        "model type",
    ),
    "missing-key": (
        traceback(
            "TypeError: ModelConfig.__init__() missing 1 required positional argument: 'hidden_dim'",
            frame(SHARED, "base_load_model", "model_class.ModelConfig.from_dict(config)"),
            frame(f"{TTS}/base.py", "from_dict", "return cls("),
        ),
        "construct",
        "config/missing-key",
        "hidden_dim",
    ),
    "section-null": (
        traceback(
            "AttributeError: 'NoneType' object has no attribute 'encoder'",
            frame(SHARED, "base_load_model", "model = model_class.Model(model_config)"),
            frame(f"{TTS}/dia/dia.py", "__init__", "self.encoder = Encoder(config.model.encoder)"),
        ),
        "construct",
        "config/missing-section",
        "model",
    ),
    "key-read": (
        traceback(
            "KeyError: 'sample_rate'",
            frame(SHARED, "base_load_model", "model = model_class.Model(model_config)"),
            frame(f"{TTS}/voice/voice.py", "__init__", 'self.sample_rate = config["sample_rate"]'),
        ),
        "construct",
        "config/missing-key",
        "sample_rate",
    ),
    "quantization-rejected": (
        traceback(
            "TypeError: SesameModelArgs.__init__() got an unexpected keyword argument 'quantization'",
            frame("mlx_audio/tts/utils.py", "load_model", "model = model_class.Model(model_config)"),
            frame(f"{TTS}/sesame/model.py", "__init__", "args = SesameModelArgs(**config)"),
        ),
        "construct",
        "config/unknown-key",
        "quantization",
    ),
    "prefix": (f"mlx-audio==0.3.1\n{traceback(SOPRANO, LOADS)}", "load", "weights/renamed", "embed_tokens.weight"),
    "unexpected": (traceback(SOPRANO, LOADS), "load", "weights/unexpected", "embed_tokens.weight"),
    "missing": (
        "ValueError: Missing 2 parameters: \ndecoder.a.weight,\ndecoder.b.weight.",
        "load",
        "weights/missing",
        "decoder.a.weight",
    ),
    "layout": (
        traceback(SHAPE.format("(64, 3, 32)", "(64, 32, 3)", "conv.weight"), LOADS),
        "load",
        "weights/layout",
        "conv.weight",
    ),
    "scales-lost": (
        traceback(SHAPE.format("(512, 512)", "(512, 64)", "model.q_proj.weight"), LOADS),
        "load",
        "quantization/metadata-dropped",
        "model.q_proj.weight",
    ),
    "bits": (
        traceback(SHAPE.format("(512, 64)", "(512, 128)", "model.q_proj.weight"), LOADS),
        "load",
        "quantization/mismatch",
        "model.q_proj.weight",
    ),
    "scales-unexpected": (
        traceback("ValueError: Received 2 parameters not in model: \na.q.biases,\na.q.scales.", LOADS),
        "load",
        "quantization/undeclared",
        "a.q.biases",
    ),
    "no-weights": (
        traceback(
            "FileNotFoundError: No weight files (safetensors or npz) found in /models/voice",
            frame(SHARED, "base_load_model", "weights = load_weights(model_path)"),
        ),
        "weights",
        "weights/absent",
        "*.safetensors",
    ),
    "companion": (
        traceback(
            "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder",
            GET_CLASS,
            frame(f"{TTS}/llama/llama.py", "<module>", 'snac = SNAC.from_pretrained("mlx-community/snac_24khz")'),
            frame("huggingface_hub/_snapshot_download.py", "snapshot_download", "raise LocalEntryNotFoundError("),
        ),
        "import",
        "hub/companion-unavailable",
        "mlx-community/snac_24khz",
    ),
    "uncached": (
        "LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder",
        None,
        "hub/offline-uncached",
        "hub cache",
    ),
    "circular": (
        traceback(
            "ImportError: cannot import name 'wired_limit' from partially initialized module 'mlx_audio.stt.generate'",
            frame(
                "mlx_audio/stt/models/glmasr/glmasr.py", "<module>", "from mlx_audio.stt.generate import wired_limit"
            ),
        ),
        "import",
        "code/circular-import",
        "mlx_audio.stt.generate",
    ),
    "metal": ("RuntimeError: [metal_kernel] No Metal back-end.", "import", "dependency/backend", "mlx"),
    "thread": ("RuntimeError: There is no Stream(gpu, 0) in current thread.", None, "code/threading", "thread"),
    "numpy": (
        "ValueError: numpy.dtype size changed, may indicate binary incompatibility",
        "import",
        "dependency/version-conflict",
        "numpy",
    ),
    "dotted": (
        "ModuleNotFoundError: No module named 'mlx_audio.tts.models.v2'",
        "architecture",
        "architecture/misresolved",
        "mlx-audio",
    ),
    "no-model-type": ("KeyError: 'model_type'", "architecture", "architecture/undeclared", "model_type"),
    "processor": (
        traceback(
            "ValueError: Processor not found. Make sure",
            frame("mlx_audio/stt/models/whisper/whisper.py", "get_tokenizer", "raise"),
        ),
        "post_load",
        "component/missing",
        "mlx-audio",
    ),
    "crash": (
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n"
        f'  File "{SITE}/mlx_audio/utils.py", line 205 in load_weights\n',
        "weights",
        "code/init-error",
        f"{SITE}/mlx_audio/utils.py",
    ),
    "killed": ("zsh: killed     python speak.py", None, "memory/insufficient", "memory"),
    "kernel": (
        "libc++abi: terminating due to uncaught exception of type std::runtime_error: "
        "[metal::Device] Unable to load kernel depthwise_conv_1d_float16\nzsh: abort      python speak.py",
        None,
        "dependency/backend",
        "mlx",
    ),
    "metal-memory": (
        "libc++abi: terminating due to uncaught exception of type std::runtime_error: [METAL] Command buffer "
        "execution failed: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        None,
        "memory/insufficient",
        "memory",
    ),
    "dequantize": ("RuntimeError: dequantize dimension mismatch", None, "quantization/mismatch", "quantization"),
    "gated": (
        traceback(
            "OSError: You are trying to access a gated repo.\n"
            "Make sure to have access to it at https://huggingface.co/org/Tokenizer-1B.\n401 Client Error.",
            '  File "/me/generator.py", line 25, in load\n    tokenizer = AutoTokenizer.from_pretrained(name)\n',
        ),
        None,
        "hub/companion-unavailable",
        "org/Tokenizer-1B",
    ),
    "codec-file": (
        traceback(
            "FileNotFoundError: [Errno 2] No such file or directory: "
            "'/me/hub/models--org--voice/snapshots/0a1b/audiovae.pth'",
            frame(f"{TTS}/voxcpm/voxcpm.py", "post_load_hook", "state = torch.load(path)"),
        ),
        "post_load",
        "component/missing",
        "audiovae.pth",
    ),
    "path": (
        traceback(
            "TypeError: types.SimpleNamespace() argument after ** must be a mapping, not PosixPath",
            frame("mlx_audio/codec/models/vocos/vocos.py", "from_hparams", "config = SimpleNamespace(**config)"),
        ),
        "post_load",
        "code/init-error",
        f"{SITE}/mlx_audio/codec/models/vocos/vocos.py",
    ),
    "tokenizer-property": (
        traceback(
            "NotImplementedError",
            frame("mlx_audio/stt/models/voxtral/voxtral.py", "post_load_hook", "AutoProcessor.from_pretrained(path)"),
            frame("transformers/tokenization_utils_base.py", "added_tokens_decoder", "raise NotImplementedError()"),
        ),
        "post_load",
        "dependency/removed-api",
        "transformers",
    ),
    "build": (
        traceback(
            "FileNotFoundError: [Errno 2] No such file or directory: 'requirements.txt'",
            frame("setuptools/build_meta.py", "run_setup", "exec(code, locals())"),
            '  File "<string>", line 16, in <module>\n',
        ),
        None,
        "dependency/packaging",
        "requirements.txt",
    ),
    "pip-conflict": (
        "The conflict is caused by:\n    mlx-audio 0.2.3 depends on misaki>=0.8.2\n"
        "    mlx-audio 0.1.0 depends on misaki>=0.8.2\nERROR: ResolutionImpossible: for help visit https://pip.pypa.io",
        None,
        "dependency/missing-module",
        "misaki",
    ),
    "uv-python": (
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because the current Python version (3.13.1) does "
        "not satisfy\n      Python>=3.8,<3.13 and misaki>=0.8.2,<=0.9.4 depends on Python>=3.8,<3.13, ...",
        None,
        "dependency/missing-module",
        "misaki",
    ),
    "pip": ("ERROR: No matching distribution found for misaki>=0.8.2", None, "dependency/missing-module", "misaki"),
    "uv": ("  × No solution found when resolving dependencies:", None, "dependency/version-conflict", "uv"),
}


def checked(text: str) -> Report:
    """The report about ``text``, which is valid JSON by the schema and reads back, and renders."""
    report = classify(text)
    document = to_json(report)
    assert not [error.message for error in VALIDATOR.iter_errors(document)]
    assert to_json(from_json(document))["findings"] == document["findings"]
    assert render(report, View(verbose=True))
    assert not [outcome for outcome in report.collectors if outcome.status == "failed"]
    return report


def failed(report: Report) -> str | None:
    return next((stage.name for stage in report.stages if stage.status == "failed"), None)


def first_root(report: Report) -> Finding:
    return next(found for found in report.findings if found.root)


@pytest.mark.parametrize("name", KNOWN)
def test_the_cause_is_named(name: str) -> None:
    text, stage, failure_class, subject = KNOWN[name]
    report = checked(text)
    assert report.verdict == "fails"
    assert failed(report) == stage
    root = first_root(report)
    assert root.failure_class == failure_class
    assert root.subjects[0].name == subject


def test_a_symptom_folds_under_its_cause() -> None:
    report = checked(KNOWN["prefix"][0])
    root = first_root(report)
    assert [report.findings[1].id] == list(root.explains)
    assert report.findings[1].failure_class == "weights/unexpected"


def test_stages_are_passed_only_where_the_text_proves_it() -> None:
    proven = {stage.name: stage.status for stage in checked(KNOWN["layout"][0]).stages}
    assert proven == {
        **dict.fromkeys(("resolve", "config", "architecture", "import", "construct", "weights"), "passed"),
        **dict.fromkeys(("sanitize", "quantize"), "skipped"),
        "load": "failed",
        "post_load": "not-reached",
    }
    unproven = {stage.name: stage.status for stage in checked(KNOWN["missing"][0]).stages}
    assert set(unproven.values()) == {"skipped", "failed", "not-reached"}


def test_the_exception_and_the_text_are_kept() -> None:
    stage = next(stage for stage in checked(KNOWN["layout"][0]).stages if stage.status == "failed")
    assert stage.exception is not None
    assert (stage.exception.type, stage.exception.function) == ("ValueError", "load_weights")
    assert KNOWN["layout"][0].strip() in str(stage.exception.traceback)


def test_a_failure_that_no_rule_explains() -> None:
    report = checked(traceback("ZeroDivisionError: division by zero", frame(f"{TTS}/dia/dia.py", "__init__", "1/0")))
    assert (report.verdict, failed(report)) == ("inconclusive", "construct")
    assert first_root(report).failure_class == "unknown"
    assert "ZeroDivisionError: division by zero" in first_root(report).cause
    elsewhere = checked("ZeroDivisionError: division by zero")
    assert (elsewhere.verdict, failed(elsewhere)) == ("inconclusive", None)
    assert "does not tell at which stage" in first_root(elsewhere).cause
    assert "whole traceback" in elsewhere.needs[0].what


def test_a_text_without_a_traceback() -> None:
    report = checked("Hello, it does not work.")
    assert report.verdict == "inconclusive"
    assert first_root(report).title == "There is no traceback in the text"
    assert not report.facts
    assert not report.needs


def needed(report: Report) -> dict[str, str]:
    return {need.what: need.tells for need in report.needs}


def test_what_would_tell_more() -> None:
    unsure = needed(checked(KNOWN["last-line-unsupported"][0]))
    assert "0.1.0, which has the model type dia" in unsure["the installed version of mlx-audio"]
    assert any("whole traceback" in what for what in unsure)
    missing = checked(KNOWN["missing"][0])
    assert "weights-shard-absent" in {rule for need in missing.needs for rule in need.rules}
    assert (
        "A shard of the checkpoint is not there"
        in needed(missing)["the names and shapes of the tensors in its weights files"]
    )


def test_of_a_sure_cause_nothing_more_is_asked() -> None:
    assert not checked(KNOWN["unsupported"][0]).needs
    assert not checked(KNOWN["circular"][0].replace(SITE, "/pkgs/mlx-audio-0.4.5")).needs


def test_known_defects_are_told_with_what_is_open() -> None:
    report = checked(KNOWN["unexpected"][0])
    told = render(report, View())
    assert "Known defects that show like this" in told
    assert "mlx-audio <0.4.0, if that is installed, if the model is of the family soprano" in " ".join(told.split())
    assert "soprano-1-1-prefix (<0.4.0)" in needed(report)["the installed version of mlx-audio"]
    assert "soprano" in needed(report)["model_type of config.json"]
    assert "0.3.1 is installed" in " ".join(render(checked(KNOWN["prefix"][0]), View()).split())


def test_the_report_knows_what_the_text_says_of_the_machine() -> None:
    report = checked(f"mlx-audio==0.3.1\ntransformers==4.57.1\n{MASKED}")
    assert report.patient.python == "3.11"
    assert report.patient.platform == "Linux"
    assert report.patient.packages == {"mlx-audio": "0.3.1", "transformers": "4.57.1"}
    assert (report.target.category, report.target.family) == ("tts", "llama")


def test_what_the_user_adds_counts() -> None:
    assert classify("ValueError: Model type whisper not supported.", category="stt").target.category == "stt"


def test_a_proof_leads_to_the_line_of_the_text() -> None:
    report = checked(MASKED)
    proof = why(first_root(report), report.facts, load_rules([builtin_source()]))
    assert proof.steps[0].fact.kind == "missing_module"
    assert proof.steps[0].fact.provenance.file == f"{SITE}/{TTS}/llama/llama.py"
    assert proof.steps[0].fact.provenance.line == 10
