"""Which object is which, at no cost."""

from __future__ import annotations

from typing import Any, Callable

#: Tells objects that live at the same time apart, as ``id`` does: the hash of an address is that address, rotated.
#: ``id`` raises an audit event, and with an audit hook in Python, as the watch has one, takes twenty times as long.
identity: Callable[[Any], int] = object.__hash__
