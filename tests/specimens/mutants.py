"""Broken specimens: one thing changed in a whole one, and the truth about what was changed.

``mutate(specimen, "key-renamed", directory, path="num_hidden_layers", to="n_layers")`` writes the
mutant under ``directory`` (in a directory of the same name, which steers the loader) and says
which failure class of the contract it is and what it is about. Kinds are the functions of this
module that take a :class:`Draft`, with dashes for underscores.

A truth's subject is named as it stands in the specimen: a dotted config path, a tensor of the
checkpoint, a file, a repository. A diagnosis may name the same tensor as the model does, with
another prefix.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from mlx_diagnose.engine.specimen import Tensor, write_sharded
from tests.specimens import hub as hub_cache
from tests.specimens import recipe, tables, write_directory, write_weights
from tests.specimens.layouts import permuted
from tests.specimens.recipe import MAIN_FILE, Files, Specimen, Tensors
from tests.specimens.values import carry_over, fill, widened

#: A name that holds no family's name.
NEUTRAL_NAME = "checkpoint"


@dataclass(frozen=True)
class Truth:
    """What a diagnosis should find: the class of the root, its subjects, and classes that are as good."""

    failure_class: str
    subjects: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mutant:
    """A broken specimen; ``what`` says in words what was broken."""

    kind: str
    what: str
    truth: Truth
    specimen: Specimen


#: Makes the bytes of a tensor, given what reads those of a tensor of the unbroken specimen.
Maker: TypeAlias = Callable[[Callable[[str], bytes]], bytes]


@dataclass
class Draft:
    """A specimen while it is being broken: what will be written."""

    specimen: Specimen
    directory: Path
    config: Any
    files: Files
    name: str
    config_text: str | None = None
    #: Where the values of a tensor come from that has another name in the specimen, or other axes.
    origins: dict[str, tuple[str, tuple[int, ...] | None]] = field(default_factory=dict)
    #: Tensors whose bytes are made of those of others, which the function asks for by name.
    made: dict[str, Maker] = field(default_factory=dict)
    finish: list[Callable[[Path], object]] = field(default_factory=list)

    @property
    def main(self) -> str:
        """The weights file that holds most."""
        return max(self.files, key=lambda file: len(self.files[file]) if "/" not in file else -1)

    @property
    def tensors(self) -> Tensors:
        """The tensors of the main weights file; may be changed in place."""
        return self.files[self.main]


def mutate(specimen: Specimen, kind: str, directory: Path, **options: Any) -> Mutant:
    """``specimen`` with one thing broken, written under ``directory``. Raises ValueError for an unknown kind."""
    change = kinds().get(kind)
    if change is None:
        raise ValueError(f"there is no mutation {kind!r}; there are {', '.join(kinds())}")
    files = {file: dict(tensors) for file, tensors in specimen.files.items()}
    draft = Draft(specimen, directory, copy.deepcopy(dict(specimen.config)), files, specimen.path.name)
    what, truth = change(draft, **options)
    return Mutant(kind, what, truth, _written(draft))


def kinds() -> dict[str, Callable[..., tuple[str, Truth]]]:
    """Every kind of mutation by name."""
    found = {}
    for name, value in vars(sys.modules[__name__]).items():
        if not name.startswith("_") and getattr(value, "__annotations__", {}).get("draft") == "Draft":
            found[name.replace("_", "-")] = value
    return found


def _written(draft: Draft) -> Specimen:
    whole = draft.specimen
    path = draft.directory / draft.name
    write_directory(recipe(whole.family), dict(whole.config), path, whole.hub)
    text = json.dumps(draft.config, indent=2, ensure_ascii=False) + "\n"
    (path / "config.json").write_text(text if draft.config_text is None else draft.config_text, encoding="utf-8")
    write_weights(path, draft.files, body="random" if whole.body == "random" else "hole")
    if whole.body == "random":
        for file, tensors in draft.files.items():
            if file in whole.files:
                carry_over(
                    whole.path / file, path / file, {name: draft.origins.get(name, (name, None)) for name in tensors}
                )
                fill(whole.path / file, path / file, {name: draft.made[name] for name in tensors if name in draft.made})
    for step in draft.finish:
        step(path)
    config = draft.config if isinstance(draft.config, dict) else {}
    return replace(whole, path=path, config=config, files=draft.files)


# -- config paths -------------------------------------------------------------------------


def _parent(config: Any, path: str) -> tuple[Any, str | int]:
    *sections, last = path.split(".")
    for section in sections:
        config = config[int(section)] if isinstance(config, list) else config[section]
    return config, int(last) if isinstance(config, list) else last


def get(config: Any, path: str) -> Any:
    """The value at a dotted ``path``."""
    section, key = _parent(config, path)
    return section[key]


# -- config.json --------------------------------------------------------------------------


def key_missing(draft: Draft, path: str, failure_class: str = "config/missing-key") -> tuple[str, Truth]:
    """A key left out. ``failure_class`` is config/wrong-default where the family has a default that does not fit."""
    section, key = _parent(draft.config, path)
    del section[key]
    return f"{path} was left out", Truth(failure_class, (path,))


def section_missing(draft: Draft, path: str) -> tuple[str, Truth]:
    """A whole section left out."""
    section, key = _parent(draft.config, path)
    del section[key]
    return f"the section {path} was left out", Truth("config/missing-section", (path,), ("config/missing-key",))


def key_renamed(draft: Draft, path: str, to: str) -> tuple[str, Truth]:
    """A key under another name, in the same place."""
    section, key = _parent(draft.config, path)
    renamed = {(to if name == key else name): value for name, value in section.items()}
    section.clear()
    section.update(renamed)
    new = ".".join([*path.split(".")[:-1], to])
    return f"{path} was renamed to {to}", Truth("config/renamed-key", (path, new))


def key_unknown(draft: Draft, path: str, value: Any = 1) -> tuple[str, Truth]:
    """A key that the class does not take."""
    section, key = _parent(draft.config, path)
    section[key] = value
    return f"{path} was added", Truth("config/unknown-key", (path,))


def value_changed(draft: Draft, path: str, value: Any) -> tuple[str, Truth]:
    """A value that contradicts the checkpoint; the key may be new."""
    section, key = _parent(draft.config, path)
    old = section.get(key)
    section[key] = value
    return f"{path} was changed from {old!r} to {value!r}", Truth("config/value-mismatch", (path,))


def type_changed(draft: Draft, path: str, value: Any) -> tuple[str, Truth]:
    """A value of another type."""
    section, key = _parent(draft.config, path)
    old = section[key]
    section[key] = value
    what = f"{path} was changed from the {type(old).__name__} {old!r} to the {type(value).__name__} {value!r}"
    return what, Truth("config/wrong-type", (path,))


def config_absent(draft: Draft) -> tuple[str, Truth]:
    """No config.json."""
    draft.finish.append(lambda path: (path / "config.json").unlink())
    return "config.json was removed", Truth("config/absent", ("config.json",))


def config_invalid(draft: Draft, text: str = '{"model_type": "x",') -> tuple[str, Truth]:
    """config.json that is not JSON."""
    draft.config_text = text
    return "config.json is not JSON", Truth("config/unreadable", ("config.json",))


def config_list(draft: Draft) -> tuple[str, Truth]:
    """config.json that holds a list."""
    draft.config = [draft.config]
    return "config.json holds a list", Truth("config/unreadable", ("config.json",), ("config/wrong-type",))


def config_nested(draft: Draft, depth: int = 100_000) -> tuple[str, Truth]:
    """config.json nested deeper than Python reads."""
    draft.config_text = "[" * depth + "]" * depth
    return f"config.json is {depth} lists deep", Truth("config/unreadable", ("config.json",))


def model_type_missing(draft: Draft) -> tuple[str, Truth]:
    """No model type, in a directory whose name does not help."""
    for key in ("model_type", "architecture"):
        draft.config.pop(key, None)
    draft.name = NEUTRAL_NAME
    return "model_type was left out", Truth("architecture/undeclared", ("model_type",))


def model_type_unknown(draft: Draft, value: str = "no-such-type") -> tuple[str, Truth]:
    """A model type that nobody knows, in a directory whose name does not help."""
    draft.config["model_type"] = value
    draft.name = NEUTRAL_NAME
    return f"model_type says {value}", Truth("architecture/unsupported", (value,), ("config/value-mismatch",))


def model_type_other(draft: Draft, value: str) -> tuple[str, Truth]:
    """The model type of another family, in a directory whose name does not help."""
    draft.config["model_type"] = value
    draft.name = NEUTRAL_NAME
    truth = Truth("config/value-mismatch", ("model_type",), ("architecture/misresolved",))
    return f"model_type says {value}", truth


def directory_named(draft: Draft, name: str) -> tuple[str, Truth]:
    """A directory whose name is that of another family, which the loader prefers."""
    draft.name = name
    return f"the directory is called {name}", Truth("architecture/misresolved", (name,))


# -- weights ------------------------------------------------------------------------------


def prefix_added(draft: Draft, prefix: str = "module.") -> tuple[str, Truth]:
    """Every tensor with one prefix too many."""
    draft.origins |= {prefix + name: (name, None) for name in draft.tensors}
    draft.files[draft.main] = {prefix + name: tensor for name, tensor in draft.tensors.items()}
    return f"every tensor got the prefix {prefix}", Truth("weights/renamed", (prefix,))


def prefix_removed(draft: Draft, prefix: str) -> tuple[str, Truth]:
    """The tensors of one part without its prefix."""
    draft.origins |= {name.removeprefix(prefix): (name, None) for name in draft.tensors}
    draft.files[draft.main] = {name.removeprefix(prefix): tensor for name, tensor in draft.tensors.items()}
    return f"the prefix {prefix} was removed", Truth("weights/renamed", (prefix,))


def tensor_renamed(draft: Draft, name: str | None = None, to: str | None = None) -> tuple[str, Truth]:
    """One tensor under another name."""
    name = name or _plain(draft)
    to = to or f"{name}_renamed"
    draft.origins[to] = (name, None)
    draft.files[draft.main] = {(to if old == name else old): tensor for old, tensor in draft.tensors.items()}
    return f"{name} was renamed to {to}", Truth("weights/renamed", (name, to))


def tensor_dropped(draft: Draft, name: str | None = None) -> tuple[str, Truth]:
    """One tensor less."""
    name = name or _plain(draft)
    del draft.tensors[name]
    return f"{name} was dropped", Truth("weights/missing", (name,))


def tensor_extra(draft: Draft, name: str = "left_over.weight", tensor: Tensor = ("F32", (2, 2))) -> tuple[str, Truth]:
    """One tensor more."""
    draft.tensors[name] = tensor
    return f"{name} was added", Truth("weights/unexpected", (name,))


def shape_changed(draft: Draft, name: str | None = None) -> tuple[str, Truth]:
    """One tensor with one row more."""
    name = name or _plain(draft)
    dtype, (first, *rest) = draft.tensors[name]
    draft.tensors[name] = (dtype, (first + 1, *rest))
    return f"{name} got one row more", Truth("weights/shape", (name,))


def convolution_transposed(draft: Draft, name: str | None = None) -> tuple[str, Truth]:
    """One convolution with its last two axes exchanged."""
    name = name or next(name for name, (_, shape) in draft.tensors.items() if len(shape) == 3 and len(set(shape)) == 3)
    draft.origins[name] = (name, (0, 2, 1))
    draft.tensors[name] = permuted(draft.tensors[name], (0, 2, 1))
    return f"{name} was transposed", Truth("weights/layout", (name,), ("weights/shape",))


def kind_transposed(draft: Draft, start: str, ending: str) -> tuple[str, Truth]:
    """Every tensor with such a name with its last two axes exchanged: also those whose shape does not show it."""
    names = [name for name in draft.tensors if name.startswith(start) and name.endswith(ending)]
    for name in names:
        draft.origins[name] = (name, (0, 2, 1))
        draft.tensors[name] = permuted(draft.tensors[name], (0, 2, 1))
    return f"{len(names)} tensors {start}*{ending} were transposed", Truth("weights/layout", tuple(names[:1]))


def types_widened(draft: Draft, ending: str = "") -> tuple[str, Truth]:
    """The tensors whose names end so, all by default, as float64: what NumPy makes of a checkpoint unasked."""
    for name, (dtype, shape) in draft.tensors.items():
        if name.endswith(ending) and dtype in ("F32", "BF16", "F16"):
            draft.tensors[name] = ("F64", shape)
            draft.made[name] = lambda read, name=name, dtype=dtype: widened(read(name), dtype)  # type: ignore[misc]
    return f"the tensors *{ending} are float64", Truth("weights/dtype", (draft.main,))


#: Projections that are kept as one or as several, the parts in their order in the whole.
_PARTED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def projections_joined(draft: Draft, whole: str = "qkv_proj") -> tuple[str, Truth]:
    """Projections of every layer as one tensor, one part after the other: as vLLM and Phi-3 have them."""
    parts = _PARTED[whole]
    joined: Tensors = {}
    for name, (dtype, shape) in draft.tensors.items():
        module, _, kind = name.rpartition(".")
        owner, _, last = module.rpartition(".")
        if last == parts[0]:
            names = [f"{owner}.{part}.{kind}" for part in parts]
            rows = sum(draft.tensors[one][1][0] for one in names)
            joined[f"{owner}.{whole}.{kind}"] = (dtype, (rows, *shape[1:]))
            draft.made[f"{owner}.{whole}.{kind}"] = lambda read, names=names: b"".join(map(read, names))  # type: ignore[misc]
        elif last not in parts[1:]:
            joined[name] = (dtype, shape)
    draft.files[draft.main] = joined
    return f"{', '.join(parts)} were joined as {whole}", Truth("weights/layout", (whole,), ("weights/renamed",))


def projections_split(
    draft: Draft, whole: str, parts: tuple[str, ...] = ("wq", "wk", "wv"), sizes: tuple[int, ...] = (1, 1, 1)
) -> tuple[str, Truth]:
    """Every projection called ``whole`` as its parts, whose lengths are to each other as ``sizes``."""
    split: Tensors = {}
    for name, (dtype, shape) in draft.tensors.items():
        module, _, kind = name.rpartition(".")
        owner, _, last = module.rpartition(".")
        if last != whole:
            split[name] = (dtype, shape)
            continue
        start = 0
        for part, size in zip(parts, sizes, strict=True):
            rows = shape[0] * size // sum(sizes)
            made = f"{owner}.{part}.{kind}"
            split[made] = (dtype, (rows, *shape[1:]))
            first, last_row, all_rows = start, start + rows, shape[0]
            draft.made[made] = lambda read, name=name, at=(first, last_row, all_rows): _rows(read(name), *at)  # type: ignore[misc]
            start += rows
    draft.files[draft.main] = split
    return f"{whole} was split into {', '.join(parts)}", Truth("weights/layout", parts, ("weights/renamed",))


def _rows(data: bytes, first: int, end: int, rows: int) -> bytes:
    return data[len(data) * first // rows : len(data) * end // rows]


def mlx_layout(draft: Draft) -> tuple[str, Truth]:
    """The checkpoint as the model holds it: what ``sanitize`` does is done already."""
    draft.files[draft.main] = tables.read(f"{draft.specimen.family}.{draft.specimen.size}.mlx")[MAIN_FILE]
    return "the checkpoint is in MLX layout", Truth("weights/layout")


def truncated(draft: Draft) -> tuple[str, Truth]:
    """The main weights file cut in the middle of its values."""
    file = draft.main

    def cut(path: Path) -> None:
        with (path / file).open("r+b") as weights:
            weights.truncate((path / file).stat().st_size - 16)

    draft.finish.append(cut)
    return f"{file} was cut", Truth("weights/corrupt", (file,), ("weights/incomplete",))


def header_garbage(draft: Draft) -> tuple[str, Truth]:
    """The main weights file with a header that is not JSON."""
    file = draft.main

    def spoil(path: Path) -> None:
        with (path / file).open("r+b") as weights:
            weights.seek(8)
            weights.write(b"\xff\xfe")

    draft.finish.append(spoil)
    return f"the header of {file} is garbage", Truth("weights/corrupt", (file,))


def lfs_pointer(draft: Draft) -> tuple[str, Truth]:
    """A Git LFS pointer in the place of the main weights file."""
    file = draft.main
    size = sum(1 for _ in draft.tensors) * 4096
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {size}\n"
    draft.finish.append(lambda path: (path / file).write_text(text, encoding="ascii"))
    return f"{file} is a Git LFS pointer", Truth("weights/lfs-pointer", (file,))


def shard_missing(draft: Draft, shards: int = 3, missing: int = 2, index: bool = True) -> tuple[str, Truth]:
    """The main weights file in shards, one of which is not there."""
    tensors = draft.files.pop(draft.main)
    absent = f"model-{missing:05d}-of-{shards:05d}.safetensors"

    def split(path: Path) -> None:
        write_sharded(path, tensors, shards=shards, index=index, body="hole")
        (path / absent).unlink()

    draft.finish.append(split)
    return f"{absent} is not there", Truth("weights/incomplete", (absent,))


def pytorch_only(draft: Draft) -> tuple[str, Truth]:
    """Weights as a PyTorch pickle only."""
    draft.files.clear()
    draft.finish.append(lambda path: (path / "pytorch_model.bin").write_bytes(b"PK\x03\x04" + bytes(60)))
    return "the weights are in pytorch_model.bin", Truth("weights/unsupported-format", ("pytorch_model.bin",))


def weights_absent(draft: Draft) -> tuple[str, Truth]:
    """No weights at all."""
    draft.files.clear()
    return "the weights were removed", Truth("weights/absent")


def _plain(draft: Draft) -> str:
    """A tensor from the middle that is nothing special: a weight, of a matrix if there are any."""
    names = [name for name, (_, shape) in draft.tensors.items() if shape and name.endswith("weight")]
    matrices = [name for name in names if len(draft.tensors[name][1]) == 2]
    chosen = matrices or names
    return chosen[len(chosen) // 2]


# -- quantisation -------------------------------------------------------------------------

_LINEAR = re.compile(r"\.((q|k|v|o|gate|up|down)_proj|embed_tokens|lm_head)\.weight$|^lm_head\.weight$")


def quantised(
    specimen: Specimen,
    directory: Path,
    *,
    bits: int = 4,
    group_size: int = 64,
    mixed: Mapping[str, Mapping[str, Any]] | None = None,
    layer_named: Callable[[str], str] = str,
) -> Specimen:
    """A whole quantised specimen: linear layers of the language model packed, and declared in config.json.

    For families whose checkpoint keeps Llama's names of linear layers. Each ``x.weight`` of (out, in)
    becomes (out, in * bits / 32) of U32, with ``x.scales`` and ``x.biases`` of (out, in / group_size).
    ``mixed``: other settings for layers by the end of their names, declared by entries of their own under
    what ``layer_named`` makes of a stored name (the layer's path in the model); with the mode
    mxfp4 the scales are U8 and there are no biases.
    """
    files = {file: dict(tensors) for file, tensors in specimen.files.items()}
    draft = Draft(specimen, directory, copy.deepcopy(dict(specimen.config)), files, specimen.path.name)
    packed: Tensors = {}
    entries: dict[str, Mapping[str, Any]] = {}
    common = {"group_size": group_size, "bits": bits}
    for name, (dtype, shape) in draft.tensors.items():
        if not _LINEAR.search(name) or shape[-1] % group_size:
            packed[name] = (dtype, shape)
            continue
        rows, columns = shape
        stem = name.removesuffix("weight")
        own = next((value for ending, value in (mixed or {}).items() if name.endswith(f"{ending}.weight")), common)
        if own is not common:
            entries[layer_named(stem.removesuffix("."))] = own
        packed[name] = ("U32", (rows, columns * own["bits"] // 32))
        groups = (rows, columns // own["group_size"])
        packed[f"{stem}scales"] = ("U8", groups) if own.get("mode") == "mxfp4" else (dtype, groups)
        if own.get("mode") != "mxfp4":
            packed[f"{stem}biases"] = (dtype, groups)
    draft.files[draft.main] = packed
    draft.config["quantization"] = {**common, **entries}
    return _written(draft)


def quantization_undeclared(draft: Draft) -> tuple[str, Truth]:
    """A quantised checkpoint whose config does not say so."""
    del draft.config["quantization"]
    return "the section quantization was left out", Truth("quantization/undeclared", ("quantization",))


def quantization_bits(draft: Draft, bits: int) -> tuple[str, Truth]:
    """Other bits than the checkpoint has."""
    draft.config["quantization"]["bits"] = bits
    return f"quantization.bits says {bits}", Truth("quantization/mismatch", ("quantization.bits",))


def quantization_entries_missing(draft: Draft) -> tuple[str, Truth]:
    """A mixed quantisation whose config has the settings of most layers only."""
    block = draft.config["quantization"]
    layers = [name for name, value in block.items() if isinstance(value, dict)]
    for name in layers:
        del block[name]
    return f"{len(layers)} entries of quantization were left out", Truth("quantization/mismatch", ("quantization",))


def quantization_group_size(draft: Draft, group_size: int) -> tuple[str, Truth]:
    """Another group size than the checkpoint has."""
    draft.config["quantization"]["group_size"] = group_size
    return f"quantization.group_size says {group_size}", Truth("quantization/mismatch", ("quantization.group_size",))


def quantization_without_bits(draft: Draft) -> tuple[str, Truth]:
    """A quantization section that lacks bits."""
    del draft.config["quantization"]["bits"]
    truth = Truth("config/missing-key", ("quantization.bits",), ("quantization/mismatch",))
    return "quantization.bits was left out", truth


def scales_dropped(draft: Draft) -> tuple[str, Truth]:
    """A quantised checkpoint without its scales."""
    draft.files[draft.main] = {name: tensor for name, tensor in draft.tensors.items() if not name.endswith(".scales")}
    truth = Truth("quantization/metadata-dropped", (".scales",), ("weights/missing", "quantization/mismatch"))
    return "the scales were dropped", truth


# -- beside the weights -------------------------------------------------------------------


def side_file_missing(draft: Draft, file: str) -> tuple[str, Truth]:
    """A file or directory of the model's that is not there."""

    def remove(path: Path) -> None:
        shutil.rmtree(path / file) if (path / file).is_dir() else (path / file).unlink()

    draft.files = {name: tensors for name, tensors in draft.files.items() if not name.startswith(f"{file}/")}
    draft.finish.append(remove)
    return f"{file} was removed", Truth("component/missing", (file,))


def companion_missing(draft: Draft, repository: str) -> tuple[str, Truth]:
    """A companion repository that is not in the cache; the mutant gets a cache of its own."""
    home = draft.directory / "huggingface"
    draft.specimen = replace(draft.specimen, hub=home, environment=hub_cache.environment(home))
    draft.finish.append(lambda path: shutil.rmtree(hub_cache.snapshot(home, repository).parents[1]))
    return f"{repository} is not cached", Truth("hub/companion-unavailable", (repository,))
