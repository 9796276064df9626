"""What the user names: directories by their path, repositories by their snapshot in the hub cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_diagnose.collectors.target import cache_directory, cached_snapshot, locate, offline_by_user

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cache(root: Path, repo: str = "org/name", *, config: bool = True) -> dict[str, str]:
    folder = root / "hub" / ("models--" + repo.replace("/", "--"))
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT + "\n")
    if config:
        (snapshot / "config.json").write_text("{}")
    return {"HF_HOME": str(root)}


def test_a_directory_keeps_the_name_of_its_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "kokoro-link").symlink_to(tmp_path / "real")
    located = locate(str(tmp_path / "kokoro-link" / ""))
    assert (located.source, located.state, located.name) == ("directory", "present", "kokoro-link")
    assert located.load == str(tmp_path / "kokoro-link")


def test_a_directory_that_looks_like_an_id_is_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate("org/name").source == "directory"


def test_a_cached_repository_is_its_snapshot(tmp_path: Path) -> None:
    located = locate("org/name", environ=cache(tmp_path))
    assert located.source == "hub"
    assert located.state == "present"
    assert located.directory is not None
    assert located.directory.name == COMMIT
    assert (located.load, located.name) == ("org/name", "name")


def test_a_snapshot_without_a_config_is_incomplete(tmp_path: Path) -> None:
    assert locate("org/name", environ=cache(tmp_path, config=False)).state == "incomplete"


def test_a_revision_is_a_ref_or_a_commit(tmp_path: Path) -> None:
    environ = cache(tmp_path)
    assert cached_snapshot("org/name", COMMIT, environ) is not None
    assert cached_snapshot("org/name", "v2", environ) is None
    assert cached_snapshot("org/name", "../../..", environ) is None


def test_a_ref_that_points_outside_is_not_followed(tmp_path: Path) -> None:
    environ = cache(tmp_path)
    (tmp_path / "hub" / "models--org--name" / "refs" / "main").write_text("../../../../etc")
    assert cached_snapshot("org/name", None, environ) is None


def test_what_is_not_cached_has_no_directory(tmp_path: Path) -> None:
    located = locate("org/name", environ={"HF_HOME": str(tmp_path)})
    assert (located.state, located.directory) == ("uncached", None)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_is_found_as_the_client_finds_it(environ: dict[str, str], expected: str) -> None:
    assert str(cache_directory(environ)) == expected


def test_offline_is_the_users_word() -> None:
    assert offline_by_user({"HF_HUB_OFFLINE": "yes"})
    assert offline_by_user({"TRANSFORMERS_OFFLINE": "1"})
    assert not offline_by_user({"HF_HUB_OFFLINE": "0"})
