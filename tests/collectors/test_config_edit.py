"""Single edits of a config are applied to copies, and leaves are found at any depth."""

from __future__ import annotations

import pytest

from mlx_diagnose.collectors.config_edit import Edit, leaves

CONFIG = {"hidden": 4, "decoder": {"dim": 8, "rates": [2, 3]}}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit("replace", ("decoder", "dim"), 16), {"hidden": 4, "decoder": {"dim": 16, "rates": [2, 3]}}),
        (Edit("replace", ("decoder", "rates", 1), 5), {"hidden": 4, "decoder": {"dim": 8, "rates": [2, 5]}}),
        (Edit("add", ("encoder", "dim"), 1), {**CONFIG, "encoder": {"dim": 1}}),
        (Edit("rename", ("hidden",), to=("hidden_size",)), {"hidden_size": 4, "decoder": CONFIG["decoder"]}),
        (Edit("remove", ("hidden",)), {"decoder": CONFIG["decoder"]}),
        (Edit("move", ("hidden",), to=("decoder", "hidden")), {"decoder": {"dim": 8, "rates": [2, 3], "hidden": 4}}),
    ],
)
def test_an_edit_changes_a_copy(edit: Edit, expected: object) -> None:
    before = repr(CONFIG)
    assert edit.apply(CONFIG) == expected
    assert repr(CONFIG) == before


def test_a_path_that_leads_nowhere_is_an_error() -> None:
    with pytest.raises(KeyError):
        Edit("replace", ("nowhere", "dim"), 1).apply(CONFIG)


def test_leaves_come_in_order_with_their_paths() -> None:
    assert leaves(CONFIG) == [
        (("hidden",), 4),
        (("decoder", "dim"), 8),
        (("decoder", "rates", 0), 2),
        (("decoder", "rates", 1), 3),
    ]


def test_a_deep_config_does_not_exhaust_the_stack() -> None:
    deep: object = 1
    for _ in range(50_000):
        deep = {"a": deep}
    ((path, value),) = leaves(deep)
    assert (len(path), value) == (50_000, 1)
