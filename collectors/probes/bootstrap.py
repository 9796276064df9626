"""What ``PYTHON -c`` runs in the patient: it serves the probe's modules and starts one of them.

The sources arrive over a descriptor, since a ``-c`` argument is limited to 128 KiB and a probe
run by path would put its own folder on ``sys.path``, where a file named like a package shadows
it. The first statements drop the entry that ``-c`` put there (the current directory): a
``requests.py`` lying in it must not be executed. Must parse and run on any Python 3.
"""

import sys

if sys.path and sys.path[0] == "":
    del sys.path[0]

import builtins
import importlib.abc
import importlib.machinery
import json
import os


class _Served(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads the modules whose sources were sent."""

    def __init__(self, sources):  # type: ignore[no-untyped-def]
        self.sources = sources
        self.builtins = dict(vars(builtins))

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name not in self.sources:
            return None
        _, is_package = self.sources[name]
        spec = importlib.machinery.ModuleSpec(name, self, is_package=is_package)
        spec.origin = "<diagnose>/" + name.replace(".", "/") + ".py"
        return spec

    def exec_module(self, module):  # type: ignore[no-untyped-def]
        source, _ = self.sources[module.__name__]
        # Of its own, so that what the patient's code makes of ``open`` or ``getattr`` is none of the probe's business.
        module.__dict__["__builtins__"] = self.builtins
        exec(compile(source, module.__spec__.origin, "exec"), module.__dict__)

    def get_source(self, name):  # type: ignore[no-untyped-def]
        return self.sources[name][0]


def _start():  # type: ignore[no-untyped-def]
    requests = os.fdopen(int(sys.argv[1]), "r", encoding="utf-8")
    reports = int(sys.argv[2])
    sys.argv = [""]
    job = json.loads(requests.readline())
    sys.meta_path.insert(0, _Served(job.pop("sources")))  # type: ignore[no-untyped-call]
    __import__(job["entry"])
    sys.modules[job["entry"]].main(job, requests, reports)


if __name__ == "__main__":
    _start()  # type: ignore[no-untyped-call]
