"""Model against checkpoint: differences, renamings, layouts, losses and layer counts, from names and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors import weights_difference
from mlx_diagnose.collectors.tensor_renames import _MAX_PLACES
from mlx_diagnose.collectors.tensors import TensorInfo, TensorTable
from mlx_diagnose.collectors.weights_difference import compare
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Scalar


def table(shapes: Mapping[str, tuple[int, ...]], dtype: str = "float32", file: str | None = None) -> TensorTable:
    return {name: TensorInfo(dtype, shape, file) for name, shape in shapes.items()}


def looked(
    received: TensorTable,
    model: TensorTable | None,
    stored: TensorTable | None = None,
    *,
    strict: bool = True,
    raised: bool = True,
) -> WorkingMemory:
    memory = WorkingMemory()
    weights_difference.collect(
        memory,
        stored=received if stored is None else stored,
        sanitized=received,
        model=model,
        strict=strict,
        raised=raised,
    )
    return memory


def rows(memory: WorkingMemory, kind: str, *names: str) -> list[tuple[Scalar, ...]]:
    return [tuple(fact[name] for name in names) for fact in memory.of(kind)]


def language_model(layers: int = 3, width: int = 64) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (100, width)}
    for layer in range(layers):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"layers.{layer}.self_attn.{name}.weight"] = (width, width)
        shapes[f"layers.{layer}.mlp.up_proj.weight"] = (2 * width, width)
        shapes[f"layers.{layer}.mlp.down_proj.weight"] = (width, 2 * width)
        shapes[f"layers.{layer}.input_layernorm.weight"] = (width,)
        shapes[f"layers.{layer}.post_attention_layernorm.weight"] = (width,)
    shapes["norm.weight"] = (width,)
    return shapes


def prefixed(prefix: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


# -- differences --------------------------------------------------------------------------


def test_nothing_differs() -> None:
    memory = looked(table(language_model()), table(language_model()), raised=False)
    (fact,) = memory
    assert dict(fact.fields) == {
        "missing": 0,
        "unexpected": 0,
        "shape": 0,
        "matched": 26,
        "strict": True,
        "raised": False,
        "quantized_suffixes_only": False,
        "single": False,
        "only": "none",
        "omitted": 0,
        "part_absent": None,
    }


def test_differences_are_collapsed_with_their_file() -> None:
    shapes = language_model()
    stored = table({**shapes, "extra.bias": (3,)}, file="model.safetensors")
    received = table({**shapes, "extra.bias": (3,)})
    model = table(
        {**shapes, "lm_head.weight": (100, 64)} | {f"layers.{i}.input_layernorm.weight": (32,) for i in range(2)}
    )
    memory = looked(received, model, stored)
    columns = ("tensor", "status", "count", "expected", "received", "component", "suffix", "example", "file")
    assert rows(memory, "tensor_difference", *columns) == [
        ("lm_head.weight", "missing", 1, "(100, 64)", None, "lm_head", "weight", "lm_head.weight", None),
        ("extra.bias", "unexpected", 1, None, "(3,)", "extra", "bias", "extra.bias", "model.safetensors"),
        (
            "layers.{0..1}.input_layernorm.weight",
            "shape",
            2,
            "(32,)",
            "(64,)",
            "layers",
            "weight",
            "layers.0.input_layernorm.weight",
            "model.safetensors",
        ),
    ]
    columns = ("missing", "unexpected", "shape", "matched", "only", "single")
    assert rows(memory, "weights_difference", *columns) == [(1, 1, 2, 24, "mixed", False)]


def test_one_name_alone() -> None:
    shapes = language_model()
    memory = looked(table(shapes), table({**shapes, "layers.0.new": (1,), "layers.1.new": (1,)}))
    assert rows(memory, "weights_difference", "only", "single", "missing") == [("missing", True, 2)]


@pytest.mark.parametrize(("given", "part"), [({}, "vae"), ({"vae.out.bias": (1,)}, None)])
def test_a_part_of_which_the_checkpoint_has_nothing(given: dict[str, tuple[int, ...]], part: str | None) -> None:
    shapes = language_model() | given
    memory = looked(table(shapes), table({**shapes, "vae.in.weight": (1,), "vae.mid.weight": (1,)}))
    assert rows(memory, "weights_difference", "part_absent") == [(part,)]


@pytest.mark.parametrize(("extra", "said"), [("layers.0.q.scales", True), ("layers.0.q.bias", False)])
def test_only_quantisation_differs(extra: str, said: bool) -> None:
    plain, packed = TensorInfo("float32", (64, 64)), TensorInfo("uint32", (64, 8))
    received = {"layers.0.q.weight": packed, extra: TensorInfo("float32", (64, 1))}
    memory = looked(received, {"layers.0.q.weight": plain})
    assert rows(memory, "weights_difference", "quantized_suffixes_only") == [(said,)]


def test_facts_are_bounded_and_what_is_left_out_is_counted() -> None:
    received = table({f"unknown{number:05d}_tensor.weight": (number,) for number in range(1000)})
    memory = looked(received, table({}))
    assert len(memory.of("tensor_difference")) == weights_difference.MAX_FACTS
    assert rows(memory, "weights_difference", "unexpected", "omitted") == [(1000, 800)]


def test_strange_names_make_facts_that_can_be_shown() -> None:
    memory = looked(table({"a\0\x1b\ud800.0": (1,), "": (1,), ".": (1,), "..0..": (1,)}), table({"b": (2,)}))
    assert "a\\u0000\\u001b\\ud800.0" in {fact["tensor"] for fact in memory.of("tensor_difference")}


# -- renamings ----------------------------------------------------------------------------

RENAMED = ("style", "found", "wanted", "count", "share_of_missing", "share_of_unexpected", "ambiguous")


def test_a_prefix_is_lacking() -> None:
    shapes = language_model()
    memory = looked(table(shapes), table(prefixed("language_model", shapes)))
    assert rows(memory, "tensor_rename", *RENAMED) == [("prefix-removed", "", "language_model", 26, 1.0, 1.0, False)]
    assert rows(memory, "tensor_rename", "example_found", "example_wanted") == [
        ("embed_tokens.weight", "language_model.embed_tokens.weight")
    ]


@pytest.mark.parametrize("prefix", ["module", "model", "model.model"])
def test_a_prefix_too_many(prefix: str) -> None:
    shapes = prefixed("model", language_model())
    memory = looked(table(prefixed(prefix, shapes)), table(shapes))
    assert rows(memory, "tensor_rename", *RENAMED) == [("prefix-added", prefix, "", 26, 1.0, 1.0, False)]


@pytest.mark.parametrize(
    ("found", "wanted"), [("backbone", "model"), ("model.encoder", "model.audio"), ("m.0", "model")]
)
def test_another_prefix(found: str, wanted: str) -> None:
    shapes = language_model()
    memory = looked(table(prefixed(found, shapes)), table(prefixed(wanted, shapes)))
    assert rows(memory, "tensor_rename", *RENAMED) == [("prefix-replaced", found, wanted, 26, 1.0, 1.0, False)]


def test_a_prefix_beside_tensors_that_fit_and_others_that_never_will() -> None:
    shapes = language_model()
    decoder = prefixed("decoder", {"convs.0.weight": (8, 3, 8), "out.weight": (4, 8)})
    received = table({**shapes, **decoder, "rotary.inv_freq": (32,), "lm_head.weight": (100, 64)})
    model = table({**prefixed("language_model.model", shapes), "language_model.lm_head.weight": (100, 64), **decoder})
    assert rows(looked(received, model), "tensor_rename", *RENAMED) == [
        ("prefix-removed", "", "language_model.model", 26, 0.963, 0.9286, False),
        ("prefix-removed", "", "language_model", 1, 0.037, 0.0357, False),
    ]


def test_two_towers_of_one_shape_are_ambiguous() -> None:
    shapes = language_model()
    model = table({**prefixed("encoder", shapes), **prefixed("decoder", shapes)})
    found = rows(looked(table(shapes), model), "tensor_rename", "found", "wanted", "count", "ambiguous")
    assert found == [("", "encoder", 26, True), ("", "decoder", 26, True)] or found == [
        ("", "decoder", 26, True),
        ("", "encoder", 26, True),
    ]


def test_a_prefix_with_another_number_of_layers() -> None:
    memory = looked(table(language_model(5)), table(prefixed("model", language_model(3))))
    assert rows(memory, "tensor_rename", *RENAMED) == [("prefix-removed", "", "model", 26, 1.0, 0.619, False)]
    assert rows(memory, "layers_absent", "stem", "in_model", "in_checkpoint") == [("model.layers", 3, 5)]


def test_the_numbers_of_layers_are_separated_in_another_way() -> None:
    """As in the conformer of chatterbox: many alike layers, each found by its own number, and two stacks of them."""
    parts = {"attn.q.weight": (8, 8), "attn.q.bias": (8,), "w_1.weight": (32, 8)}
    names = [
        f"{stack}{{}}{layer}.{part}"
        for stack in ("a.encoders", "a.up_encoders")
        for layer in range(9)
        for part in parts
    ]
    found, wanted = ({name.format(by): parts[name.split("{}")[1].partition(".")[2]] for name in names} for by in "._")
    renamed = rows(looked(table(found), table(wanted)), "tensor_rename", "found", "wanted", "count", "ambiguous")
    assert renamed == [
        ("a.encoders.{0..8}", "a.encoders_{0..8}", 27, False),
        ("a.up_encoders.{0..8}", "a.up_encoders_{0..8}", 27, False),
    ]


def test_a_tensor_that_sanitize_drops_is_not_renamed_to_its_own_name() -> None:
    names = table({"model.a.weight": (2, 3), "model.b.weight": (4, 3)})
    assert not looked(table({}), names, names).of("tensor_rename")


def test_two_names_of_the_same_parts_are_not_told_apart_by_separators() -> None:
    memory = looked(table({"a.b_c.w": (2, 3), "a_b.c.w": (2, 3)}), table({"a.b.c.w": (2, 3)}))
    assert all(ambiguous for (ambiguous,) in rows(memory, "tensor_rename", "ambiguous"))


def test_weight_normalisation_of_another_age() -> None:
    shapes = {
        f"ups.{i}.weight_{part}": (8 - i, 1, 1) if part == "g" else (8 - i, 3, 8) for i in range(3) for part in "gv"
    }
    new = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): shape
        for name, shape in shapes.items()
    }
    for received, model, back in ((new, shapes, False), (shapes, new, True)):
        found = {
            ("parametrizations.weight.original0", "weight_g"),
            ("parametrizations.weight.original1", "weight_v"),
        }
        expected = {("suffix-replaced", *(pair[::-1] if back else pair), 3, False) for pair in found}
        memory = looked(table(received), table(model))
        assert set(rows(memory, "tensor_rename", "style", "found", "wanted", "count", "ambiguous")) == expected


def test_norms_by_other_names_are_not_ambiguous_though_both_have_one_shape() -> None:
    received = {f"encoder.{i}.norm.{part}": (64,) for i in range(3) for part in ("gamma", "beta")}
    model = {f"encoder.{i}.norm.{part}": (64,) for i in range(3) for part in ("weight", "bias")}
    assert rows(
        looked(table(received), table(model)), "tensor_rename", "style", "found", "wanted", "count", "ambiguous"
    ) == [
        ("suffix-replaced", "gamma", "weight", 3, False),
        ("suffix-replaced", "beta", "bias", 3, False),
    ]


def test_prefix_and_ending_both_differ() -> None:
    shapes = language_model()
    received = {**prefixed("model", shapes), "model.ln.gamma": (64,), "model.ln.beta": (64,)}
    model = {**shapes, "ln.weight": (64,), "ln.bias": (64,)}
    assert rows(looked(table(received), table(model)), "tensor_rename", "style", "found", "wanted", "count") == [
        ("prefix-added", "model", "", 26),
        ("suffix-replaced", "gamma", "weight", 1),
        ("suffix-replaced", "beta", "bias", 1),
    ]


def test_a_part_inside_the_layers_is_called_otherwise() -> None:
    shapes = language_model()
    received = {name.replace("self_attn", "attn"): shape for name, shape in shapes.items()}
    memory = looked(table(received), table(shapes))
    assert rows(memory, "tensor_rename", "style", "found", "wanted", "count", "ambiguous") == [
        ("renamed", f"layers.{{0..2}}.attn.{part}.weight", f"layers.{{0..2}}.self_attn.{part}.weight", 3, False)
        for part in ("q_proj", "k_proj", "v_proj", "o_proj")
    ]


def test_projections_of_one_shape_are_told_by_the_words_of_their_names() -> None:
    received = {f"b.{i}.attn.{one}_proj.{of}": (8,) for i in range(2) for one in "qkv" for of in ("weight", "bias")}
    model = {f"b.{i}.attn.to_{one}.{of}": (8,) for i in range(2) for one in "qkv" for of in ("weight", "bias")}
    memory = looked(table(received), table(model))
    assert set(rows(memory, "tensor_rename", "found", "wanted", "ambiguous")) == {
        (f"b.{{0..1}}.attn.{one}_proj.{of}", f"b.{{0..1}}.attn.to_{one}.{of}", False)
        for one in "qkv"
        for of in ("weight", "bias")
    }


def test_an_unknown_ending() -> None:
    received = {f"blocks.{i}.alpha": (1, 8, 1) for i in range(4)}
    model = {f"blocks.{i}.alphas": (1, 8, 1) for i in range(4)}
    assert rows(looked(table(received), table(model)), "tensor_rename", "style", "found", "wanted", "count") == [
        ("suffix-replaced", "alpha", "alphas", 4)
    ]


def test_equal_shapes_alone_are_no_renaming() -> None:
    received = {"tower.attention.query.weight": (64, 64), "tower.bias": (64,)}
    model = {"vocoder.upsample.filter": (64, 64), "vocoder.g": (64,)}
    assert rows(looked(table(received), table(model)), "tensor_rename", "found", "wanted") == []


def test_one_tensor_proves_no_other_prefix() -> None:
    memory = looked(table({"encoder.norm.weight": (64,)}), table({"vocoder.norm.weight": (64,)}))
    assert rows(memory, "tensor_rename", "style", "found", "wanted") == [
        ("renamed", "encoder.norm.weight", "vocoder.norm.weight")
    ]


def test_a_name_with_a_nul_is_in_no_renaming() -> None:
    received, model = table({"\0.a.w": (1,), "\0.a.b": (1,)}), table({"c.a.w": (1,), "c.a.b": (1,)})
    assert not looked(received, model).of("tensor_rename")


def test_names_that_agree_but_for_a_prefix_are_renamed_though_a_width_is_wrong_as_well() -> None:
    shapes = language_model()
    wider = language_model(width=128)
    (fact,) = looked(table(shapes), table(prefixed("model", wider))).of("tensor_rename")
    assert (fact["style"], fact["wanted"], fact["count"], fact["ambiguous"]) == (
        "prefix-removed",
        "model",
        len(shapes),
        False,
    )


prefix_parts = st.lists(
    st.sampled_from(["model", "module", "language_model", "tts", "backbone"]), min_size=1, max_size=3
)
name_parts = st.lists(st.sampled_from(["layers", "attn", "q", "norm", "0", "1", "2", "w", "b"]), min_size=1, max_size=5)
shapes_drawn = st.lists(st.integers(1, 4), max_size=3).map(tuple)


# One ending is looked for in so many names at most; with more of them all could end alike.
@given(
    st.dictionaries(name_parts.map(".".join), shapes_drawn, min_size=1, max_size=_MAX_PLACES),
    prefix_parts.map(".".join),
    st.booleans(),
)
def test_every_prefix_that_was_added_is_found(shapes: dict[str, tuple[int, ...]], prefix: str, added: bool) -> None:
    plain, more = table(shapes), table(prefixed(prefix, shapes))
    received, model = (more, plain) if added else (plain, more)
    memory = looked(received, model)
    found = rows(memory, "tensor_rename", "style", "found", "wanted", "count")
    if added:
        assert ("prefix-added", prefix, "", len(shapes)) in found
    else:
        assert ("prefix-removed", "", prefix, len(shapes)) in found


@given(
    st.dictionaries(name_parts.map(".".join), shapes_drawn, max_size=10),
    st.dictionaries(name_parts.map(".".join), shapes_drawn, max_size=10),
)
def test_a_renaming_only_pairs_what_differs_and_fits(
    one: dict[str, tuple[int, ...]], other: dict[str, tuple[int, ...]]
) -> None:
    received, model = table(one), table(other)
    difference = weights_difference.compare(received, model)
    for renaming in difference.renamings:
        for found, wanted in renaming.pairs:
            assert found in difference.unexpected
            assert wanted in difference.missing
            assert one[found] == other[wanted]
    certain = [pair for renaming in difference.renamings if not renaming.ambiguous for pair in renaming.pairs]
    assert len({pair[0] for pair in certain}) == len({pair[1] for pair in certain}) == len(certain)


# -- layouts ------------------------------------------------------------------------------

LAYOUT = (
    "tensor",
    "permutation",
    "expected",
    "received",
    "stored",
    "sanitize_transposed",
    "count",
    "all_shape_differences",
)


def test_convolutions_in_the_order_of_pytorch() -> None:
    received = table(
        {f"convs.{i}.weight": (64, 32, 3) for i in range(4)} | {"conv2d.weight": (8, 4, 3, 5), "out.weight": (5, 7)}
    )
    model = table(
        {f"convs.{i}.weight": (64, 3, 32) for i in range(4)} | {"conv2d.weight": (8, 3, 5, 4), "out.weight": (7, 5)}
    )
    assert rows(looked(received, model), "tensor_layout", *LAYOUT) == [
        ("convs.{0..3}.weight", "(0, 2, 1)", "(64, 3, 32)", "(64, 32, 3)", "(64, 32, 3)", False, 4, True),
        ("conv2d.weight", "(0, 2, 3, 1)", "(8, 3, 5, 4)", "(8, 4, 3, 5)", "(8, 4, 3, 5)", False, 1, True),
        ("out.weight", "(1, 0)", "(7, 5)", "(5, 7)", "(5, 7)", False, 1, True),
    ]


def test_layers_of_one_name_decide_the_order_together() -> None:
    # Of equal axes alone (0, 2, 1) would do; the other layers show a transposed convolution.
    received = table({"ups.0.weight": (64, 64, 5), "ups.1.weight": (64, 32, 5)})
    model = table({"ups.0.weight": (64, 5, 64), "ups.1.weight": (32, 5, 64)})
    assert set(rows(looked(received, model), "tensor_layout", "permutation")) == {("(1, 2, 0)",)}


def test_sanitize_moves_the_axes_of_what_was_right() -> None:
    stored = table({"F0.0.conv1.weight_v": (64, 3, 64), "other.weight": (3, 4)})
    received = table({"F0.0.conv1.weight_v": (64, 64, 3), "other.weight": (3, 4)})
    model = table({"F0.0.conv1.weight_v": (64, 3, 64), "other.weight": (5, 5)})
    assert rows(looked(received, model, stored), "tensor_layout", *LAYOUT) == [
        ("F0.0.conv1.weight_v", "(0, 2, 1)", "(64, 3, 64)", "(64, 64, 3)", "(64, 3, 64)", True, 1, False)
    ]


def test_sanitize_moves_and_renames() -> None:
    stored = table({f"model.ups.{i}.weight": (32, 3, 16) for i in range(3)})
    received = table({f"ups.{i}.weight": (32, 16, 3) for i in range(3)})
    model = table({f"ups.{i}.weight": (32, 3, 16) for i in range(3)})
    assert rows(looked(received, model, stored), "tensor_layout", "stored", "sanitize_transposed", "count") == [
        ("(32, 3, 16)", True, 3)
    ]


def test_another_size_is_no_layout() -> None:
    assert not looked(table({"a.weight": (64, 3, 32)}), table({"a.weight": (64, 3, 64)})).of("tensor_layout")


# -- losses -------------------------------------------------------------------------------

LOSS = ("pattern", "suffix", "count", "quantization_metadata", "wanted")


def packed(prefix: str, layers: int) -> dict[str, TensorInfo]:
    result = {}
    for layer in range(layers):
        result[f"{prefix}layers.{layer}.q.weight"] = TensorInfo("uint32", (64, 8))
        result[f"{prefix}layers.{layer}.q.scales"] = TensorInfo("float16", (64, 1))
        result[f"{prefix}layers.{layer}.q.biases"] = TensorInfo("float16", (64, 1))
    return result


@pytest.mark.parametrize("prefix", ["", "model."])
def test_sanitize_drops_scales_and_biases(prefix: str) -> None:
    stored = packed(prefix, 3)
    received = {name: info for name, info in packed("", 3).items() if name.endswith("weight")}
    model = {name: TensorInfo("float16", (64, 64)) for name in received}
    assert rows(looked(received, model, stored), "sanitize_loss", *LOSS) == [
        (f"{prefix}layers.{{0..2}}.q.scales", "scales", 3, True, True),
        (f"{prefix}layers.{{0..2}}.q.biases", "biases", 3, True, True),
    ]


def test_sanitize_drops_what_the_model_wants_and_what_it_does_not() -> None:
    shapes = language_model()
    stored = table({**prefixed("model", shapes), "model.layers.0.self_attn.rotary_emb.inv_freq": (32,)})
    received = {name: info for name, info in table(shapes).items() if not name.endswith("up_proj.weight")}
    memory = looked(received, table(shapes), stored)
    assert rows(memory, "sanitize_loss", *LOSS) == [
        ("model.layers.{0..2}.mlp.up_proj.weight", "weight", 3, False, True),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "inv_freq", 1, False, False),
    ]


def test_what_sanitize_drops_under_another_name_is_told_beside_what_it_keeps_in_vain() -> None:
    model = table({**language_model(), **{f"encoders_{i}.norm.weight": (64,) for i in range(4)}})
    stored = table({**language_model(), **{f"encoders.{i}.norm.weight": (64,) for i in range(4)}, "stray.bias": (7,)})
    received = {name: info for name, info in stored.items() if not name.startswith("encoders.")}
    assert rows(looked(received, model, stored), "tensor_rename", "found", "wanted", "count") == [
        ("encoders.{0..3}", "encoders_{0..3}", 4)
    ]


def test_what_sanitize_joins_is_not_lost() -> None:
    shapes = language_model()
    joined = {
        name: shape for name, shape in shapes.items() if name.rsplit(".", 2)[-2] not in ("q_proj", "k_proj", "v_proj")
    }
    for layer in range(3):
        joined[f"layers.{layer}.self_attn.qkv_proj.weight"] = (192, 64)
    assert not looked(table(joined), table(joined), table(prefixed("model", shapes))).of("sanitize_loss")


def test_moved_axes_are_not_lost() -> None:
    stored = table({f"model.convs.{i}.weight": (8, 4, 3) for i in range(3)})
    received = table({f"convs.{i}.weight": (8, 3, 4) for i in range(3)})
    assert not looked(received, received, stored).of("sanitize_loss")


def test_losses_are_told_without_a_model() -> None:
    stored = packed("", 2)
    received = {name: info for name, info in stored.items() if name.endswith("weight")}
    memory = looked(received, None, stored)
    assert rows(memory, "sanitize_loss", "suffix", "quantization_metadata", "wanted") == [
        ("scales", True, False),
        ("biases", True, False),
    ]
    assert not memory.of("weights_difference")


# -- layers -------------------------------------------------------------------------------


def test_fewer_and_more_layers() -> None:
    columns = ("stem", "in_model", "in_checkpoint")
    memory = looked(table(prefixed("model", language_model(4))), table(prefixed("model", language_model(6))))
    assert rows(memory, "layers_absent", *columns) == [("model.layers", 6, 4)]
    memory = looked(table(language_model(6)), table(language_model(4)))
    assert rows(memory, "layers_absent", *columns) == [("layers", 4, 6)]


def test_a_layer_that_is_left_out_is_no_other_number_of_layers() -> None:
    whole = language_model(4)
    for absent in (0, 1, 2):
        received = {name: shape for name, shape in whole.items() if not name.startswith(f"layers.{absent}.")}
        assert looked(table(received), table(whole)).of("layers_absent") == []


def test_lists_inside_layers() -> None:
    def experts(count: int) -> dict[str, tuple[int, ...]]:
        return {f"layers.{i}.experts.{j}.w": (4, 4) for i in range(3) for j in range(count)}

    assert rows(looked(table(experts(2)), table(experts(8))), "layers_absent", "stem", "in_model", "in_checkpoint") == [
        ("layers.{0..2}.experts", 8, 2)
    ]


def test_tables_without_what_fits_prove_no_absence() -> None:
    # The probe leaves out what fits where tables are very large.
    memory = WorkingMemory()
    weights_difference.collect(
        memory,
        stored=table({"layers.0.w": (4,), "layers.1.w": (4,)}),
        sanitized=table({"layers.1.w": (4,)}),
        model=table({"layers.1.w": (5,)}),
        strict=True,
        raised=True,
        counts={"missing": 0, "unexpected": 0, "shape": 1, "matched": 1},
    )
    assert rows(memory, "weights_difference", "shape", "matched") == [(1, 1)]
    assert not memory.of("sanitize_loss")


def test_the_same_input_gives_the_same_facts() -> None:
    shapes = language_model()
    received = table({**prefixed("a", shapes), **prefixed("b", shapes), "x.gamma": (3,)})
    model = table({**prefixed("c", shapes), **prefixed("d", shapes), "x.weight": (3,)})
    first, second = list(looked(received, model)), list(looked(received, model))
    assert first == second


any_name = st.lists(
    st.sampled_from(["a", "b", "0", "1", "weight", "scales", "gamma", "\0", "", "{", "007"]) | st.text(max_size=2),
    max_size=5,
).map(".".join)
any_table = st.dictionaries(
    any_name,
    st.builds(TensorInfo, st.sampled_from(["uint32", "float32"]), st.lists(st.integers(0, 3), max_size=6).map(tuple)),
    max_size=10,
)


@given(any_table, any_table, any_table)
def test_no_tables_raise(stored: TensorTable, received: TensorTable, model: TensorTable) -> None:
    memory = looked(received, model, stored)
    differing = sum(int(str(fact["count"])) for fact in memory.of("tensor_difference"))
    (fact,) = memory.of("weights_difference")
    assert differing == sum(int(str(fact[name])) for name in ("missing", "unexpected", "shape"))
    looked(received, None, stored)


# -- series that are numbered anew ----------------------------------------------------------------


def numbered(stem: str, numbers: Iterable[int], width: int = 4) -> dict[str, TensorInfo]:
    return {
        f"{stem}.{number}.{part}.weight": TensorInfo("float32", (width + 2 * place, 4))
        for place, number in enumerate(numbers)
        for part in ("up", "down")
    }


def test_layers_counted_from_one_are_one_renaming_of_all_of_them() -> None:
    difference = compare(numbered("model.layers", (1, 2, 3)), numbered("model.layers", (0, 1, 2)))
    (renaming,) = difference.renamings
    assert (renaming.style, renaming.found, renaming.wanted) == (
        "renumbered",
        "model.layers.{1..3}",
        "model.layers.{0..2}",
    )
    assert len(renaming.pairs) == 6
    assert dict(renaming.pairs)["model.layers.2.up.weight"] == "model.layers.1.up.weight"


def test_series_in_several_others_are_one() -> None:
    received = {**numbered("h.0.layers", (2, 3)), **numbered("h.1.layers", (2, 3))}
    model = {**numbered("h.0.layers", (0, 1)), **numbered("h.1.layers", (0, 1))}
    (renaming,) = compare(received, model).renamings
    assert (renaming.found, renaming.wanted) == ("h.{0..1}.layers.{2..3}", "h.{0..1}.layers.{0..1}")


@pytest.mark.parametrize(
    "received",
    [
        numbered("layers", (1, 2)),  # one too few
        numbered("layers", (1, 2, 3), width=6),  # of other shapes
        numbered("layers", (1, 2, 4)),  # a gap
        {**numbered("layers", (1, 2, 3)), "layers.3.up.bias": TensorInfo("float32", (4,))},
    ],
)
def test_what_does_not_agree_whole_is_not_numbered_anew(received: dict[str, TensorInfo]) -> None:
    renamings = compare(received, numbered("layers", (0, 1, 2))).renamings
    assert not [renaming for renaming in renamings if renaming.style == "renumbered"]
