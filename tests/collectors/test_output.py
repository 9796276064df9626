"""Lines in which a patient warns or complains become facts, whatever wrote them."""

from __future__ import annotations

from mlx_diagnose.collectors.output import MAX_LINES, collect
from mlx_diagnose.engine.memory import WorkingMemory


def lines(stdout: str = "", stderr: str = "") -> list[tuple[object, object, object]]:
    memory = WorkingMemory()
    collect(memory, stdout, stderr)
    return [(fact["stream"], fact["level"], fact["text"]) for fact in memory.of("output")]


def test_prints_warnings_and_logs_are_told_apart_from_progress() -> None:
    assert lines(
        "Loading weights\nWarning: Could not load tokenizer: x\n",
        "/lib/whisper.py:702: UserWarning: Could not load WhisperProcessor: y.\n"
        '  warnings.warn(f"Could not load WhisperProcessor: {e}.")\n'
        "ERROR:root:Model type dia not supported.\n"
        "100%|#####| 3/3\n",
    ) == [
        ("stdout", "warning", "Warning: Could not load tokenizer: x"),
        ("stderr", "warning", "Could not load WhisperProcessor: y."),
        ("stderr", "error", "Model type dia not supported."),
    ]


def test_a_warning_keeps_the_line_that_warned() -> None:
    memory = WorkingMemory()
    collect(memory, "", "/lib/whisper.py:702: UserWarning: Could not load it\n")
    (fact,) = memory.of("output")
    assert (fact.provenance.file, fact.provenance.line, fact["text"]) == ("/lib/whisper.py", 702, "Could not load it")


def test_a_patient_that_warns_without_end_is_cut_short() -> None:
    assert len(lines("".join(f"warning {number}\n" for number in range(1000)))) == MAX_LINES
