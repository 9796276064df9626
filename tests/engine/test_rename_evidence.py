"""Which renamings rest on names, and which on nothing but a shape."""

from __future__ import annotations

import pytest

from mlx_diagnose.engine.rename_evidence import undecided

SQUARE = (64, 64)


def asked(pairs: dict[str, str], **more: tuple[int, ...]) -> bool:
    found = dict.fromkeys(pairs, SQUARE)
    return undecided(pairs.items(), found, {**dict.fromkeys(pairs.values(), SQUARE), **more})


def test_one_tensor_of_its_shape_needs_no_name() -> None:
    assert not asked({"a.proj_a.weight": "a.v_proj.weight"})


@pytest.mark.parametrize(
    ("pairs", "open_question"),
    [
        ({"l.0.attn.proj_a.w": "l.0.attn.v_proj.w", "l.0.attn.proj_b.w": "l.0.attn.k_proj.w"}, True),
        ({"l.0.attn.wq.w": "l.0.attn.q_proj.w", "l.0.attn.wk.w": "l.0.attn.k_proj.w"}, False),
        ({"l.0.attn.query.w": "l.0.attn.q_proj.w", "l.0.attn.value.w": "l.0.attn.v_proj.w"}, False),
        ({"norm1.gamma": "norm1.weight", "norm2.gamma": "norm2.weight"}, False),
        ({"n.gamma": "n.weight", "n.beta": "n.bias"}, False),
        ({"n.scale": "n.weight", "n.shift": "n.bias"}, True),
        ({"a.weight_renamed": "a.weight", "b.weight_renamed": "b.weight"}, False),
    ],
)
def test_where_shapes_agree_names_decide(pairs: dict[str, str], open_question: bool) -> None:
    assert asked(pairs) is open_question
