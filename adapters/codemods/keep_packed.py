"""``sanitize`` leaves packed weights as they are, and keeps their scales and biases.

At that time the model is not quantised yet, so a sanitize that goes by the model's parameters drops scales and
biases (VibeVoice before 0.4.2; ``lm_head`` of KugelAudio), and takes a packed weight for one that is transposed.
"""

from __future__ import annotations

from mlx_diagnose.adapters.codemods._sanitize import with_checked_result

TITLE = "sanitize keeps packed weights, with their scales and biases"
CAUSE = (
    "sanitize goes by the parameters of the model, which is not quantised yet: scales and biases, which it does not "
    "know, are dropped, and a packed weight, which has another shape, may be transposed. The layer then stays plain, "
    "and the load ends with a wrong shape."
)
_HELPER = '''\
def keep_packed(given, made):
    """``made`` by sanitize, with packed layers as they were ``given``."""
    names = {id(array): name for name, array in made.items()}
    for scales in [name for name in given if name.endswith(".scales")]:
        layer = scales.removesuffix("scales")
        parts = {
            part: given[layer + part]
            for part in ("weight", "scales", "biases")
            if layer + part in given
        }
        # What was only renamed is the same array still.
        renamed = [names[id(array)] for array in parts.values() if id(array) in names]
        to = renamed[0].rpartition(".")[0] + "." if renamed else layer
        weight, packed = made.get(to + "weight"), parts.get("weight")
        if weight is None or packed is None:
            continue
        if weight.dtype == packed.dtype and sorted(weight.shape) == sorted(packed.shape):
            made.update({to + part: array for part, array in parts.items()})
    return made
'''


def transform(source: str, line: int | None) -> str:
    """What ``Model.sanitize`` returns goes through ``keep_packed``."""
    del line
    import libcst as cst

    module = cst.parse_module(source)
    made = with_checked_result(module, _HELPER, ("given",))
    return source if made is module else str(made.code)


def regression_test(module: str) -> str:
    """``keep_packed`` on a packed layer that sanitize renamed, transposed and robbed of its scales."""
    return f'''\
import inspect

import mlx.core as mx

import {module} as changed


def test_packed_layers_are_kept():
    """sanitize must neither drop scales and biases nor transpose what is packed."""
    packed, scales, biases = mx.quantize(mx.ones((8, 64)), group_size=64, bits=4)
    given = {{"a.weight": packed, "a.scales": scales, "a.biases": biases}}
    kept = changed.keep_packed(given, {{"b.weight": packed}})
    assert list(kept) == ["b.weight", "b.scales", "b.biases"]
    kept = changed.keep_packed(given, {{"a.weight": packed.T}})
    assert kept["a.weight"] is packed and kept["a.scales"] is scales
    assert changed.keep_packed(given, {{"c.weight": mx.ones((2, 2))}}).keys() == {{"c.weight"}}
    assert "keep_packed(" in inspect.getsource(changed.Model.sanitize)
'''
