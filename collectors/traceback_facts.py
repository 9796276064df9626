"""What a pasted text tells, as facts. Nothing of this machine is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mlx_diagnose.collectors import exceptions, release_defects, traceback_tensors
from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.release_defects import Circumstances, possible_versions
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.collectors.traceback_environment import Told, environment_in
from mlx_diagnose.collectors.traceback_model import Model, hub_request, model_in
from mlx_diagnose.collectors.traceback_remains import Complaint
from mlx_diagnose.collectors.traceback_stage import passed_before, stage_of
from mlx_diagnose.collectors.traceback_text import Pasted
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: The model, where the text does not name it.
UNNAMED = "<traceback>"

_NAME = "traceback"
_HERE = Provenance(_NAME)
_NOT_CACHED = "not-cached"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text was understood to say. ``stage`` is None where it does not tell; ``passed`` are those it proves."""

    chain: tuple[ExceptionDoc, ...]
    stage: str | None
    passed: frozenset[str]
    model: Model
    told: Told


def read(pasted: Pasted, category: str | None = None) -> Reading:
    """What ``pasted`` says; ``category`` is what its user adds."""
    stage = stage_of(pasted.chain or _crashed(pasted))
    chain = tuple(replace(doc, stage=stage or "unknown") for doc in pasted.chain)
    model = model_in(pasted.lines, chain, stage)
    return Reading(
        chain,
        stage,
        passed_before(chain or _crashed(pasted), stage),
        replace(model, category=category or model.category),
        environment_in(pasted.lines, chain),
    )


def _crashed(pasted: Pasted) -> tuple[ExceptionDoc, ...]:
    """Where a crash happened, as if it were an exception."""
    return (ExceptionDoc("unknown", "raised", "", frames=pasted.crash.frames),) if pasted.crash is not None else ()


def collect(memory: WorkingMemory, pasted: Pasted, reading: Reading) -> None:
    """Assert what the text tells.

    Facts: target, probe, stage, interpreter, package, those of the exceptions collector, reach,
    resolution, type_candidate, tensor_message, tensor_difference, weights_difference,
    installer_error, release_defect.
    """
    _target(memory, reading)
    _probe(memory, pasted, reading)
    _environment(memory, reading.told)
    context = exceptions.ExceptionContext(packages=reading.told.packages, local=False)
    exceptions.collect(memory, reading.chain, context)
    _reach(memory, reading)
    circumstances = _circumstances(reading)
    _resolution(memory, reading, circumstances)
    if reading.chain:
        traceback_tensors.collect(memory, reading.chain[0].message, reading.stage or "unknown")
    for complaint in (*pasted.complaints, *_failed_build(pasted, reading)):
        memory.add(
            "installer_error",
            Provenance(_NAME, line=complaint.line),
            tool=complaint.tool,
            what=complaint.what,
            package=complaint.package,
            requirement=complaint.requirement,
            message=complaint.message,
        )
    release_defects.collect(
        memory, reading.chain, circumstances, [complaint.message for complaint in pasted.complaints]
    )


#: Frames of the build of a package.
_BUILDING = re.compile(r"/setuptools/build_meta\.py$|/pyproject_hooks/|(^|/)setup\.py$")


def _failed_build(pasted: Pasted, reading: Reading) -> Iterator[Complaint]:
    """The complaint that an installer would end a failed build with, where the text has the traceback alone."""
    if any(complaint.what == "build-failed" for complaint in pasted.complaints):
        return
    doc = next((doc for doc in reading.chain if any(_BUILDING.search(frame.file) for frame in doc.frames)), None)
    if doc is not None:
        yield Complaint("pip", "build-failed", clean(f"{doc.type}: {doc.message}", 500))


def _target(memory: WorkingMemory, reading: Reading) -> None:
    model, request = reading.model, hub_request(reading.chain)
    uncached = reading.stage == "resolve" and request is not None and request.outcome == _NOT_CACHED
    memory.add(
        "target",
        _HERE,
        model=model.name or UNNAMED,
        source="hub" if model.is_hub_id else "directory",
        state="uncached" if uncached and model.is_hub_id else "present",
        name=(model.name or "").rstrip("/").rpartition("/")[2],
        path=None,
        category=model.category or "tts",
        offline_by_user=request is not None and request.offline,
    )


def _probe(memory: WorkingMemory, pasted: Pasted, reading: Reading) -> None:
    crash = pasted.crash
    innermost = crash.frames[-1] if crash is not None and crash.frames else None
    if crash is not None or reading.chain:
        memory.add(
            "probe",
            _HERE,
            outcome="crashed" if crash is not None else "completed",
            detail=crash.detail if crash is not None else None,
            signal=crash.signal if crash is not None else None,
            stage=reading.stage if crash is not None else None,
            file=innermost.file if innermost is not None else None,
            line=innermost.line if innermost is not None else None,
        )
    for name in sorted(reading.passed):
        memory.add("stage", _HERE, name=name, status="passed", seconds=0.0)
    if reading.stage is not None:
        memory.add("stage", _HERE, name=reading.stage, status="failed", seconds=0.0)


def _environment(memory: WorkingMemory, told: Told) -> None:
    if told.python is not None:
        system = told.system or "unknown"
        memory.add("interpreter", _HERE, version=told.python, system=system, machine="unknown")
    for name, version in told.packages.items():
        memory.add("package", _HERE, name=name, installed=True, version=version)
    for name in sorted(told.absent):
        memory.add("package", _HERE, name=name, installed=False)


def _reach(memory: WorkingMemory, reading: Reading) -> None:
    """The request to the hub that ended the load. Without the repository's name the exception has to speak for it."""
    request = hub_request(reading.chain)
    if request is None or request.repo is None:
        return
    if reading.stage is None and request.outcome != "refused":
        return
    frame = request.frame
    memory.add(
        "reach",
        Provenance(_NAME, file=frame.file if frame else None, line=frame.line if frame else None),
        stage=reading.stage or "unknown",
        what="hub",
        target=clean(request.repo, 300),
        outcome=request.outcome,
        file=frame.file if frame else None,
        line=frame.line if frame else None,
        at_import=request.at_import and reading.stage == "import",
        swallowed=False,
        offline_by_us=False,
    )


# -- the release, and the type it did not find ---------------------------------------------------


def _circumstances(reading: Reading) -> Circumstances:
    at_least, below = _bounds(reading.chain)
    model = reading.model
    return Circumstances(
        packages=reading.told.packages,
        system=reading.told.system,
        category=model.category,
        family=model.family,
        model_type=model.declared,
        at_least=at_least,
        below=below,
    )


def _bounds(chain: Sequence[ExceptionDoc]) -> tuple[str | None, str | None]:
    """Releases of mlx-audio that speak like this: the first, and the first that no longer does.

    ``mlx_audio/utils.py::base_load_model`` and "not supported for tts" came with 0.3.0, "Missing
    dependency while loading" with 0.3.1; ``get_model_and_args`` spoke before 0.3.0.
    """
    messages = " ".join(doc.message[:300] for doc in chain)
    functions = {frame.function for doc in chain for frame in doc.frames if "mlx_audio/" in frame.file}
    if "Missing dependency while loading" in messages:
        return "0.3.1", None
    if "base_load_model" in functions or "get_model_class" in functions or "not supported for " in messages:
        return "0.3.0", None
    if "get_model_and_args" in functions or (messages.startswith("Model type ") and " not supported." in messages):
        return None, "0.3.0"
    return None, None


def _resolution(memory: WorkingMemory, reading: Reading, circumstances: Circumstances) -> None:
    """How the look-up of the family ended, where the text proves that there is none of the name.

    The type is taken for declared if mlx-audio has, or once had, a family for it: what the loader
    takes from the name of a directory instead is hardly ever one.
    """
    from mlx_diagnose.knowledge_base.data import families, supported_since

    asked, category = reading.model.missing_type, reading.model.category or "tts"
    if asked is None:
        declared = reading.model.declared
        since = supported_since(declared, category) if declared is not None else None
        if declared is not None and since is not None and reading.stage == "architecture":
            _candidate(memory, declared, since.family, category, "supported-since", since.release)
        return
    since = supported_since(asked, category)
    elsewhere = [other for other, found in families().items() if other != category and asked in found]
    versions = possible_versions("mlx-audio", circumstances)
    newer = [version for version in versions if since is not None and not _older(version, since.release)]
    if since is None and not elsewhere:
        return
    mapped = since is not None and since.family != asked
    if mapped and (not versions or 0 < len(newer) < len(versions)):
        return  # too old for the type, or a release that does not apply its mapping: the text does not tell
    known = mapped and bool(newer)
    memory.add(
        "resolution",
        _HERE,
        declared=asked,
        declared_key="model_type",
        resolved=asked,
        via="declared",
        family_exists=False,
        declared_exists=known,
        declared_family=since.family if known and since is not None else None,
        declared_usual=False,
        category=category,
    )
    # That the module of a family is not there tells that the release is older, unless it is known to be newer.
    if since is not None and (not newer or (not mapped and len(versions) > 1)):
        _candidate(memory, asked, since.family, category, "supported-since", since.release)
    for other in elsewhere:
        _candidate(memory, asked, asked, other, "same-name-other-category", None)


def _candidate(
    memory: WorkingMemory, declared: str, family: str, category: str, reason: str, since: str | None
) -> None:
    memory.add(
        "type_candidate",
        _HERE,
        declared=declared,
        family=family,
        category=category,
        reason=reason,
        score=1.0,
        since=since,
        best=reason == "supported-since",
    )


def _older(version: str, release: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version) < Version(release)
    except InvalidVersion:
        return False
