"""What one run of the patient's loader reported, gathered from the probe's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_diagnose.collectors.process import Ending, Message
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import STAGES, ExceptionRecord, Provenance, StageResult, StageStatus, stage_index

_HERE = Provenance("load")
#: Messages that are kept as they are, the latest of each.
_LATEST = frozenset(
    {
        "hello",
        "mlx_audio",
        "backend",
        "loader",
        "tensors",
        "value_read",
        "config_lost",
        "trace",
        "conduct",
        "bare_tokenizers",
        "unfit_parts",
        "unfilled_parts",
        "outcome",
    }
)


@dataclass(slots=True)
class LoadRun:
    """Messages of one run, by subject. ``outcome`` is None when the process ended before it came.

    ``given`` counts the tensors that a load which passed was given after sanitize, and ``given_bytes``
    their size; ``signatures`` has what the session described, by module; ``wanted`` are files of which
    nothing but the name is known here (:mod:`~mlx_diagnose.collectors.hub_scratch`).
    """

    hello: Message | None = None
    mlx_audio: Message | None = None
    backend: Message | None = None
    loader: Message | None = None
    resolution: Message | None = None
    tensors: Message | None = None
    signature: Mapping[str, Any] | None = None
    value_read: Message | None = None
    config_lost: Message | None = None
    trace: Message | None = None
    conduct: Message | None = None
    bare_tokenizers: Message | None = None
    unfit_parts: Message | None = None
    unfilled_parts: Message | None = None
    outcome: Message | None = None
    chain: list[Message] = field(default_factory=list)
    caught: list[Message] = field(default_factory=list)
    traceback: str = ""
    reaches: list[Message] = field(default_factory=list)
    steps: dict[str, Message] = field(default_factory=dict)
    hooks: list[Message] = field(default_factory=list)
    unavailable: list[Message] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    signatures: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    given: int = 0
    given_bytes: int = 0

    def take(self, messages: Iterable[Message]) -> LoadRun:
        """Gather messages; the latest of a kind counts."""
        for message in messages:
            kind = message["m"]
            if kind == "stage":
                self.steps[message["name"]] = message
            elif kind == "exceptions":
                self.chain, self.traceback = message["chain"], message["text"]
            elif kind == "caught":
                self.caught = message["exceptions"]
            elif kind == "reach":
                self.reaches.append(message)
            elif kind == "wanted":
                self.wanted.append(message["file"])
            elif kind == "given":
                self.given, self.given_bytes = message["count"], message["bytes"]
            elif kind == "hooked":
                self.hooks.append(message)
            elif kind == "unavailable":
                self.unavailable.append(message)
            elif kind == "signature":
                known = self.signatures.setdefault(message["module"], message["document"])
                self.signature = message["document"] or known
            elif kind == "resolution":
                told = self.resolution or {}
                self.resolution = {**told, **{key: value for key, value in message.items() if value}}
            elif kind in _LATEST:
                setattr(self, kind, message)
        return self

    def successor(self) -> LoadRun:
        """An empty run of the same session: what was said of the patient once still holds."""
        return LoadRun(
            hello=self.hello,
            mlx_audio=self.mlx_audio,
            backend=self.backend,
            loader=self.loader,
            signatures=self.signatures,
        )

    @property
    def loads(self) -> bool:
        """The loader returned a model."""
        return self.outcome is not None and self.outcome["loads"] is True

    @property
    def active(self) -> int | None:
        """Bytes of arrays that a load which passed had computed; None where MLX does not tell."""
        return (self.outcome or {}).get("active")

    @property
    def category(self) -> str:
        """The category whose loader was run."""
        return str((self.mlx_audio or {}).get("category") or "tts")

    @property
    def version(self) -> str | None:
        """The version that the patient's mlx-audio gives itself."""
        return (self.mlx_audio or {}).get("version")

    @property
    def failed_stage(self) -> str | None:
        """The stage that an exception ended, or that was running when the process ended."""
        if self.outcome is not None:
            return None if self.outcome["loads"] else str(self.outcome["stage"])
        running = [name for name, step in self.steps.items() if step["status"] == "running"]
        if running:
            return running[0]
        # Nothing had begun: the import of MLX or of the loader itself was under way, or the look for the model.
        return None if self.hello is None else "import" if self.loader is None else "resolve"

    @property
    def mismatches(self) -> int:
        """Tensors that did not fit at load; 0 where the load did not come so far."""
        if self.tensors is None:
            return 0
        counts = self.tensors["counts"]
        return int(counts["missing"] + counts["unexpected"] + counts["shape"])


def stage_results(run: LoadRun, *, blocked: bool) -> list[StageResult]:
    """The ten stages of a run. ``blocked``: the failing one failed only for something that we withheld."""
    failed = run.failed_stage
    results = []
    for name in STAGES:
        step = run.steps.get(name)
        status: StageStatus
        exception = None
        if name == failed:
            status = "blocked" if blocked or run.value_read is not None else "failed"
            exception = _record(run)
        elif step is not None and step["status"] == "passed":
            # Also where an old loader reads the weights before it makes the model.
            status = "passed"
        elif failed is not None and stage_index(name) > stage_index(failed):
            status = "blocked" if blocked or run.value_read is not None else "not-reached"
        else:
            status = "skipped" if run.loads or (failed is not None and run.steps) else "not-reached"
        seconds = round(step["seconds"], 6) if step is not None and step["status"] != "running" else None
        results.append(StageResult(name, status, seconds, step.get("peak_memory") if step else None, exception))
    return results


def _record(run: LoadRun) -> ExceptionRecord | None:
    if not run.chain:
        return None
    raised = run.chain[0]
    frame = raised["frames"][-1] if raised["frames"] else {}
    return ExceptionRecord(
        type=raised["type"],
        message=raised["message"],
        file=frame.get("file"),
        line=frame.get("line"),
        function=frame.get("function"),
        traceback=run.traceback or None,
    )


def blocking_reach(run: LoadRun) -> Message | None:
    """The reach whose failure ended the load, if it failed only for want of network, else None.

    A reach ended the load when its error is in the chain of the raised exception.
    """
    texts = {(link["type"], link["message"][:500]) for link in run.chain}
    for reach in reversed(run.reaches):
        if reach["outcome"] in ("not-cached", "blocked", "failed") and (reach["error"], reach["message"]) in texts:
            return reach
    # transformers turns a hub error into an OSError of its own, without a chain.
    stage = run.failed_stage
    for reach in reversed(run.reaches):
        if reach["outcome"] == "not-cached" and reach["stage"] == stage and run.chain and _says_unreachable(run.chain):
            return reach
    return None


_UNREACHABLE = ("couldn't connect to", "offline", "cached files", "Can't load", "not the path to a directory")


def _says_unreachable(chain: Iterable[Message]) -> bool:
    return any(words in link["message"] for link in chain for words in _UNREACHABLE)


def assert_facts(
    memory: WorkingMemory, run: LoadRun, ending: Ending, stages: Iterable[StageResult], *, offline_by_us: bool
) -> None:
    """Assert ``probe``, ``stage``, ``reach``, ``value_read`` facts of a run."""
    memory.add(
        "probe",
        _HERE,
        outcome=_outcome(run, ending),
        detail=ending.detail,
        signal=ending.signal,
        stage=run.failed_stage if run.outcome is None else None,
        file=ending.file,
        line=ending.line,
        limit=ending.limit,
    )
    for stage in stages:
        memory.add(
            "stage",
            _HERE,
            name=stage.name,
            status=stage.status,
            seconds=float(stage.seconds or 0),
            peak_memory=stage.peak_memory,
        )
    blocking = blocking_reach(run)
    for reach in run.reaches:
        if reach["outcome"] == "found" and reach["what"] not in ("hub", "fork"):
            continue
        memory.add(
            "reach",
            Provenance("load", reach["file"], reach["line"]),
            stage=reach["stage"],
            what=reach["what"],
            target=reach["target"],
            item=reach["item"],
            outcome=reach["outcome"],
            file=reach["file"],
            line=reach["line"],
            at_import=reach["at_import"],
            swallowed=reach["outcome"] != "found" and reach is not blocking and not _same_reach(reach, blocking),
            offline_by_us=offline_by_us and reach["outcome"] in ("not-cached", "blocked"),
        )
    for link in run.caught:
        for part in link.get("parts", ()):
            memory.add(
                "part_left_empty",
                Provenance("load", part["file"], part["line"]),
                stage=link["stage"],
                part=part["part"],
                exception=link["type"],
                message=link["message"][:500],
                file=part["file"],
                line=part["line"],
                loads=run.loads,
            )
    for bare in (run.bare_tokenizers or {}).get("tokenizers", ()):
        memory.add(
            "tokenizer_bare", Provenance("load"), **{name: bare[name] for name in ("part", "class_name", "tokens")}
        )
    for unfit in (run.unfit_parts or {}).get("parts", ()):
        memory.add(
            "part_unfit",
            Provenance("load", path=unfit["part"]),
            **{name: unfit[name] for name in ("part", "class_name", "tensors", "matched")},
            example=clean(unfit["example"]),
            **{name: str(tuple(unfit[name])) for name in ("expected", "received")},
        )
    for unfilled in (run.unfilled_parts or {}).get("parts", ()):
        memory.add(
            "part_unfilled",
            Provenance("load", path=unfilled["part"]),
            **{name: unfilled[name] for name in ("part", "class_name", "tensors", "given")},
            example=clean(unfilled["example"]),
        )
    for changed in (run.conduct or {}).get("changed", ()):
        memory.add(
            "process_change",
            Provenance("load", changed["file"], changed["line"]),
            **{name: changed[name] for name in ("what", "function", "file", "line")},
            raised=changed["file"] is not None and _came_out_of(changed, run),
        )
    for place in {(hook["what"], hook["file"], hook["line"]): hook for hook in run.hooks}.values():
        memory.add(
            "process_change",
            Provenance("load", place["file"], place["line"]),
            what=place["what"],
            function=None,
            file=place["file"],
            line=place["line"],
            raised=_called_out_of_turn(place["file"], run),
        )
    if run.value_read is not None:
        read = run.value_read
        memory.add(
            "value_read", _HERE, stage=read["stage"], operation=read["operation"], file=read["file"], line=read["line"]
        )


def _came_out_of(replacement: Message, run: LoadRun) -> bool:
    """Whether what ended the load was raised in a function that the patient's code put in place of another."""
    return any(
        (frame["file"], frame["function"]) == (replacement["file"], replacement["function"])
        for link in run.chain
        for frame in link["frames"][-2:]
    )


def _called_out_of_turn(file: str, run: LoadRun) -> bool:
    """Whether what ended the load was raised in ``file``, called by code that lies elsewhere and calls nothing there:
    as the interpreter calls a tracer."""
    frames = run.chain[0]["frames"] if run.chain else []
    return (
        len(frames) > 1
        and frames[-1]["file"] == file != frames[-2]["file"]
        and frames[-1]["function"].rpartition(".")[2] not in frames[-2]["source"]
        and frames[-1]["function"] != "<module>"
    )


def _same_reach(reach: Message, blocking: Message | None) -> bool:
    return blocking is not None and reach["target"] == blocking["target"] and reach["stage"] == blocking["stage"]


def _outcome(run: LoadRun, ending: Ending) -> str:
    if ending.outcome == "completed" and run.mlx_audio is not None and run.mlx_audio["directory"] is None:
        return "no-mlx-audio"
    if ending.outcome == "completed" and any(
        link["type"] == "MemoryError" or "bad_alloc" in link["message"] for link in run.chain
    ):
        return "memory-exceeded"
    return ending.outcome
