"""Reports made by hand, for what shows, saves and reads them; property tests that do not depend on the day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings

from mlx_diagnose.engine.model import (
    STAGES,
    Activation,
    CollectorOutcome,
    ExceptionRecord,
    Explains,
    Fact,
    Finding,
    Fix,
    Patient,
    Provenance,
    Report,
    StageResult,
    Subject,
    Target,
    stage_index,
)

# The same examples on every run, however busy the machine is.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

_EXCERPT = """\
config.json:12:3
11 |   "n_mels": 80,
12 |   "hidden_sizes": 512,
   |   ^
13 |   "sample_rate": 24000"""

_TRACEBACK = """\
Traceback (most recent call last):
  File "mlx_audio/utils.py", line 402, in base_load_model
    model = model_class.Model(config)
TypeError: ModelConfig.__init__() missing 1 required positional argument: 'hidden_size'"""


def stages(failed: str | None = None, exception: ExceptionRecord | None = None) -> tuple[StageResult, ...]:
    at = stage_index(failed)
    return tuple(
        StageResult(
            name,
            "passed" if position < at else "failed" if position == at else "not-reached",
            0.004 * 3**position if position <= at else None,
            200_000_000 + position if position <= at else None,
            exception if position == at else None,
        )
        for position, name in enumerate(STAGES)
    )


def report(**fields: Any) -> Report:
    given: dict[str, Any] = {
        "run_id": "k7f3qz",
        "saved_at": "2030-01-02T03:04:05Z",
        "tool_version": "0.1.0",
        "target": Target("./kokoro-mine", "directory", "/models/kokoro-mine", "tts", "kokoro", "kokoro"),
        "patient": Patient(
            "/opt/audio/bin/python",
            "VIRTUAL_ENV is set and has mlx-audio",
            "3.11.7",
            "Linux-6.1-x86_64",
            {"mlx": "0.32.4", "mlx-audio": "0.6.2", "transformers": "5.23.0"},
        ),
        "verdict": "loads",
        "stages": stages(),
        "findings": (),
        "facts": (),
        "collectors": (CollectorOutcome("config", "ok", None, 0.01), CollectorOutcome("load", "ok", None, 1.9)),
        "timings": {"total": 2.13},
    }
    return Report(**(given | fields))


def _facts() -> tuple[Fact, ...]:
    source = "mlx_audio/tts/models/kokoro/kokoro.py"
    return (
        Fact(
            "missing_argument",
            "missing_argument-1",
            {"stage": "construct", "class_name": "ModelConfig", "name": "hidden_size", "path": "hidden_size"},
            Provenance("exceptions", source, 41),
        ),
        Fact(
            "key_similarity",
            "key_similarity-1",
            {"given": "hidden_sizes", "wanted": "hidden_size", "score": 0.96, "best": True, "value": "512"},
            Provenance("config_difference", "config.json", 12, "hidden_sizes"),
        ),
        Fact(
            "exception",
            "exception-1",
            {"stage": "construct", "role": "raised", "type": "TypeError", "message": "missing 1 required argument"},
            Provenance("load", "mlx_audio/utils.py", 402),
        ),
    )


def _renamed_key() -> Finding:
    return Finding(
        id="f1",
        rule="config-renamed-key",
        failure_class="config/renamed-key",
        severity="error",
        confidence=0.95,
        stage="construct",
        title="A config key is given under another name",
        cause="ModelConfig needs hidden_size, which config.json does not give. It gives hidden_sizes, "
        "which ModelConfig does not know, and whose value fits the tensors of the checkpoint.",
        subjects=(Subject("config_key", "hidden_size"), Subject("config_key", "hidden_sizes")),
        evidence=("missing_argument-1", "key_similarity-1"),
        fixes=(
            Fix(
                "x1",
                "config-patch",
                "Rename hidden_sizes to hidden_size in config.json",
                "verified",
                config_patch=(
                    {"op": "remove", "path": "/hidden_sizes"},
                    {"op": "add", "path": "/hidden_size", "value": 512},
                    {"op": "move", "from": "/decoder/layers", "path": "/decoder/n_layer"},
                ),
                files=("config.json",),
            ),
            Fix(
                "x2",
                "package",
                "Use the release of mlx-audio that reads both names",
                "unverified",
                "it would change your environment",
                command="/opt/audio/bin/python -m pip install 'mlx-audio>=0.6.3'",
            ),
        ),
        explains=("f4", "f5", "f6"),
        claims=(Explains("weights/*", None), Explains("config/missing-key", "hidden_size")),
        activation=Activation(
            "config-renamed-key",
            (("arg", "missing_argument-1"), ("similar", "key_similarity-1")),
            (("path", "hidden_size"), ("given", "hidden_sizes")),
            ("no unknown_key with effect accepted",),
        ),
        excerpt=_EXCERPT,
    )


def _symptom(id: str, failure_class: str, title: str, cause: str) -> Finding:
    return Finding(id, f"rule-of-{id}", failure_class, "error", 0.8, "load", title, cause, root=False)


def _fails() -> Report:
    exception = ExceptionRecord(
        "TypeError",
        "ModelConfig.__init__() missing 1 required positional argument: 'hidden_size'",
        "mlx_audio/utils.py",
        402,
        "base_load_model",
        _TRACEBACK,
    )
    return report(
        verdict="fails",
        stages=stages("construct", exception),
        facts=_facts(),
        findings=(
            _renamed_key(),
            Finding(
                id="f2",
                rule="quantization-undeclared",
                failure_class="quantization/undeclared",
                severity="error",
                confidence=0.9,
                stage="quantize",
                title="The checkpoint is quantised and config.json does not say so",
                cause="48 weights are packed as uint32 with scales beside them, and config.json has no quantization.",
                observed_after=("x1",),
                fixes=(
                    Fix(
                        "x3",
                        "quantization",
                        "Declare the quantisation",
                        "verified",
                        "tried on a copy together with x1, loads",
                        config_patch=({"op": "add", "path": "/quantization", "value": {"bits": 4, "group_size": 64}},),
                    ),
                ),
            ),
            Finding(
                id="f3",
                rule="dependency-version-conflict",
                failure_class="dependency/version-conflict",
                severity="warning",
                confidence=0.6,
                stage=None,
                title="An installed package is older than mlx-audio asks for",
                cause="mlx-audio 0.6.2 requires mlx-lm>=0.30; mlx-lm 0.29.1 is installed.",
                fixes=(
                    Fix(
                        "x4",
                        "package",
                        "Upgrade mlx-lm",
                        "manual",
                        command="pip install --upgrade mlx-lm",
                    ),
                ),
            ),
            _symptom("f4", "config/missing-key", "config.json lacks a key", "hidden_size is required."),
            _symptom("f5", "weights/shape", "Tensors have another shape", "12 tensors do not fit the default 256."),
            _symptom("f6", "weights/missing", "Tensors are missing", "3 tensors of the last layer are missing."),
        ),
    )


def _warnings() -> Report:
    warning = replace(_fails().findings[2], id="f1")
    note = replace(warning, id="f8", severity="info", title="A newer release is out", fixes=())
    return report(
        verdict="loads-with-warnings",
        findings=(warning, *(replace(warning, id=f"f{number}", fixes=()) for number in range(2, 8)), note),
        saved_at=None,
    )


def _inconclusive() -> Report:
    exception = ExceptionRecord(
        "RuntimeError", "[conv] Invalid strides\nfor input", "mlx_audio/codec/dac.py", 88, "__call__"
    )
    return report(
        verdict="inconclusive",
        stages=stages("post_load", exception),
        facts=_facts()[2:],
        findings=(
            Finding(
                id="f1",
                rule="unknown-failure",
                failure_class="unknown",
                severity="error",
                confidence=0.0,
                stage="post_load",
                title="A failure that no rule explains",
                cause="The post_load stage raised RuntimeError: [conv] Invalid strides for "
                "input. No rule explains it. Nearest rules: weights-layout (lacked: a tensor_layout fact).",
                evidence=("exception-1",),
            ),
        ),
        collectors=(
            CollectorOutcome("config", "ok", None, 0.01),
            CollectorOutcome("weights_header", "timed-out", "no answer within 20 s", 20.0),
            CollectorOutcome("counterfactual", "skipped", "nothing to try", 0.0),
        ),
    )


def _static() -> Report:
    untouched = tuple(StageResult(name, "skipped") for name in STAGES)
    return report(verdict="inconclusive", stages=untouched, timings={"total": 0.2})


#: What a stranger's checkpoint may hold to fool or break the reader's terminal.
HOSTILE = (
    "\x1b[2J\x1b[32m\u2713 loads\x07\r\x9b1mfine\u202egnp.exe\u200b\ud800 \x00hf_AbCdEfGhIjKlMnOpQrStUvWxYz12345678"
)


def _hostile() -> Report:
    plain = _fails()
    found = replace(
        plain.findings[0],
        title=HOSTILE,
        cause=f"one\ntwo {HOSTILE} " + "x" * 300,
        explains=(),
        subjects=(Subject("tensor", HOSTILE),),
        excerpt=f"config.json:1:90\n1 | {HOSTILE}{'y' * 200}\n  | {' ' * 89}^",
        fixes=(
            Fix(
                "x1",
                "config-patch",
                HOSTILE,
                "unverified",
                HOSTILE,
                command=f"echo {HOSTILE}",
                config_patch=({"op": "add", "path": f"/a~1b/{HOSTILE}", "value": {HOSTILE: float("inf")}},),
                files=(HOSTILE,),
            ),
        ),
    )
    exception = ExceptionRecord(HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE)
    fact = Fact(
        "config_key", "config_key-1", {"path": HOSTILE, "value": HOSTILE}, Provenance("config", HOSTILE, 1, HOSTILE)
    )
    return replace(
        plain,
        target=replace(plain.target, model=HOSTILE, family=HOSTILE),
        patient=replace(plain.patient, packages={"mlx-audio": HOSTILE, HOSTILE: "1"}, chosen_because=HOSTILE),
        stages=stages("construct", exception),
        findings=(found,),
        facts=(fact,),
        collectors=(CollectorOutcome(HOSTILE, "failed", HOSTILE, 0.0),),
    )


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Report]:
    """A report by name: loads, fails, warnings, inconclusive, static or hostile."""
    samples = {
        "loads": report,
        "fails": _fails,
        "warnings": _warnings,
        "inconclusive": _inconclusive,
        "static": _static,
        "hostile": _hostile,
    }
    return lambda name: samples[name]()
