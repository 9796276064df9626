"""Config paths in a line of source, such as ``cfg["decoder"].hidden_size`` in a traceback.

Works on text, not on a syntax tree: a traceback shows one line, which often is a part of a
statement only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_CHAIN = re.compile(
    r"""[A-Za-z_]\w*(?:
        \.get\(\s*["'][\w.\-]+["'][^()]*\)
      | \[\s*["'][\w.\-]+["']\s*\]
      | \.[A-Za-z_]\w*
    )*""",
    re.VERBOSE,
)
_STEP = re.compile(r"""\.get\(\s*["']([\w.\-]+)["'][^()]*\)|\[\s*["']([\w.\-]+)["']\s*\]|\.([A-Za-z_]\w*)""")
_STRING = re.compile(r"""(?<![\[(\w])(?:"[^"]*"|'[^']*')""")

#: Names that code gives to a whole config, or to the section that a class was handed.
_WHOLE = re.compile(
    r"^_?(config|cfg|conf|configuration|config_dict|model_config|args|model_args|params|hparams|hps|hp|kwargs|options"
    r"|opts?|settings|data|d)$"
)


@dataclass(frozen=True, slots=True)
class ConfigExpression:
    """A chain that reads a config: ``root`` as written (``config``), ``steps`` below it, whether it is ``called``."""

    root: str
    steps: tuple[str, ...]
    called: bool

    def upto(self, count: int) -> ConfigExpression:
        """The same chain with its first ``count`` steps."""
        return ConfigExpression(self.root, self.steps[:count], self.called and count == len(self.steps))

    @property
    def path(self) -> str:
        return ".".join(self.steps)


def is_config_name(name: str) -> bool:
    """``name`` is one that code gives to a whole config or to a section it was handed."""
    return _WHOLE.match(name) is not None


def config_expressions(source: str, sections: frozenset[str] = frozenset()) -> Iterator[ConfigExpression]:
    """The chains in ``source`` that start at a config, in order.

    A chain starts at a name such as ``config`` or ``self.args``, whose steps are the path below
    it; or at a name in ``sections``, which is then the first step (``talker_config.hidden_size``).
    """
    code = _STRING.sub("''", source)
    for match in _CHAIN.finditer(code):
        names = [re.match(r"\w+", match[0])[0]]  # type: ignore[index]
        names += [next(filter(None, step.groups())) for step in _STEP.finditer(match[0])]
        called = code[match.end() :].lstrip().startswith("(")
        start = next((i for i, name in enumerate(names) if is_config_name(name)), None)
        if start is not None and start <= 2:
            yield ConfigExpression(".".join(names[: start + 1]), tuple(names[start + 1 :]), called)
            continue
        start = next((i for i, name in enumerate(names[:3]) if name in sections), None)
        if start is not None and all(name == "self" for name in names[:start]):
            yield ConfigExpression("", tuple(names[start:]), called)
