"""Whether what went wrong on the way to the hub is the doing of a proxy that the environment names."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import replace
from urllib.parse import urlsplit

from mlx_diagnose.collectors.hub_problems import Problem

#: Failures of the connection that a client makes to its proxy.
_CONNECTION = frozenset({"unreachable", "dns"})
#: Words of requests and httpx for a connection that was closed before anything was said.
_SILENT = re.compile(r"without (sending a )?response", re.IGNORECASE)


def on_the_way(endpoint: str) -> str | None:
    """The proxy between here and ``endpoint``, without user and password; None where there is none."""
    parts = urlsplit(endpoint)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc.rpartition("@")[2] or None


def told_of(problem: Problem, proxy: str | None) -> Problem:
    """``problem`` with the proxy on the way, and told as the proxy's where it is that.

    A certificate that is not accepted is what a proxy shows which looks into secure connections: it stays one.
    """
    if proxy is None:
        return problem
    problem = replace(problem, proxy=proxy)
    silent = problem.outcome == "broken-off" and _SILENT.search(problem.detail or "")
    # A tunnel in which nothing speaks TLS ends at the proxy.
    mute = problem.outcome == "tls" and problem.tls in (None, "no-tls")
    return replace(problem, outcome="proxy", tls=None) if problem.outcome in _CONNECTION or silent or mute else problem
