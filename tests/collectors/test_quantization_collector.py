"""Packing read from shapes, against tensors that MLX itself quantised, and its disagreements with the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors import quantization
from mlx_diagnose.collectors.packing import AFFINE_BITS, AFFINE_GROUP_SIZES, Packing, candidates
from mlx_diagnose.collectors.tensors import TensorInfo, TensorTable, dtype_name
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Scalar

mx = pytest.importorskip("mlx.core")
nn = pytest.importorskip("mlx.nn")
utils = pytest.importorskip("mlx.utils")

AFFINE = [("affine", bits, size) for bits in AFFINE_BITS for size in AFFINE_GROUP_SIZES]
MICROSCALED = [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]


def table_of(module: Any) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(dtype_name(str(array.dtype)), tuple(array.shape))
        for name, array in utils.tree_flatten(module.parameters())
    }


class Layer(nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=True)
        self.norm = nn.RMSNorm(width)


class Model(nn.Module):  # type: ignore[misc,name-defined]
    """A model of two layers, 256 and 512 wide."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(16, width)
        self.layers = [Layer(width, 512), Layer(width, 512)]


def made(quantized: Mapping[str, Any] | None = None, predicate: Any = None, width: int = 256) -> dict[str, TensorInfo]:
    """The parameters of the model, quantised by MLX."""
    model = Model(width)
    if quantized is not None:
        nn.quantize(model, **quantized, class_predicate=predicate)
    return table_of(model)


def looked(
    stored: TensorTable,
    config: Mapping[str, object] | None,
    *,
    sanitized: TensorTable | None = None,
    model: TensorTable | None = None,
) -> WorkingMemory:
    memory = WorkingMemory()
    quantization.collect(memory, stored=stored, config=config, sanitized=sanitized, model=model)
    return memory


def rows(memory: WorkingMemory, kind: str, *names: str) -> list[tuple[Scalar, ...]]:
    return [tuple(fact[name] for name in names) for fact in memory.of(kind)]


def disagreements(memory: WorkingMemory) -> list[tuple[Scalar, ...]]:
    return rows(memory, "quantization_disagreement", "aspect", "declared", "actual", "key", "layers", "certain")


Q = {"bits": 4, "group_size": 64}


@pytest.mark.parametrize(("mode", "bits", "group_size"), [*AFFINE, *MICROSCALED])
def test_every_packing_of_mlx_is_read_right(mode: str, bits: int, group_size: int) -> None:
    try:
        stored = made({"mode": mode, "bits": bits, "group_size": group_size})
    except ValueError as error:
        pytest.skip(f"this MLX does not quantise so: {error}")
    expected = Packing(mode, bits, group_size)
    # Alone, the shapes allow what it is, among others.
    for fact in looked(stored, None).of("packed_layer"):
        assert f"{bits}/{group_size}" in str(fact["candidates"]).split(",")
        assert fact["mode"] == mode
        assert (fact["bits"], fact["group_size"]) in {(bits, group_size), (None, None)}
    # With the width that the model gives the layers there is one reading, whatever the config says.
    for model in (made(), made(Q)):
        block = {"quantization": Q}
        readings = quantization.collect(WorkingMemory(), stored=stored, config=block, model=model)
        assert {reading.layer.path for reading in readings} == {
            "embed",
            *(f"layers.{i}.{name}" for i in (0, 1) for name in ("up", "down")),
        }
        assert {reading.actual for reading in readings} == {expected}
        assert {reading.width for reading in readings} == {256, 512}
        assert all(reading.certain for reading in readings)
    declared = {"mode": mode, "bits": bits, "group_size": group_size}
    assert disagreements(looked(stored, {"quantization": declared}, model=stored)) == []
    assert disagreements(looked(stored, {"quantization": declared})) == []


def test_candidates_are_those_that_mlx_would_make() -> None:
    shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], set[tuple[int, int]]] = {}
    for width in (128, 256, 384, 512):
        for bits in AFFINE_BITS:
            for size in AFFINE_GROUP_SIZES:
                try:
                    weight, scales, _ = mx.quantize(mx.zeros((8, width)), group_size=size, bits=bits)
                except ValueError:
                    continue
                shapes.setdefault((tuple(weight.shape), tuple(scales.shape)), set()).add((bits, size))
    for (weight_shape, scales_shape), known in shapes.items():
        found = candidates(TensorInfo("uint32", weight_shape), TensorInfo("float16", scales_shape))
        assert known <= {(packing.bits, packing.group_size) for packing in found}


@pytest.mark.parametrize(
    ("weight", "scales"), [((8, 0), (8, 0)), ((), ()), ((8, 7), (8, 1)), ((8, 1), (8, 1000)), ((8, 8), (8, 0))]
)
def test_shapes_of_no_packing(weight: tuple[int, ...], scales: tuple[int, ...]) -> None:
    stored = {"a.weight": TensorInfo("uint32", weight), "a.scales": TensorInfo("float16", scales)}
    assert candidates(stored["a.weight"], stored["a.scales"]) == ()
    memory = looked(stored, {"quantization": Q}, model={"a.weight": TensorInfo("float16", (8, 64))})
    assert all(fact["candidates"] == "" for fact in memory.of("packed_layer"))


def test_packed_layers_are_summed() -> None:
    memory = looked(made(Q), None, model=made())
    assert rows(memory, "packed_layer", *memory.of("packed_layer")[0].fields) == [
        (4, 64, "affine", 5, "embed", 32, 4, "8/32,4/64,2/128", 256)
    ]


def test_a_layer_at_the_top_and_one_of_experts() -> None:
    stored = {
        "weight": TensorInfo("uint32", (8, 8)),
        "scales": TensorInfo("float16", (8, 1)),
        "experts.weight": TensorInfo("uint32", (4, 8, 8)),
        "experts.scales": TensorInfo("float16", (4, 8, 1)),
        "scales_of.scales": TensorInfo("float16", (8,)),
    }
    (fact,) = looked(stored, None).of("packed_layer")
    assert (fact["layers"], fact["example"], fact["candidates"]) == (2, "", "8/32,4/64,2/128")


# -- the block ----------------------------------------------------------------------------


def test_nothing_is_quantised_and_nothing_says_so() -> None:
    assert not list(looked(made(), {}, model=made()))
    assert not list(looked({}, {"quantization": Q}))


def test_packed_and_not_declared() -> None:
    memory = looked(made({"bits": 6, "group_size": 32}), {"quantization": None})
    assert disagreements(memory) == [("undeclared", None, "6/32 or 3/64", "quantization", 5, False)]
    memory = looked(made({"bits": 6, "group_size": 32}), {}, model=made())
    assert disagreements(memory) == [("undeclared", None, "6/32", "quantization", 5, True)]
    memory = looked(made({"mode": "mxfp4"}), {})
    assert disagreements(memory) == [("undeclared", None, "mxfp4 4/32", "quantization", 5, True)]


def test_other_bits_than_declared() -> None:
    stored = made({"bits": 8, "group_size": 64})
    config = {"quantization": Q}
    memory = looked(stored, config, model=made(Q))
    assert disagreements(memory) == [("bits", "4", "8", "quantization.bits", 5, True)]
    # Without the model the shapes allow two ways to mend the block.
    assert disagreements(looked(stored, config)) == [
        ("bits", "4", "8", "quantization.bits", 5, False),
        ("group_size", "64", "128", "quantization.group_size", 5, False),
    ]


def test_other_group_size_than_declared() -> None:
    stored = made({"bits": 4, "group_size": 32})
    memory = looked(stored, {"quantization_config": {"bits": 4}}, model=made(Q))
    assert disagreements(memory) == [("group_size", None, "32", "quantization_config.group_size", 5, True)]


def test_bits_and_group_size_of_one_product_are_told_by_the_model() -> None:
    stored = made({"bits": 8, "group_size": 32})
    assert disagreements(looked(stored, {"quantization": Q})) == []
    memory = looked(stored, {"quantization": Q}, model=made(Q))
    assert disagreements(memory) == [
        ("bits", "4", "8", "quantization.bits", 5, True),
        ("group_size", "64", "32", "quantization.group_size", 5, True),
    ]


def test_a_model_of_another_width_is_no_proof_against_the_block() -> None:
    # The checkpoint is as declared; the model is half as wide, which its norms show as well.
    memory = looked(made(Q, width=256), {"quantization": Q}, model=made(Q, width=128))
    assert {row[-1] for row in disagreements(memory)} <= {False}


def test_another_mode_than_declared() -> None:
    memory = looked(made({"mode": "mxfp4"}), {"quantization": Q})
    assert disagreements(memory) == [
        ("group_size", "64", "32", "quantization.group_size", 5, True),
        ("mode", None, "mxfp4", "quantization.mode", 5, True),
    ]
    # The loader takes groups of 64 unless told, in every mode.
    memory = looked(made({"mode": "mxfp4"}), {"quantization": {"bits": 4, "mode": "mxfp4"}})
    assert disagreements(memory) == [("group_size", None, "32", "quantization.group_size", 5, True)]


def test_a_block_without_bits() -> None:
    stored = made({"bits": 8, "group_size": 64})
    assert disagreements(looked(stored, {"quantization": {"group_size": 64}}, model=made())) == [
        ("missing-bits", None, "8", "quantization.bits", 5, True)
    ]
    # The group size that is given decides between the readings.
    assert disagreements(looked(stored, {"quantization": {"group_size": 64}})) == [
        ("missing-bits", None, "8", "quantization.bits", 5, True)
    ]
    assert disagreements(looked(made(), {"quantization_config": {"quant_method": "fp8"}})) == [
        ("missing-bits", None, None, "quantization_config.bits", 0, True),
        ("declared-but-plain", "4/64", "plain", "quantization_config", 0, True),
    ]


def test_declared_and_nothing_is_packed() -> None:
    assert disagreements(looked(made(), {"quantization": Q}, model=made())) == [
        ("declared-but-plain", "4/64", "plain", "quantization", 0, True)
    ]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"bits": "4", "group_size": 64}, [("bits", '"4"', "4", "quantization.bits", 5, True)]),
        ({"bits": 4, "group_size": 64, "mode": "q4"}, [("mode", "q4", "affine", "quantization.mode", 5, True)]),
        ({"bits": 4.0, "group_size": 64}, [("bits", "4.0", "4", "quantization.bits", 5, True)]),
        ({"bits": 4, "group_size": True}, [("group_size", "true", "64", "quantization.group_size", 5, True)]),
        (
            {"bits": [4], "mode": {"a": 1}},
            [
                ("bits", "[4]", "4", "quantization.bits", 5, True),
                ("mode", '{"a": 1}', "affine", "quantization.mode", 5, True),
            ],
        ),
    ],
)
def test_settings_of_another_type(block: dict[str, object], said: list[tuple[Scalar, ...]]) -> None:
    assert disagreements(looked(made(Q), {"quantization": block}, model=made())) == said


@pytest.mark.parametrize("block", ["int4", 4, True, [], {}])
def test_a_block_that_is_no_object_or_empty(block: object) -> None:
    memory = looked(made(Q), {"quantization": block})
    assert {fact["aspect"] for fact in memory.of("quantization_disagreement")} <= {"missing-bits"}


# -- single layers ------------------------------------------------------------------------

EIGHT = {"bits": 8, "group_size": 64}


def by(entry: bool | dict[str, int]) -> Any:
    """A predicate that quantises every layer, and ``layers.1.up`` by ``entry``."""

    def predicate(path: str, module: Any) -> bool | dict[str, int]:
        return (entry if path == "layers.1.up" else True) if hasattr(module, "to_quantized") else False

    return predicate


mixed = by(EIGHT)


def test_a_layer_of_another_packing_without_an_entry() -> None:
    memory = looked(made(Q, mixed), {"quantization": Q}, model=made(Q))
    assert disagreements(memory) == [("layer", "4/64", "8/64", "quantization.layers.1.up", 1, True)]
    assert rows(memory, "packed_layer", "bits", "group_size", "layers", "example") == [
        (4, 64, 4, "embed"),
        (8, 64, 1, "layers.1.up"),
    ]


def test_a_layer_with_its_entry() -> None:
    config = {"quantization": {**Q, "layers.1.up": EIGHT, "layers.0.up": True}}
    assert disagreements(looked(made(Q, mixed), config, model=made(Q, mixed))) == []
    three = {"bits": 3, "group_size": 64}
    wrong = {"quantization": {**Q, "layers.1.up": three}}
    assert disagreements(looked(made(Q, mixed), wrong, model=made(Q, by(three)))) == [
        ("layer", "3/64", "8/64", "quantization.layers.1.up", 1, True)
    ]
    off = {"quantization": {**Q, "layers.1.up": False}}
    assert disagreements(looked(made(Q, mixed), off, model=made(Q, by(False)))) == [
        ("layer", "not quantised", "8/64", "quantization.layers.1.up", 1, True)
    ]


def test_an_entry_for_a_layer_that_is_plain() -> None:
    def half(path: str, module: Any) -> bool:
        return hasattr(module, "to_quantized") and path.startswith("layers.0")

    config = {"quantization": {**Q, "layers.1.up": EIGHT, "layers.1.down": EIGHT, "embed": False, "gone": EIGHT}}
    assert disagreements(looked(made(Q, half), config)) == [
        ("layer", "8/64", "plain", "quantization.layers.1.up", 2, True)
    ]


def test_the_model_keeps_plain_what_the_checkpoint_packs() -> None:
    def without_first(path: str, module: Any) -> bool:
        return hasattr(module, "to_quantized") and not path.startswith("layers.0")

    stored, model = made(Q), made(Q, without_first)
    memory = looked(stored, {"quantization": Q}, sanitized=stored, model=model)
    assert disagreements(memory) == [("predicate-excludes", "4/64", "4/64", "quantization", 2, True)]
    assert rows(memory, "quantization_disagreement", "layer") == [("layers.0.up",)]
    # Scales that sanitize took away are another matter.
    kept = {name: info for name, info in stored.items() if not name.endswith((".scales", ".biases"))}
    assert disagreements(looked(stored, {"quantization": Q}, sanitized=kept, model=model)) == []


def test_names_that_sanitize_changed() -> None:
    stored = {f"model.{name}": info for name, info in made({"bits": 8, "group_size": 64}).items()}
    sanitized = made({"bits": 8, "group_size": 64})
    memory = looked(stored, {"quantization": Q}, sanitized=sanitized, model=made(Q))
    assert disagreements(memory) == [("bits", "4", "8", "quantization.bits", 5, True)]
    config = {
        "quantization": {
            **Q,
            **{f"layers.{i}.{name}": EIGHT for i in (0, 1) for name in ("up", "down")},
            "embed": EIGHT,
        }
    }
    assert disagreements(looked(stored, config, sanitized=sanitized, model=made())) == [
        ("predicate-excludes", "8/64", "8/64", "quantization.embed", 5, True)
    ]


def test_many_packings_make_few_facts() -> None:
    stored: dict[str, TensorInfo] = {}
    for number in range(3000):
        stored[f"m{number}.weight"] = TensorInfo("uint32", (4, number + 1))
        stored[f"m{number}.scales"] = TensorInfo("float16", (4, 2))
    memory = looked(stored, {"quantization": Q})
    assert len(memory) <= 2 * quantization.MAX_FACTS


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
setting = st.sampled_from(["bits", "group_size", "mode", "a", "b.c", "quant_method"])
value = json_value | st.sampled_from([2, 4, 8, 32, 64, "affine", "mxfp4", Q])
blocks = st.dictionaries(setting, value | st.dictionaries(setting, value, max_size=3), max_size=4)
tensor = st.builds(
    TensorInfo,
    st.sampled_from(["uint32", "uint8", "float16"]),
    st.lists(st.integers(0, 16), max_size=3).map(tuple),
)
tables = st.dictionaries(
    st.sampled_from(
        [f"{path}{name}" for path in ("", "a.", "b.c.") for name in ("weight", "scales", "biases", "bias")]
    ),
    tensor,
    max_size=8,
)


@given(
    tables,
    st.dictionaries(st.sampled_from(["quantization", "quantization_config"]), blocks | json_value),
    tables,
    tables,
)
def test_no_config_and_no_tables_raise(
    stored: TensorTable, config: dict[str, object], sanitized: TensorTable, model: TensorTable
) -> None:
    looked(stored, config)
    looked(stored, config, sanitized=sanitized, model=model)


def test_a_layer_that_is_packed_otherwise_wants_an_entry() -> None:
    def mixed(path: str, module: Any) -> Any:
        return {"group_size": 64, "bits": 8} if path.endswith("down") else hasattr(module, "to_quantized")

    stored = made({"group_size": 64, "bits": 4}, mixed)
    model = made({"group_size": 64, "bits": 4})
    memory = WorkingMemory()
    quantization.collect(
        memory, stored=stored, config={"quantization": {"group_size": 64, "bits": 4}}, sanitized=stored, model=model
    )
    assert [(fact["pointer"], fact["entry"]) for fact in memory.of("quantization_entry")] == [
        (f"/quantization/layers.{layer}.down", '{"group_size": 64, "bits": 8}') for layer in (0, 1)
    ]


def test_no_layer_wants_an_entry_where_all_are_alike() -> None:
    stored = made({"group_size": 64, "bits": 8})
    memory = WorkingMemory()
    config = {"quantization": {"group_size": 64, "bits": 4}}
    quantization.collect(
        memory, stored=stored, config=config, sanitized=stored, model=made({"group_size": 64, "bits": 4})
    )
    assert not memory.of("quantization_entry")
