from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_diagnose.engine.cli._target import check_model
from mlx_diagnose.engine.model import ExitCode, UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("kokoro-mine", "org/name", "models/deep/kokoro", "home/voices"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    (tmp_path / "huggingface" / "hub" / "models--hub--my-own-voice-1").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    "model",
    [
        "kokoro-mine",
        "./kokoro-mine",
        "./kokoro-mine/",
        "models/deep/kokoro",
        "~/voices",
        "../" * 20,
        "/",
        "org/name",
        "mlx-community/Kokoro-82M-bf16",
        "hexgrad/Kokoro_82M.v1",
        "a/b",
    ],
)
def test_what_can_be_a_model(model: str) -> None:
    check_model(model)


@pytest.mark.parametrize(
    ("model", "reference", "told"),
    [
        ("./kokoro-mien", "no-such-path", "Did you mean ./kokoro-mine?"),
        ("./KOKORO-MINE", "no-such-path", "Did you mean ./kokoro-mine?"),
        ("models/dep/kokoro", "no-such-path", "Did you mean models/deep/kokoro?"),
        ("models/deep/kokor/", "no-such-path", "Did you mean models/deep/kokoro/?"),
        ("~/voice", "no-such-path", "Did you mean ~/voices?"),
        (".hidden", "no-such-path", "org/name"),
        ("/no/such/thing", "no-such-path", "org/name"),
        ("/hmoe/x", "no-such-path", "/home/x"),
        ("kokoro-mien", "not-a-model", "Did you mean kokoro-mine?"),
        ("nonsense words!", "not-a-model", "mlx-community/Kokoro-82M-bf16"),
        ("kokoro", "not-a-model", "org/name"),
        ("hub/-name", "not-a-model", "Give a hub id"),
        ("hub/na--me", "not-a-model", "Give a hub id"),
        ("hub/" + "n" * 97, "not-a-model", "Give a hub id"),
        ("n" * 5000, "not-a-model", "Give a hub id"),
        ("", "not-a-model", "Give a hub id"),
        ("a\0b", "not-a-model", "Give a hub id"),
        ("dangling", "broken-link", "Mend the link"),
        ("https://huggingface.co/hub/name/tree/main", "url-as-model", "diagnose hub/name"),
        ("https://hf.co/hub/name/blob/v2/config.json", "url-as-model", "diagnose hub/name --revision v2"),
        ("https://mirror.example/hub/name", "url-as-model", "diagnose hub/name"),
        ("https://huggingface.co/hub/name.git", "url-as-model", "diagnose hub/name"),
        ("https://huggingface.co/datasets/hub/name", "url-as-model", "data sets and spaces are no models"),
        ("https://huggingface.co/", "url-as-model", "Give a hub id"),
        ("hf://hub/name", "url-as-model", "diagnose hub/name"),
        ("huggingface.co/hub/name", "url-as-model", "diagnose hub/name"),
        ("hf:hub/name", "url-as-model", "diagnose hub/name"),
        ("hub/name/tree/main", "url-as-model", "diagnose hub/name"),
        ("hub/name/blob/v2/config.json", "url-as-model", "diagnose hub/name --revision v2"),
        ("modles/hub/name", "no-such-path", "Did you mean models/hub/name?"),
        ("models/hub/name", "no-such-path", "Did you mean this? diagnose hub/name"),
        ("hub/name/", "no-such-path", "Did you mean this? diagnose hub/name"),
        ("/hub/name", "no-such-path", "Did you mean this? diagnose hub/name"),
        ("hub//name", "no-such-path", "Did you mean this? diagnose hub/name"),
        ("~/hub/models--hub--name/snapshots/" + "a" * 40, "no-such-path", "diagnose hub/name --revision " + "a" * 40),
        ("models--hub--name", "not-a-model", "Did you mean this? diagnose hub/name"),
        ("hub\\name", "not-a-model", "It looks like a Windows path. Did you mean this? diagnose hub/name"),
        ("hub/name@v2", "not-a-model", "diagnose hub/name --revision v2"),
        ("hub/name:v2", "not-a-model", "diagnose hub/name --revision v2"),
        ("hub/na me", "not-a-model", "an id with a space in it. Did you mean this? diagnose hub/name"),
        (" hub/name\n", "not-a-model", "diagnose hub/name"),
        ("'hub/name'", "not-a-model", "diagnose hub/name"),
        ("hub/name.git", "not-a-model", "diagnose hub/name"),
        ("Kokoro-82M-bf16", "not-a-model", "Did you mean mlx-community/Kokoro-82M-bf16?"),
        ("Kokoro-82M-bf61", "not-a-model", "Give a hub id"),
        ("my-own-voice-1", "not-a-model", "Did you mean hub/my-own-voice-1?"),
        ("my-own-vioce-1", "not-a-model", "Did you mean hub/my-own-voice-1?"),
    ],
)
def test_what_cannot(model: str, reference: str, told: str) -> None:
    if model.startswith("/hmoe") and not Path("/home").is_dir():
        pytest.skip("no /home here")
    with pytest.raises(UsageError) as caught:
        check_model(model)
    error = caught.value
    assert (error.reference, error.exit_code) == (reference, ExitCode.USAGE)
    assert told in f"{error.why} {error.next_step}"
    assert error.next_step


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_any_word_gets_an_answer(word: str) -> None:
    try:
        check_model(word)
    except UsageError as error:
        assert error.next_step
