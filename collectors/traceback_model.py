"""Which model a pasted text is about: its name, category, family, type, and what it asked the hub for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.origins import origin_of
from mlx_diagnose.collectors.text import clean

_LINES, _LENGTH = 20_000, 2000
_CATEGORY = r"(?P<category>tts|stt|sts|vad|lid|codec|music)"
_FAMILY_FILE = re.compile(rf"^{_CATEGORY}/models/(?P<family>[A-Za-z_]\w*)/")
_LOADER_FILE = re.compile(rf"^{_CATEGORY}/")
_FAMILY_MODULE = re.compile(rf"mlx_audio\.{_CATEGORY}\.models\.(?P<family>[\w.]+?)\.?(?='|\s|$)")
_UNSUPPORTED = re.compile(r"Model type (?P<type>\S{1,200}) not supported(?: for (?P<category>\w+))?")
_DEPENDENCY_OF = re.compile(r"Missing dependency while loading (?P<family>[\w.-]+):")

_ID = r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}"
_CALL = re.compile(
    r"\b(?:load|load_model|load_tts_model|generate_audio|from_pretrained|snapshot_download|hf_hub_download)\(\s*"
    r"(?:(?:model|model_path|model_name|path|repo_id|path_or_hf_repo)\s*=\s*)?(?P<quote>[\"'])(?P<name>[^\"']{1,300})(?P=quote)"
)
_OPTION = re.compile(r"\s--?model(?:[-_](?:path|name))?[ =][\"']?(?P<name>[^\s\"']{1,300})")
_SNAPSHOT = re.compile(r"[/\\]models--(?P<org>[\w.-]+?)--(?P<repo>[\w.-]+)[/\\]snapshots[/\\]")
_GATED = re.compile(rf"gated repo\W+(?P<id>{_ID})")
_URL = re.compile(
    rf"https?://[\w.-]+(?::\d+)?/(?:api/)?(?:models/)?(?P<id>{_ID})(?=/(?:resolve|revision|tree|blob)/|[\s'\".,]|$)"
)
_DIRECTORY = re.compile(r"(?:found in|not found at|length file) (?P<path>(?:/|~|[A-Za-z]:[\\/])[^\n'\"]{1,400})")

#: Exceptions of the hub and how the request went that they report.
_HUB_OUTCOMES = {
    "LocalEntryNotFoundError": "not-cached",
    "OfflineModeIsEnabled": "not-cached",
    "RepositoryNotFoundError": "not-found",
    "RevisionNotFoundError": "not-found",
    "EntryNotFoundError": "not-found",
    "GatedRepoError": "refused",
    "HfHubHTTPError": "failed",
}


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of the model.

    ``name`` is a hub id or a path; ``declared`` the type that the loader does not support,
    ``missing_type`` the same if it is proven that its module is not there.
    """

    name: str | None = None
    is_hub_id: bool = False
    category: str | None = None
    family: str | None = None
    missing_type: str | None = None
    declared: str | None = None


@dataclass(frozen=True, slots=True)
class HubRequest:
    """A request to the hub that failed. ``repo`` is None where the text does not name it; ``frame`` asked for it."""

    repo: str | None
    outcome: str
    frame: Frame | None
    at_import: bool
    offline: bool


def model_in(lines: Sequence[str], chain: Sequence[ExceptionDoc], stage: str | None) -> Model:
    """What the text tells of the model."""
    category, family = _family(chain)
    unsupported = next((found for doc in chain if (found := _UNSUPPORTED.search(doc.message[:1000]))), None)
    declared = missing_type = None
    if unsupported:
        declared = clean(unsupported["type"].strip("'\""), 200)
        category = unsupported["category"] or category
        if any(_is_family_module(doc, declared) for doc in chain):
            missing_type = declared
    name = _name(lines, chain, stage)
    return Model(
        name=clean(name, 300) if name is not None else None,
        is_hub_id=name is not None and re.fullmatch(_ID, name) is not None,
        category=category,
        family=None if family == missing_type else family,
        missing_type=missing_type,
        declared=declared,
    )


def hub_request(chain: Sequence[ExceptionDoc]) -> HubRequest | None:
    """The request to the hub whose failure ended the load, None where that was something else."""
    failed = next((doc for doc in chain if doc.type in _HUB_OUTCOMES), None)
    gated = next((doc for doc in chain if "gated repo" in doc.message[:1000]), None)
    if failed is None and gated is None:
        return None
    asked = chain[0]
    code = [frame for frame in asked.frames if origin_of(frame.file).kind not in ("huggingface_hub", "stdlib")]
    ours = [frame for frame in code if origin_of(frame.file).package == "mlx-audio"] or code
    return HubRequest(
        repo=_url(chain) or next((name for frame in reversed(ours) if (name := _literal_id(frame))), None),
        outcome=_HUB_OUTCOMES[failed.type] if failed is not None and gated is None else "refused",
        frame=ours[-1] if ours else None,
        at_import=any(f.function == "<module>" and origin_of(f.file).is_model_code for f in asked.frames),
        offline=any(
            doc.type == "OfflineModeIsEnabled" or "outgoing traffic has been disabled" in doc.message for doc in chain
        ),
    )


# -- family and type -----------------------------------------------------------------------------


def _family(chain: Iterable[ExceptionDoc]) -> tuple[str | None, str | None]:
    """Category and family of the outermost model code; a codec only where nothing else was running."""
    insides = [inside for doc in chain for frame in doc.frames if (inside := origin_of(frame.file).inside)]
    found = [match for inside in insides if (match := _FAMILY_FILE.match(inside))]
    found = [match for match in found if match["category"] != "codec"] or found
    if found:
        return found[0]["category"], found[0]["family"]
    loaders = [match["category"] for inside in insides if (match := _LOADER_FILE.match(inside))]
    category = next((name for name in loaders if name != "codec"), None)
    for doc in chain:
        module = _FAMILY_MODULE.search(doc.message[:1000])
        named = _DEPENDENCY_OF.search(doc.message[:1000])
        if named:
            return category, named["family"]
        if module:
            return module["category"], None
    return category, None


def _is_family_module(doc: ExceptionDoc, model_type: str) -> bool:
    """``doc`` says that the very module of the type is not there, rather than something that it imports."""
    module = _FAMILY_MODULE.search(doc.message[:1000]) if doc.is_a("ModuleNotFoundError") else None
    return module is not None and module["family"] == model_type


# -- name ----------------------------------------------------------------------------------------


def _name(lines: Sequence[str], chain: Sequence[ExceptionDoc], stage: str | None) -> str | None:
    """As the user wrote it, else as a path or an address in a message tells."""
    for doc in chain:
        for frame in doc.frames:
            if origin_of(frame.file).package not in ("mlx-audio", "huggingface-hub", "transformers"):
                called = _CALL.search(frame.source)
                if called:
                    return called["name"]
    for line in reversed(lines[-_LINES:]):
        option = _OPTION.search(line[:_LENGTH])
        if option:
            return option["name"]
    for text in _texts(chain):
        snapshot = _SNAPSHOT.search(text)
        if snapshot:
            return f"{snapshot['org']}/{snapshot['repo']}"
    if stage in ("resolve", "config") and (url := _url(chain)):
        return url
    for doc in chain:
        directory = _DIRECTORY.search(doc.message[:2000])
        if directory:
            path = directory["path"].strip().replace("\\", "/")
            return path.rpartition("/")[0] if path.endswith((".safetensors", ".npz")) else path
    return None


def _texts(chain: Iterable[ExceptionDoc]) -> Iterator[str]:
    for doc in chain:
        yield doc.message[:4000]
        yield from (frame.source for frame in doc.frames)


def _url(chain: Iterable[ExceptionDoc]) -> str | None:
    found = (pattern.search(doc.message[:4000]) for pattern in (_URL, _GATED) for doc in chain)
    names = (match["id"].rstrip(".") for match in found if match)
    return next((name for name in names if not name.startswith("docs/")), None)


def _literal_id(frame: Frame) -> str | None:
    """A repository id that the line of ``frame`` spells out."""
    called = _CALL.search(frame.source)
    return called["name"] if called and re.fullmatch(_ID, called["name"]) else None
