"""The fact vocabulary: every kind of fact and every field, declared once.

A collector can assert, and a rule can name, only what stands here; the reference page and
the JSON Schema of rule files are generated from it. Fields are flat and typed. What needs
arithmetic, comparison between facts or similarity is worked out by a collector and asserted
as a derived fact, so that rules only test constants and join on equality.

Conventions. Config paths are dotted (``decoder.hidden_size``; list items ``rates.0``; the
top level is the empty string). Tensor names are patterns with layers collapsed
(``layers.{0..31}.q_proj.weight``); shapes read ``(64, 3, 64)``. Module names are dotted,
package names are distribution names (``mlx-audio``). Stages are those of ``engine.model``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlx_diagnose.engine.model import Scalar

FieldType = Literal["str", "int", "float", "bool"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a kind: its type, whether it may be null, and what it means."""

    type: FieldType
    doc: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fact: what it says, who observes it, and its fields."""

    name: str
    doc: str
    collector: str
    fields: Mapping[str, Field]


def _s(doc: str) -> Field:
    return Field("str", doc)


def _so(doc: str) -> Field:
    return Field("str", doc, nullable=True)


def _i(doc: str) -> Field:
    return Field("int", doc)


def _io(doc: str) -> Field:
    return Field("int", doc, nullable=True)


def _f(doc: str) -> Field:
    return Field("float", doc)


def _fo(doc: str) -> Field:
    return Field("float", doc, nullable=True)


def _b(doc: str) -> Field:
    return Field("bool", doc)


def _bo(doc: str) -> Field:
    return Field("bool", doc, nullable=True)


def _kind(name: str, collector: str, doc: str, /, **fields: Field) -> Kind:
    return Kind(name, doc, collector, fields)


_KINDS = (
    # -- conclusions that other rules may build on ----------------------------------------
    _kind(
        "finding",
        "inference",
        "A finding that a rule concluded, one fact a subject.",
        rule=_s("the rule"),
        failure_class=_s("such as config/missing-key"),
        severity=_s("error, warning or info"),
        stage=_so("stage"),
        subject_kind=_so("config_key, tensor, file, package, module, repo, model_type or component"),
        subject=_so("its name"),
    ),
    # -- target and patient ---------------------------------------------------------------
    _kind(
        "target",
        "target",
        "What was asked to be diagnosed.",
        model=_s("as the user wrote it"),
        source=_s("directory, hub or bundle"),
        state=_s(
            "present, uncached (a hub id with no snapshot here), incomplete (a snapshot without config.json), not-a-directory or unreadable"
        ),
        name=_s("the directory or repository name that the loader takes name parts from"),
        path=_so("the directory that the loader reads"),
        category=_s("tts, stt, sts, vad, lid, codec, music"),
        offline_by_user=_b("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE was set by the user"),
    ),
    _kind(
        "hub_cache",
        "hub_cache",
        "The hub cache that is in use.",
        path=_s("its folder"),
        quoted=_s("the folder, quoted for a shell"),
        exists=_b("it is there"),
        readable=_b("this user may look into it, or it is not there"),
        writable=_b("this user may write into it, or into the folder that it would be made in"),
        chosen_by=_so("HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME or XDG_CACHE_HOME; null for the usual place"),
        free_bytes=_io("free space there"),
    ),
    _kind(
        "cached_repository",
        "hub_cache",
        "What the hub cache holds of a repository: the model's own, or another that it needs.",
        repo=_s("its id"),
        role=_s("target or companion"),
        state=_s(
            "complete, incomplete (files are missing), damaged (files are not whole), no-snapshot (the download began, nothing is there), bad-ref, no-ref (snapshots without a branch), other-revision, unreadable or uncached"
        ),
        revision=_s("the revision asked for"),
        ref=_s("how it was found: ok, absent, empty, malformed, or commit (asked for by commit)"),
        commit=_so("the commit that it stands for"),
        path=_s("the folder of the repository in the cache"),
        quoted=_s("that folder, quoted for a shell"),
        locks=_s("the folder of its locks, quoted for a shell"),
        problem=_so("why it cannot be looked at"),
        other_revision=_so("a revision that is cached, where it is not the one asked for"),
        others=_i("snapshots of other commits"),
        listed=_b("the client kept the list of the commit's files, so what is missing is known for certain"),
        missing=_i("files that the loader downloads and the snapshot lacks"),
        missing_bytes=_io("their size, null where not known"),
        damaged=_i("files that are not whole"),
        partial=_i("unfinished downloads of blobs, of whatever commit"),
        partial_bytes=_i("bytes of them that came"),
        downloading=_b("a process holds a lock on the repository: a download is under way"),
        stale_locks=_i("locks that a process left behind when it died"),
        copies=_b("the snapshot holds files instead of links"),
        fits=_bo("what is missing fits on the disk, null where not known"),
        writable=_b("this user may write into the repository's folder"),
        fetch=_s("arguments of hf download that fetch what is missing, quoted for a shell"),
        refetch=_s("arguments of hf download for the files that are not whole, quoted for a shell"),
    ),
    _kind(
        "cached_file",
        "hub_cache",
        "A file of a cached snapshot that is missing, not whole, or looked so.",
        repo=_s("the repository"),
        role=_s("target or companion"),
        file=_s("its name in the repository"),
        state=_s(
            "absent, dangling (a link to a blob that is gone), unreadable, wrong-size, wrong-content (its hash is not that of its name), unsound (a weights header that does not agree with the size), or as-published (unsound, but so in the repository)"
        ),
        weights=_b("it is a weights file or an index of such"),
        wanted_by=_so(
            "who wants an absent file: listing (the repository has it), loader, numbers (of shards) or an index file"
        ),
        size=_io("bytes on disk"),
        expected_size=_io("bytes in the repository, where known"),
        blob=_so("name of the blob that its link names"),
        detail=_so("what is wrong, in words"),
    ),
    _kind(
        "left_out_file",
        "hub_cache",
        "A file of the model's repository that the patterns of the installed mlx-audio never download.",
        repo=_s("the repository"),
        file=_s("its name there"),
        name=_s("base name"),
        size=_i("bytes"),
        present=_b("it is in the snapshot all the same"),
        fetch=_s("arguments of hf download that fetch it, quoted for a shell"),
    ),
    _kind(
        "marked_absent",
        "hub_cache",
        "A file of which the cache remembers that the repository does not have it.",
        repo=_s("the repository"),
        file=_s("its name"),
        contradicted=_b("it is in the snapshot, or in the list of the commit's files"),
        path=_s("the mark in the cache, quoted for a shell"),
    ),
    _kind(
        "cache_folder",
        "hub_cache",
        "The directory that was given as a model is the folder of a repository in a hub cache.",
        path=_s("the directory"),
        repo=_s("the repository"),
        snapshots=_i("snapshots in it"),
    ),
    _kind(
        "cached_elsewhere",
        "hub_cache",
        "Another hub cache of this user that holds a repository which the one in use lacks.",
        repo=_s("the repository"),
        role=_s("target or companion"),
        cache=_s("folder of that cache"),
        assignment=_s("the variable that chooses it, as a shell takes it"),
        whole=_b("its snapshot has config.json"),
    ),
    _kind(
        "hub_response",
        "hub",
        "What the hub answered when a diagnosis asked it for a repository or a file.",
        repo=_s("the repository"),
        role=_s("model, or companion (another repository that the load asks for)"),
        revision=_so("the branch, tag or commit asked for"),
        item=_so("the file asked for, null for the repository itself"),
        outcome=_s(
            "found, not-found, revision-not-found, entry-not-found, gated, unauthorized (the token is no good), forbidden, disabled, rate-limited, server-error, dns, unreachable, proxy, tls, timed-out, broken-off (the answer ended early), redirect-loop, not-a-hub, bad-endpoint, bad-range, too-large, read-only, no-space, invalid-id, offline or failed"
        ),
        status=_io("HTTP status, where there was an answer"),
        host=_s("the host that answered, or that was to be reached"),
        endpoint=_s("address of the hub, without credentials"),
        default_endpoint=_b("it is the one that the client asks unless told otherwise"),
        authenticated=_b("a token was sent"),
        retry_after=_io("seconds after which the hub may be asked again"),
        detail=_so("what the hub, or the client, said"),
    ),
    _kind(
        "hub_repository",
        "hub",
        "A repository as the hub describes it.",
        repo=_s("its id"),
        role=_s("model or companion"),
        commit=_s("the commit that was looked at"),
        private=_b("only its owners see it"),
        gated=_so("auto or manual where conditions must be accepted, null where not"),
        library=_so("library_name of its card, such as mlx-audio"),
        task=_so("its task, such as text-to-speech"),
        licence=_so("as its card says"),
        base_model=_so("the model that it was made from, as its card says"),
        base_relation=_so("quantized, finetune, adapter or merge, where the card says"),
        converted_with=_so("version of mlx-audio that converted it, as its card says"),
        tags=_s("its tags, sorted, separated by commas"),
        files=_i("files in it"),
        bytes=_io("their size, null where the hub does not tell"),
        weights=_i("safetensors files that the loader reads"),
        weights_bytes=_io("their size, null where the hub does not tell"),
        fits=_bo("they fit on the disk of the hub cache, null where not known"),
    ),
    _kind(
        "hub_file",
        "hub",
        "A file in a repository on the hub: of the model's own those that a load may read, of others those that it asked for.",
        repo=_s("the repository"),
        role=_s("model or companion"),
        file=_s("its name there"),
        size=_io("bytes"),
        state=_s(
            "fetched, header (only its header was fetched), listed, failed (it was asked for and did not come), or unsafe-name (never touched)"
        ),
        weights=_b("the loader reads it as weights of the model"),
    ),
    _kind(
        "hub_candidate",
        "hub",
        "A repository that may have been meant by an id that the hub does not know.",
        model=_s("the id that was given"),
        candidate=_s("the other"),
        source=_s("cache, knowledge base or hub: where it is known from"),
        similarity=_f("0 to 1, of the spelling"),
        rank=_i("1 for the most alike"),
        same_numbers=_b("the names hold the same numbers: it is not merely another size or precision"),
    ),
    _kind(
        "hub_variant",
        "hub",
        "Another repository of the same owner with the same model in other numbers.",
        model=_s("the model"),
        variant=_s("the other repository"),
        label=_s("what sets it apart: bf16, fp16, 8bit, 6bit, 4bit..."),
        bits=_f("bits a weight that the label tells"),
        smaller=_b("it takes fewer bits than the model, as the names tell"),
    ),
    _kind(
        "path_lookalike",
        "model_ids",
        "A hub id which is not cached whose first part is a folder here: it may be a path to something that is not there.",
        model=_s("the id that was asked for"),
        parent=_s("its first part"),
        parent_path=_s("the folder, as an absolute path"),
        nearest=_so("the folder in it with the most similar name"),
    ),
    _kind(
        "probe",
        "patient",
        "How the patient process as a whole went: one fact a run.",
        outcome=_s(
            "completed, crashed, timed-out, memory-exceeded, not-python, no-interpreter, no-mlx-audio, or protocol-error"
        ),
        detail=_so("one line: signal, return code, what was said on stderr"),
        signal=_so("name of the signal that ended it, such as SIGSEGV"),
        stage=_so("the stage it was in when it ended"),
        file=_so("innermost Python file at a crash or time-out"),
        line=_io("line in that file"),
        limit=_io("the limit that was exceeded: seconds or bytes"),
    ),
    _kind(
        "interpreter",
        "environment",
        "The patient's interpreter and machine.",
        version=_s("Python version, such as 3.11.7"),
        system=_s("Linux, Darwin or Windows"),
        machine=_s("x86_64, arm64, aarch64"),
        os_version=_so("macOS or kernel release"),
        memory_bytes=_io("physical memory"),
        free_disk_bytes=_io("free space where the model lies"),
    ),
    _kind(
        "backend",
        "environment",
        "What MLX computes on, or why mlx.core does not import.",
        importable=_bo("mlx.core imports; null where it was not tried"),
        device=_so("gpu or cpu, MLX's default device"),
        metal=_bo("Metal is available"),
        library_package=_so(
            "the installed distribution that ships the native library (mlx-metal, mlx-cpu, mlx-cuda...), null when there is none"
        ),
        error=_so("the message of the ImportError"),
        chip=_so("what MLX computes on, as it names it, such as Apple M2 Max"),
        memory_bytes=_io("memory of that device"),
        working_set_bytes=_io("how much of it Metal recommends to use at once"),
        buffer_bytes=_io("the largest single array that it takes"),
    ),
    _kind(
        "memory_forecast",
        "memory_forecast",
        "What the model takes once its arrays are computed, against the machine; figures in bytes.",
        basis=_s("lazy load, or headers alone where it did not load"),
        stored_bytes=_i("tensors in the files that the loader reads"),
        given_bytes=_i("tensors that the model is given, after sanitize"),
        base_bytes=_i("what the process took before they are computed; 0 where that is not known"),
        peak_bytes=_i("forecast of the peak of the process: base and given"),
        quantized_bytes=_io("the tensors after quantising them, null where they are quantised"),
        quantizing_peak_bytes=_io("forecast of the peak if they are quantised while loading"),
        largest=_so("the largest tensor"),
        largest_bytes=_i("its size"),
        share_of_memory=_fo("peak_bytes of the machine's memory"),
        share_of_working_set=_fo("arrays of the working set that Metal recommends"),
        share_of_buffer=_fo("largest_bytes of the largest array that the device takes"),
        memory=_so("the machine's memory, to be read"),
        peak=_so("peak_bytes, to be read"),
        weights=_so("given_bytes, to be read"),
        quantized=_so("the forecast for a quantised model, to be read"),
        working_set=_so("the recommended working set, to be read"),
    ),
    _kind(
        "package",
        "environment",
        "A distribution that matters to the load.",
        name=_s("canonical distribution name"),
        installed=_b("whether it is installed"),
        version=_so("installed version"),
        extra=_so("the extra of the installed mlx-audio that requires it, where one does"),
    ),
    _kind(
        "requirement",
        "environment",
        "A declared requirement of an installed distribution (without extras) on another.",
        owner=_s("the distribution that declares it"),
        owner_version=_s("its version"),
        package=_s("the distribution that is required"),
        specifier=_s("the declared range, such as >=0.31,<0.32; empty for any"),
        installed_version=_so("what is installed, null when absent"),
        satisfied=_b("whether the installed version is in the range"),
        chain=_so(
            "the packages that lead from mlx-audio to it, such as mlx-audio > transformers > tokenizers; null where none do"
        ),
    ),
    _kind(
        "import_need",
        "dependencies",
        "A package that a family imports, read from its sources: one fact a package.",
        package=_s("distribution"),
        module=_s("the module that is imported"),
        top=_s("first part of its name"),
        present=_b("the module's package is there"),
        version=_so("installed version of the distribution"),
        when=_s(
            "import (when the family is imported), use (when a function is called that loading or generating may call) or call (another function: a converter, a script)"
        ),
        guarded=_b("a failure is caught, or the import runs only under a condition"),
        function=_so("the function that imports it, null at import"),
        importer=_s("module that imports it"),
        importer_line=_i("line there"),
        declared=_s(
            "required (mlx-audio lists it), chain (something that it draws in does), extra (only an extra of mlx-audio does), nobody, or unknown (mlx-audio has no metadata)"
        ),
        extra=_so("that extra"),
        chain=_so("the packages that lead to it, such as mlx-audio > transformers > requests"),
        install=_s("what to give pip"),
    ),
    _kind(
        "absent_name",
        "dependencies",
        "A name that a family imports from an installed module that does not have it, by the module's source.",
        module=_s("the module"),
        name=_s("the name, or a submodule"),
        package=_s("its distribution"),
        version=_so("installed version"),
        when=_s("import, use or call, as for import_need"),
        guarded=_b("a failure is caught, or the import runs only under a condition"),
        importer=_s("module that imports it"),
        importer_line=_i("line there"),
    ),
    _kind(
        "package_gap",
        "family_gaps",
        "What families of the installed mlx-audio miss here: a package, or a name in an installed one.",
        package=_s("distribution"),
        module=_s("the module that is imported"),
        name=_so("the name that it lacks; null where the package is absent"),
        version=_so("installed version"),
        when=_s("import or use, as for import_need"),
        families=_s("the families, such as tts/spark, tts/dia and 3 more"),
        count=_i("how many"),
        extra=_so("the extra of mlx-audio that would bring it"),
        install=_s("what to give pip"),
    ),
    _kind(
        "storage",
        "storage",
        "The folder of downloaded models.",
        path=_s("where"),
        variable=_so("the variable of the environment that names it, null for the default"),
        exists=_b("it is there"),
        writable=_b("it, or the folder in which it would be made, may be written"),
        free_bytes=_i("free space there"),
    ),
    _kind(
        "native_library",
        "native_libraries",
        "A native library or program that a package or mlx-audio itself calls.",
        name=_s("espeak-ng, ffmpeg, portaudio, libsndfile"),
        found=_b("it is there"),
        where=_so("the wheel that brings it, or its path"),
        needed_by=_s("the package that calls it"),
        purpose=_s("what for"),
    ),
    # -- how mlx-audio resolves a model -----------------------------------------------------
    _kind(
        "loader",
        "resolution",
        "The load function of the installed mlx-audio that was run.",
        module=_s("module of the function, such as mlx_audio.tts.utils"),
        function=_s("its name"),
        strict=_bo("its default strictness, null where it takes none"),
        mlx_audio_version=_so("the version the package gives itself"),
        shared=_b("it delegates to mlx_audio.utils.base_load_model"),
    ),
    _kind(
        "family",
        "resolution",
        "A model family (module) that the installed mlx-audio has.",
        category=_s("category folder"),
        name=_s("module name"),
    ),
    _kind(
        "resolution",
        "resolution",
        "How the loader got from config and name to a family.",
        declared=_so("model_type of config.json (or architecture), null when absent"),
        declared_key=_so("the config key it came from"),
        resolved=_s("the family name the loader tries to import"),
        via=_s("remapping, declared, name-part, name-part-remapping, first-name-part, or none"),
        name_part=_so("the part of the directory or repository name that decided"),
        family_exists=_b("the installed mlx-audio has that family in that category"),
        declared_exists=_b("the declared type, remapped, is itself a family of the category"),
        declared_family=_so("the family that the declared type alone would give"),
        category=_s("category asked for"),
    ),
    _kind(
        "type_candidate",
        "resolution",
        "Another family or category that the config would fit.",
        declared=_so("model_type of config.json"),
        family=_s("candidate family"),
        category=_s("its category"),
        reason=_s(
            "same-name-other-category, similar-name, normalised-name, config-keys, known-alias, or supported-since"
        ),
        score=_f("0 to 1"),
        since=_so("the mlx-audio release that brought it, for supported-since"),
        best=_b("the best candidate of this run"),
    ),
    # -- configuration ------------------------------------------------------------------------
    _kind(
        "config_file",
        "config",
        "config.json as a file.",
        file=_s("its name"),
        state=_s("ok, absent, empty, unreadable, invalid-json, not-an-object, too-deep, lfs-pointer or not-utf8"),
        line=_io("where parsing failed"),
        column=_io("column there"),
        message=_so("what the parser said"),
        alternative=_so("another file present that could be the config (params.json, config.yaml, ...)"),
        duplicate_keys=_so("dotted paths of keys given more than once, comma separated; the last one counts"),
    ),
    _kind(
        "config_key",
        "config",
        "A key of config.json.",
        path=_s("dotted path"),
        parent=_s("dotted path of its section, empty at the top"),
        name=_s("last part of the path"),
        type=_s("object, array, string, number, boolean or null"),
        value=_so("JSON text of a scalar (strings unquoted), null for containers"),
        line=_io("line in config.json"),
    ),
    _kind(
        "config_class",
        "signature",
        "A class that takes a section of the config.",
        class_name=_s("its name"),
        section=_s("config path that it takes, empty for the top level"),
        unknown_keys=_s("dropped, rejected, accepted (**kwargs) or nested"),
        file=_so("source file"),
        line=_io("line of the class"),
    ),
    _kind(
        "init_parameter",
        "signature",
        "A parameter that a config class takes.",
        class_name=_s("the class"),
        section=_s("config path of its section"),
        name=_s("parameter name"),
        path=_s("dotted config path: section and name"),
        required=_b("it has no default"),
        type=_so("annotation as text"),
        default=_so("the default as JSON text"),
    ),
    _kind(
        "class_signature",
        "signature",
        "A class of the family that makes a model or holds configuration, used by this config or not.",
        class_name=_s("its name"),
        module=_s("its module"),
        role=_s("model, config (the family's ModelConfig) or nested"),
        parameters=_s("what its constructor takes, as in its definition: name: type = default, ..."),
        required=_s("names of the parameters without a default, comma separated"),
        method=_so("how it takes a dict: from_dict or constructor; null for a model"),
        unknown_keys=_so("dropped, rejected or accepted (**kwargs); null where it cannot be told"),
        accepted_keys=_s("keys that it takes or reads of a dict, comma separated"),
        file=_so("source file"),
        line=_io("line of the class"),
    ),
    _kind(
        "attribute_read",
        "signature",
        "A config key or an attribute of a config object that the family's code reads.",
        path=_s("dotted config path; where only the class is known, Class.attribute with an @ before it"),
        name=_s("the key or attribute"),
        class_name=_so("class of the object; null for the raw config"),
        how=_s("attribute, key, get, pop, setdefault, getattr, hasattr or in"),
        reader=_s("the class or function that reads"),
        function=_s("the function in which it reads"),
        stage=_s("construct (making the model runs it) or later"),
        required=_b("nothing stands in where it is absent, and no condition guards it"),
        sure=_b("every way through the code comes here"),
        declared=_bo("the class of the object has such an attribute; null where that cannot be told"),
        given=_b("config.json gives the path"),
        default=_so("what stands in where it is absent, as JSON text"),
        file=_so("who reads"),
        line=_io("line there"),
    ),
    _kind(
        "parameter_dependency",
        "signature",
        "What the family's code presupposes of one config parameter by another.",
        relation=_s(
            "divisible (path by other), equal, same-length, derived (path is made from other) or stands-in (other is taken where path is absent)"
        ),
        path=_s("dotted config path"),
        other=_s("dotted config path of the other"),
        asserted=_b("the code raises where it does not hold; else its arithmetic implies it"),
        sure=_b("every way through the code comes here"),
        expression=_s("as the source has it"),
        value=_so("JSON text of the value at path: given, or the default"),
        other_value=_so("JSON text of the other value"),
        holds=_bo("it holds for these values; null where it cannot be told, or is no condition"),
        remainder=_io("of value divided by other_value, for divisible"),
        file=_so("whose code"),
        line=_io("line there"),
    ),
    _kind(
        "source_unreadable",
        "signature",
        "A module of the family that is there and whose source cannot be read: what it holds is not known.",
        module=_s("its name"),
        file=_s("its file"),
        reason=_s("syntax-error, not-text, compiled-only, native, zipped, too-large or unreadable"),
        message=_s("what is wrong with it"),
        line=_io("line of a syntax error"),
    ),
    _kind(
        "unknown_key",
        "config_difference",
        "A config key that the class of its section does not take.",
        path=_s("dotted path"),
        section=_s("its section"),
        name=_s("last part"),
        class_name=_s("the class"),
        effect=_s("dropped (silently) or rejected (TypeError)"),
        housekeeping=_b(
            "a key that every checkpoint may carry (model_type, architectures, transformers_version, torch_dtype, quantization, ...)"
        ),
        line=_io("line in config.json"),
    ),
    _kind(
        "absent_key",
        "config_difference",
        "A parameter of a config class that config.json does not give.",
        path=_s("dotted path where it belongs"),
        section=_s("its section"),
        name=_s("parameter name"),
        class_name=_s("the class"),
        required=_b("it has no default"),
        default=_so("the default taken, as JSON text"),
        is_section=_b("its type is itself a config class (a whole section is missing)"),
    ),
    _kind(
        "absent_section",
        "config_difference",
        "A whole section that the family needs and config.json does not have.",
        path=_s("dotted path of the section"),
        class_name=_so("the class that would take it"),
        required=_b("loading needs it"),
        flattened=_b("its keys stand at another level instead"),
        found_at=_so("the level where its keys stand, for flattened"),
    ),
    _kind(
        "key_similarity",
        "config_difference",
        "A given key that may be an absent parameter under another name.",
        given=_s("dotted path in config.json"),
        wanted=_s("dotted path of the absent parameter"),
        score=_f("similarity of the names, 0 to 1"),
        required=_b("the wanted parameter is required"),
        known_alias=_b("the pair is a known alias (n_layers and num_hidden_layers)"),
        value_fits=_bo(
            "the value, given under the wanted name, makes the load pass or agrees with the shapes; null when not tried"
        ),
        best=_b("no other candidate for either side scores as high"),
        value=_so("JSON text of the value"),
        given_line=_io("line in config.json"),
    ),
    _kind(
        "type_disagreement",
        "config_difference",
        "A config value whose type is not the annotated one.",
        path=_s("dotted path"),
        name=_s("last part"),
        expected=_s("int, float, bool, str, list, dict"),
        actual=_s("the JSON type"),
        value=_so("JSON text"),
        convertible=_b('the value converts without loss ("512" to 512)'),
        converted=_so("JSON text of the converted value"),
        line=_io("line in config.json"),
    ),
    _kind(
        "config_repair",
        "counterfactual",
        "A single change of the config that was tried on the real classes and made the mismatch smaller.",
        path=_s("dotted path"),
        operation=_s("replace, add, rename, remove or move"),
        old=_so("JSON text of the value now, null when the key is absent"),
        new=_so("JSON text of the value tried, null for remove"),
        new_path=_so("where the value goes, for rename and move"),
        default=_so("JSON text of the default that stood in, for add"),
        mismatches_before=_i("tensors that did not fit before"),
        mismatches_after=_i("tensors that do not fit with the change"),
        loads=_b("with this change alone the whole load passes"),
        stage_after=_so("the stage that fails with the change, null when it loads"),
        clears_failure=_b("the failing stage passes with the change"),
        unique=_b("no other change of the same size does as well"),
        alternatives=_so("the others, comma separated, when not unique"),
        evidence=_so("the tensor that shows the value, with its shape"),
        tried=_i("number of changes tried"),
    ),
    # -- the run ----------------------------------------------------------------------------
    _kind(
        "stage",
        "load",
        "A stage of the loader.",
        name=_s("stage"),
        status=_s("passed, failed, skipped, blocked or not-reached"),
        seconds=_f("wall time"),
        peak_memory=_io("peak resident bytes of the process at its end"),
    ),
    _kind(
        "exception",
        "load",
        "An exception met in the load.",
        stage=_s("the stage it happened in"),
        role=_s(
            "raised (ended the load), cause (of the raised one, explicit or in its context), or swallowed (caught on the way)"
        ),
        type=_s("class name without module"),
        module=_s("module of the class"),
        message=_s("its text, first 500 characters"),
        origin=_s(
            "loader, family, codec, mlx, huggingface_hub, transformers, stdlib, or dependency: whose code raised it"
        ),
        package=_so("distribution of that code"),
        file=_so("file of the frame that raised it"),
        line=_io("line there"),
        function=_so("function there"),
        source=_so("that source line, stripped"),
        family_file=_so("innermost frame in mlx-audio's model code"),
        family_line=_io("line there"),
        family_function=_so("function there"),
        root_cause=_b("the innermost of the chain"),
    ),
    _kind(
        "missing_argument",
        "exceptions",
        "TypeError: a required argument was not given.",
        stage=_s("stage"),
        class_name=_s("class or function"),
        name=_s("argument"),
        section=_so("config path of the class, where known"),
        path=_s("dotted config path of the missing key, as well as it is known"),
    ),
    _kind(
        "unexpected_argument",
        "exceptions",
        "TypeError: an argument that the callee does not take.",
        stage=_s("stage"),
        class_name=_s("class or function"),
        name=_s("argument"),
        path=_so("dotted config path, where known"),
        in_config=_b("the name is a key of config.json"),
    ),
    _kind(
        "missing_key",
        "exceptions",
        "KeyError or AttributeError on the config: the code reads a key that is not there.",
        stage=_s("stage"),
        name=_s("the key"),
        path=_s("dotted config path, as well as it is known"),
        file=_so("who reads it"),
        line=_io("line there"),
        how=_s(
            "key, attribute, none (an attribute of a section that is null) or message (the exception's text names it)"
        ),
    ),
    _kind(
        "missing_module",
        "exceptions",
        "ModuleNotFoundError somewhere in the load.",
        stage=_s("stage"),
        module=_s("the module that was not found"),
        package=_so("the distribution that provides it, as well as it is known"),
        top=_s("first part of the module name"),
        importer=_so("module or file that imports it"),
        importer_line=_io("line there"),
        masked_as=_so("the message that hides it (Model type x not supported), null when it is raised as itself"),
        swallowed=_b("it was caught and the load went on"),
        kind_of=_s(
            "dependency (another distribution), family (the module of the model type itself) or internal (a module of mlx-audio)"
        ),
        declared=_bo("mlx-audio declares the package as a requirement"),
        declared_extra=_so("the extra of mlx-audio that would bring it"),
    ),
    _kind(
        "missing_name",
        "exceptions",
        "A name that a module does not have: ImportError 'cannot import name' or AttributeError on a module.",
        stage=_s("stage"),
        module=_s("the module"),
        name=_s("the name it lacks"),
        package=_so("its distribution"),
        version=_so("installed version of that distribution"),
        importer=_so("who wants it"),
        importer_line=_io("line there"),
        circular=_b("the module was only partially initialised"),
        internal=_b("the module belongs to mlx-audio itself"),
    ),
    _kind(
        "native_error",
        "exceptions",
        "A compiled library did not load or was built against another version.",
        stage=_s("stage"),
        what=_s("missing-library, missing-symbol, abi-mismatch or no-backend"),
        library=_so("file or symbol"),
        package=_so("distribution that needs it"),
        message=_s("the text"),
    ),
    _kind(
        "reach",
        "load",
        "Something outside the model directory that the patient's code reached for.",
        stage=_s("stage"),
        what=_s("hub, socket, subprocess, unpickle or file"),
        target=_s("repository, host, command or path"),
        item=_so("the file asked for inside a repository"),
        outcome=_s("found, not-cached, not-found, refused, failed or blocked"),
        file=_so("the line of the patient's code that asked"),
        line=_io("line there"),
        at_import=_b("it happened while a module was being imported"),
        swallowed=_b("it failed and the load went on"),
        config_path=_so("the config key that names the target, where one does"),
        offline_by_us=_b("it failed only because the probe is offline"),
    ),
    _kind(
        "trace",
        "trace",
        "The calls of a load were recorded: one fact a trace.",
        requested=_b("it was asked for; else it is that of a second load after a failure"),
        calls=_i("kinds of calls that have an init_call fact"),
        omitted=_i("kinds of calls left out: those that took least"),
        seconds=_f("wall time of the recorded calls"),
    ),
    _kind(
        "init_call",
        "trace",
        "A call on the way of making the model: an initialiser, from_dict, from_pretrained, sanitize, a hook. Calls from one line are one fact.",
        number=_i("its number within the trace"),
        parent=_io("number of the call that makes it"),
        depth=_i("calls above it"),
        stage=_s("stage"),
        function=_s("qualified name, such as Attention.__init__"),
        module=_s("module of the function"),
        place=_so("name that its object gets in the object that makes it, layers collapsed (layers.{0..31})"),
        file=_s("file of the function"),
        line=_i("its line"),
        count=_i("how often it was called"),
        seconds=_f("wall time of all calls, with what they call"),
        longest=_f("wall time of the longest"),
        share=_f("part of the time of the whole trace, 0 to 1"),
        resident_before=_io("resident bytes of the process before the first call"),
        resident_after=_io("resident bytes after the last one"),
        resident_growth=_i("bytes by which the calls let the process grow"),
        mlx_before=_io("bytes that MLX had allocated before the first call"),
        mlx_after=_io("the same after the last one"),
        mlx_growth=_i("bytes that the calls allocated in MLX and kept"),
        mlx_peak=_io("peak bytes of MLX's allocator at the end"),
        tensors=_i("arrays in the objects that it made"),
        parameters=_i("elements in them"),
        bytes=_i("bytes in them"),
        raised=_b("an exception left it"),
        caught=_i("exceptions that were raised and caught in it"),
        slow=_b("it took longer than a load may, and none of what it calls explains that"),
    ),
    _kind(
        "call_argument",
        "trace",
        "An argument of a recorded call, with where its value came from.",
        call=_i("number of the call"),
        function=_s("qualified name of the function"),
        name=_s("parameter"),
        value=_so("its value as text, where it is plain"),
        type=_s("its Python type"),
        origin=_s("config (a key), section (a part of the config, or an object made from it), default, or code"),
        config_path=_so("the config key or section"),
        certain=_b("the very object, or the only key that fits; else name and value agree by chance perhaps"),
        raised=_b("an exception left the call"),
    ),
    _kind(
        "packaged_file",
        "packaged_files",
        "A file that a module of the family names beside itself, and that the installed mlx-audio does not have.",
        name=_s("its name"),
        path=_s("where it is looked for"),
        file=_s("the module that names it"),
        line=_i("line of that module"),
    ),
    _kind(
        "file_wanted",
        "load",
        "A file that the load looked for and did not find.",
        stage=_s("stage"),
        path=_s("as asked for"),
        name=_s("base name"),
        in_model=_b("it belongs inside the model directory"),
        in_package=_b("it belongs inside an installed package"),
        package=_so("that package"),
        raised=_b("its absence ended the load"),
        file=_so("who asked"),
        line=_io("line there"),
    ),
    _kind(
        "value_read",
        "load",
        "Code that reads tensor values where only shapes are known: what follows depends on values.",
        stage=_s("stage"),
        operation=_s("eval, item, tolist, array, bool, ..."),
        file=_so("who reads"),
        line=_io("line there"),
    ),
    _kind(
        "output",
        "load",
        "A warning or error line that the patient printed while loading.",
        stream=_s("stdout or stderr"),
        text=_s("the line"),
        level=_s("warning or error"),
    ),
    # -- checkpoint ---------------------------------------------------------------------------
    _kind(
        "weights_file",
        "checkpoint",
        "A file that holds, or should hold, weights.",
        file=_s("name relative to the model directory"),
        format=_s("safetensors, npz, pytorch, gguf, onnx, flax, tensorflow, nemo or other"),
        state=_s(
            "ok, lfs-pointer, empty, truncated, header-corrupt, header-too-large, overlap, unsupported-dtype (MLX does not read it), unreadable, dangling-link or not-examined"
        ),
        read_by_loader=_b("the loader of this category reads this file"),
        size=_i("bytes on disk"),
        expected_size=_io("bytes that the header claims"),
        tensors=_i("tensors in the header"),
        detail=_so("what exactly is wrong"),
        tolerated=_b("MLX loads the file although it is not sound: it checks neither overlaps nor names given twice"),
    ),
    _kind(
        "weights_summary",
        "checkpoint",
        "All weights files together.",
        readable=_i("files that the loader reads and that are sound"),
        unreadable_format=_i("weights files in formats that the loader does not read"),
        subfolder=_i("safetensors files below the top directory, which the loader does not see"),
        tensors=_i("distinct tensors in the readable files"),
        parameters=_i("elements in them"),
        bytes=_i("bytes in them"),
        quantized=_b("there are packed uint32 weights with scales"),
        duplicates=_i("tensor names that stand in more than one file"),
        formats=_s("comma separated formats found"),
    ),
    _kind(
        "shard",
        "checkpoint",
        "A shard that the index names.",
        file=_s("shard file name"),
        index_file=_s("the index; empty where only the numbers in the file names tell"),
        present=_b("it is there and sound"),
        tensors=_i("tensors that the index assigns to it"),
        outside=_b("its name points outside the model directory"),
        absent_tensors=_i(
            "tensors that the index assigns to it and no readable file has; 0 where they are there in another file"
        ),
    ),
    _kind(
        "packed_layer",
        "checkpoint",
        "Quantised tensors of one packing, as their shapes show it.",
        bits=_io("bits, null where the shapes allow several"),
        group_size=_io("group size, null likewise"),
        mode=_s("affine, or mxfp4 and others where scales are uint8"),
        layers=_i("layers packed so"),
        example=_s("one of them"),
        packed_width=_i("columns of the packed weight"),
        scales_width=_i("columns of its scales"),
        candidates=_s("bits/group_size pairs that the shapes allow, comma separated"),
        logical_width=_io("input width that the model gives the layer, where known"),
    ),
    _kind(
        "quantization_block",
        "config",
        "The quantization section of config.json.",
        present=_b("quantization or quantization_config is there"),
        key=_so("the key it stands under"),
        bits=_io("bits at the top of the block"),
        group_size=_io("group size there"),
        mode=_so("mode"),
        method=_so("quant_method of a transformers-style block"),
        is_object=_b("it is a JSON object"),
        per_layer=_i("number of per-layer entries"),
        line=_io("line in config.json"),
    ),
    _kind(
        "quantization_disagreement",
        "checkpoint",
        "Packing in the checkpoint against the quantization block.",
        aspect=_s("undeclared, bits, group_size, mode, missing-bits, declared-but-plain, predicate-excludes or layer"),
        declared=_so("what config.json says, as text"),
        actual=_so("what the shapes show, as text"),
        key=_so("config path of the setting"),
        layer=_so("a layer that shows it"),
        layers=_i("how many layers"),
        certain=_b("the shapes allow only this reading"),
    ),
    _kind(
        "tensor_difference",
        "weights_difference",
        "Tensors of one collapsed name that do not fit the model at load.",
        tensor=_s("collapsed name"),
        status=_s("missing (model has it, checkpoint not), unexpected (the reverse) or shape"),
        count=_i("tensors behind the name"),
        expected=_so("shape in the model"),
        received=_so("shape in the checkpoint after sanitize"),
        component=_s("first part of the name"),
        suffix=_s("last part of the name, such as weight, scales, biases"),
        example=_s("one full name"),
        file=_so("the weights file, where it has it"),
    ),
    _kind(
        "weights_difference",
        "weights_difference",
        "All differences between model and checkpoint at load, summed.",
        missing=_i("tensors the model wants and does not get"),
        unexpected=_i("tensors it gets and does not want"),
        shape=_i("tensors of another shape"),
        matched=_i("tensors that fit"),
        strict=_b("the loader asked for a strict match"),
        raised=_b("the load ended because of them"),
        quantized_suffixes_only=_b("all missing or unexpected ones end in scales or biases, or are packed weights"),
        single=_b("exactly one collapsed name differs"),
        only=_s("missing, unexpected, shape when only that happens; else mixed or none"),
        omitted=_i("collapsed names beyond those that have a tensor_difference fact of their own"),
    ),
    _kind(
        "tensor_rename",
        "weights_difference",
        "Unexpected tensors that are the missing ones under another name: shapes agree one to one.",
        style=_s(
            "prefix-added (the checkpoint has one too many), prefix-removed (it lacks one), prefix-replaced, suffix-replaced or renamed"
        ),
        found=_s("prefix, suffix or name in the checkpoint; empty for prefix-removed"),
        wanted=_s("what the model calls it; empty for prefix-added"),
        count=_i("tensors that fit after the renaming"),
        share_of_missing=_f("of all missing ones, 0 to 1"),
        share_of_unexpected=_f("of all unexpected ones, 0 to 1"),
        example_found=_s("one full name in the checkpoint"),
        example_wanted=_s("the same in the model"),
        ambiguous=_b("several assignments fit the shapes"),
    ),
    _kind(
        "tensor_layout",
        "weights_difference",
        "Tensors whose axes are in another order than the model wants.",
        tensor=_s("collapsed name"),
        permutation=_s("axes to take, such as (0, 2, 1)"),
        expected=_s("shape in the model"),
        received=_s("shape after sanitize"),
        stored=_so("shape in the file, before sanitize"),
        sanitize_transposed=_b("the stored shape was right and sanitize moved the axes: it is not idempotent"),
        count=_i("tensors so"),
        all_shape_differences=_b("every shape difference of the load is one of layout"),
    ),
    _kind(
        "weight_repair",
        "counterfactual",
        "A change of the checkpoint's tensors that was tried on the real loader and made more of them fit.",
        operation=_s("rename, drop, transpose, cast, split or join"),
        subject=_s("what it is about: of a rename the first name found (example_found), else the collapsed name"),
        wanted=_so("of a rename what the model calls it: a prefix, an ending or a name"),
        operations=_s("the operations on the stored tensors, as JSON text"),
        tensors=_i("tensors that it is about"),
        mismatches_before=_i("tensors that did not fit before"),
        mismatches_after=_i("tensors that do not fit with the change"),
        loads=_b("with this change alone the whole load passes"),
        clears_failure=_b("the failing stage passes with the change"),
        stage_after=_so("the stage that fails with the change, null when it loads"),
        unique=_b("nothing else that was found does as well"),
        doubt=_so("why passing does not prove that it is right, null where it does"),
    ),
    _kind(
        "sanitize_loss",
        "weights_difference",
        "Tensors of the checkpoint that sanitize took away.",
        pattern=_s("collapsed name"),
        suffix=_s("last part: scales, biases, weight, ..."),
        count=_i("how many"),
        quantization_metadata=_b("they are scales or biases of packed weights that stayed"),
        wanted=_b("the model, quantised as the checkpoint is, wants them"),
    ),
    _kind(
        "layers_absent",
        "weights_difference",
        "A numbered run of layers of which the checkpoint has another number than the model.",
        stem=_s("name of the list, such as model.layers"),
        in_model=_i("count in the model"),
        in_checkpoint=_i("count in the checkpoint"),
    ),
    # -- minimal builds -----------------------------------------------------------------------
    _kind(
        "minimal_build",
        "minimal",
        "A model built without its weights; made where a load fails at construction, and by `diagnose reduce`.",
        config=_s("given (config.json as it is) or known-good (that of the family in the knowledge base)"),
        size=_s("full (lazily) or scaled (numbers made small, the arrays evaluated)"),
        outcome=_s("built or failed"),
        evaluated=_b("its parameters were evaluated as real arrays"),
        stage=_so("stage that failed"),
        exception_type=_so("class of the exception that ended it"),
        message=_so("its text, first 500 characters"),
        same_failure=_b("it failed at the same line and with the same exception as the load"),
        tensors=_io("parameters"),
        bytes=_io("bytes of the parameters"),
        changed=_i("numbers of the config that were made small"),
        seconds=Field("float", "wall time", nullable=True),
    ),
    _kind(
        "component_build",
        "components",
        "A part of the model that its class constructs or fetches, built by itself.",
        component=_s("its attribute in the model, such as acoustic_tokenizer; layers collapsed"),
        role=_s(
            "codec, vocoder, tokenizer, speaker-encoder, text-encoder, backbone, diffusion, encoder, decoder, layer or other: by its name"
        ),
        class_name=_s("its class"),
        module=_s("module of the class"),
        nested=_b("it is part of another part"),
        how=_s("constructed or from-pretrained"),
        stage=_s("construct or post_load"),
        section=_so("config path that it is given whole, empty for the whole config; null where it is given none"),
        keys=_so("config paths of single values that it is given, comma separated"),
        target=_so("repository or directory, for from-pretrained"),
        outcome=_s("built or failed"),
        alone=_b("it is the only part of the model that fails"),
        ends_load=_b("its exception is the one that ended the load"),
        innermost=_so("class of the innermost part that raised"),
        exception_type=_so("class of the exception"),
        message=_so("its text, first 500 characters"),
        tensors=_io("parameters"),
        bytes=_io("bytes of the parameters"),
    ),
    _kind(
        "section_build",
        "minimal",
        "The family's known-good config, built with one section replaced by that of config.json.",
        section=_s("config path"),
        component=_so("the parts that it is for, comma separated"),
        outcome=_s("built or failed"),
        same_failure=_b("it failed at the same line and with the same exception as the load"),
        exception_type=_so("class of the exception"),
        message=_so("its text, first 500 characters"),
    ),
    _kind(
        "component_disagreement",
        "minimal",
        "Two numbers of two sections that are equal in the known-good config and differ here; made equal, the model is built.",
        path=_s("config path of one"),
        value=_s("JSON text of its value"),
        component=_so("the part it is for"),
        other_path=_s("config path of the other"),
        other_value=_s("JSON text of its value"),
        other_component=_so("the part that is for"),
        either=_b("the model is built whichever of the two is made the other"),
        built_with=_s("the one that was made like the other, for the model to be built"),
    ),
    # -- pasted tracebacks, and what is known of releases -------------------------------------
    _kind(
        "tensor_message",
        "traceback",
        "What MLX's message says of tensors, in a pasted traceback: names are told before shapes, and of shapes one.",
        stage=_s("stage"),
        status=_s("missing, unexpected or shape"),
        count=_i("tensors that the message counts"),
        tensor=_s("collapsed name of the first it names; empty where the names were cut off"),
        expected=_so("shape in the model"),
        received=_so("shape that the model was given"),
        permutation=_so("axes to take of the given shape for the model's, such as (0, 2, 1); null where no order fits"),
        scales_only=_b("every tensor named ends in scales or biases"),
        model_bits=_io("bits of the layer in the model, where both shapes read as packings of one matrix"),
        given_bits=_io("bits of the weight it was given, if its shape reads as packed beside the model's"),
    ),
    _kind(
        "installer_error",
        "traceback",
        "What pip or uv complains of, in a pasted text.",
        tool=_s("pip or uv"),
        what=_s("no-release (none fits), conflict, python-version or build-failed"),
        package=_so("the distribution it speaks of"),
        requirement=_so("as it was asked for, such as misaki>=0.8.2"),
        message=_s("the line"),
    ),
    _kind(
        "release_defect",
        "release_defects",
        "A known defect of a release whose symptom is that of this failure, and which nothing known of it rules out.",
        defect=_s("its name in knowledge_base/releases.yaml"),
        package=_s("the distribution that has to change"),
        broken=_s("its releases that have the defect, as a range"),
        fixed_in=_so("the first release without it"),
        version=_so("the installed version, where known"),
        version_known=_b("what is known of the version places it in the range for certain"),
        family=_so("the family that it shows in; null for any"),
        family_known=_b("the model is known to be of such a family, or the defect is of any"),
        failure_class=_so("its failure class"),
        what=_s("what is wrong, one sentence"),
        remedy=_s("what gets past it, one sentence"),
        source=_s("where that is known from"),
        stage=_s("the stage it showed at"),
    ),
)

#: Every kind of fact by name.
VOCABULARY: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}

_PYTHON_TYPES: Mapping[FieldType, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
}

#: What a fact may hold as text; longer text is cut, since the engines hold facts in C memory.
MAX_TEXT = 2000


def check_fields(kind: str, fields: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """``fields`` completed to exactly the declared ones of ``kind``, text cut to :data:`MAX_TEXT`.

    Raises KeyError for an unknown kind or field and TypeError for a value of another type
    or a missing field that is not nullable: both are defects of a collector.
    """
    declared = VOCABULARY[kind].fields
    unknown = fields.keys() - declared.keys()
    if unknown:
        raise KeyError(f"fact kind {kind!r} has no field {sorted(unknown)[0]!r}")
    checked: dict[str, Scalar] = {}
    for name, field in declared.items():
        value = fields.get(name)
        if value is None:
            if not field.nullable:
                raise TypeError(f"{kind}.{name} must be given")
        elif not isinstance(value, _PYTHON_TYPES[field.type]) or (isinstance(value, bool) and field.type != "bool"):
            raise TypeError(f"{kind}.{name} must be {field.type}, not {type(value).__name__}")
        elif isinstance(value, str) and len(value) > MAX_TEXT:
            value = value[:MAX_TEXT]
        checked[name] = value
    return checked
