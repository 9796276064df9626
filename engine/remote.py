"""A diagnosis of what is only on the hub: looked at there, laid out in a scratch cache, loaded offline from it.

The load tells what else it reads: files of the model that were not fetched yet, and other
repositories. These are looked at in the same way, and the model is loaded again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import Message, PatientProcess
from mlx_diagnose.collectors.target import Located, is_loadable, offline_by_user
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.options import Options

if TYPE_CHECKING:
    from mlx_diagnose.collectors.hub import RemoteModel

#: Seconds that all questions to the hub may take, and loads that are made to learn what else is read.
SECONDS = 60.0
MAX_ROUNDS = 16
MAX_COMPANIONS = 16


def is_asked(options: Options, located: Located) -> bool:
    """Whether the hub is to be asked: for a hub id that is not whole in the cache, unless somebody forbids it."""
    if located.source != "hub" or options.offline is True or (options.offline is None and offline_by_user()):
        return False
    return not is_loadable(located.directory)


class Remote:
    """The hub's side of one diagnosis. Everything it makes is gone when ``stack`` unwinds."""

    def __init__(self, options: Options, located: Located, stack: ExitStack, progress: Callable[[str], None]) -> None:
        from mlx_diagnose.collectors.hub_client import HubClient
        from mlx_diagnose.collectors.hub_scratch import ScratchCache

        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="diagnose-", ignore_cleanup_errors=True))
        self._client = HubClient(seconds=min(SECONDS, options.timeout), spare=Path(root, "spare"))
        self._cache = ScratchCache(Path(root), self._client.cache)
        self._revision = options.revision
        self._category = options.category
        self._traced = options.trace
        self._located = located
        self._progress = progress
        self.models: dict[str, RemoteModel] = {}

    @property
    def network(self) -> Mapping[str, int]:
        """Requests and bytes so far."""
        return {"requests": self._client.meter.requests, "bytes": self._client.meter.bytes}

    @property
    def commit(self) -> str | None:
        """The commit of the model that was looked at."""
        return self.models[self._located.model].commit

    def look(self, executable: str) -> Located:
        """Look at the model on the hub; where the patient, ``executable``, is to load it from."""
        from mlx_diagnose.collectors import hub

        self._progress("asking the hub")
        located = self._located
        patterns = _patterns(executable, self._category, located.name)
        model = hub.examine(self._client, located.model, self._revision, self._cache, patterns=patterns)
        self.models[located.model] = model
        if model.scratch is None:
            return located
        return replace(located, state="present", directory=model.scratch.directory, cache=self._cache)

    def load_further(self, run: LoadRun, process: PatientProcess, script: Path | None = None) -> LoadRun:
        """Fetch what ``run`` turned out to need and load again, as long as something new comes.

        With ``script`` it is that program that loads the model, as an adapter does.
        """
        if self._located.model not in self.models or self.models[self._located.model].scratch is None:
            return run
        self._client.extend(SECONDS)
        for _ in range(MAX_ROUNDS):
            if process.ending is not None:
                break
            unseen = self._cache.read_natively()
            run.wanted.extend(unseen)
            if not (self._fetch(run) or self._companions(run)):
                return run if run.loads or not unseen else _undecided(run, unseen[0])
            process.forget_output()
            self._progress("loading the model lazily, with what it asked for")
            run = run.successor().take(self._request(process, script))
        return run

    def _request(self, process: PatientProcess, script: Path | None) -> Iterator[Message]:
        if script is not None:
            return process.request(probe="script", script=str(script), ghost=True)
        return process.request(load=self._located.load, ghost=True, revision=self._revision, traced=self._traced)

    def _fetch(self, run: LoadRun) -> bool:
        from mlx_diagnose.collectors import hub
        from mlx_diagnose.collectors.hub_scratch import folder_name

        came = False
        for repo, model in self.models.items():
            prefix = folder_name(repo) + "/"
            names = [file.removeprefix(prefix) for file in run.wanted if file.startswith(prefix)]
            came |= bool(names) and hub.fetch_more(self._client, model, names)
        return came

    def _companions(self, run: LoadRun) -> bool:
        """Look at the repositories that the load did not find; whether one of them was new."""
        from mlx_diagnose.collectors import hub

        came = False
        for reach in run.reaches:
            repo = str(reach["target"])
            missed = reach["what"] == "hub" and reach["outcome"] == "not-cached"
            if not missed or repo in self.models or len(self.models) > MAX_COMPANIONS:
                continue
            self._progress(f"asking the hub for {repo}")
            model = hub.examine(self._client, repo, None, self._cache, role="companion", item=reach["item"])
            self.models[repo] = model
            came |= model.scratch is not None
        return came

    def look_ahead(self, memory: WorkingMemory) -> None:
        """Look at the repositories that the load would want further on (``companion`` facts), and say what is there."""
        if self.models[self._located.model].info is None:
            return  # a hub that does not answer for the model is not asked for more
        from mlx_diagnose.collectors import hub, hub_facts

        for fact in memory.of("companion", what="repo", ahead=True):
            repo = str(fact["name"])
            wanted = fact["stage"] is not None and fact["state"] in ("not-cached", "partial")
            if not wanted or repo in self.models or len(self.models) > MAX_COMPANIONS:
                continue
            self._client.extend(SECONDS)
            self._progress(f"asking the hub for {repo}")
            self.models[repo] = hub.examine(self._client, repo, None, self._cache, role="companion")
            hub_facts.collect(memory, self.models[repo], self._client)

    def assert_facts(self, memory: WorkingMemory) -> None:
        """What the hub said of every repository that was asked for."""
        from mlx_diagnose.collectors import hub_facts

        for model in self.models.values():
            hub_facts.collect(memory, model, self._client)


def _undecided(run: LoadRun, file: str) -> LoadRun:
    """``run``, in which native code read a file that could not be fetched: its failure says nothing."""
    return replace(run, value_read={"stage": run.failed_stage, "operation": f"open {file}", "file": None, "line": None})


def _patterns(executable: str, category: str | None, name: str) -> tuple[str, ...] | None:
    """Which files the patient's mlx-audio downloads of a model, before the patient is started."""
    from mlx_diagnose.collectors import allow_patterns, static_patient

    found = static_patient.mlx_audio(static_patient.greeting(executable), category, None, name)
    directory = found["directory"]
    return allow_patterns.read(Path(directory), str(found["category"])) if directory else None
