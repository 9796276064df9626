"""SARIF, JUnit, Markdown and HTML: sound whatever the model's files say, and with everything that matters in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.report import formats, markdown
from mlx_diagnose.engine.report.view import View

Sample = Callable[[str], Report]
NAMES = ("loads", "fails", "warnings", "inconclusive", "static", "hostile")
#: What would be markup, a mention or a link, were it not escaped.
NASTY = "</pre><script>alert(1)</script> `` ``` ]]> &amp; @someone #12 [a](http://x.example) |x| ~~s~~ *b* <b>"


def nasty(report: Report) -> Report:
    findings = [
        replace(found, title=NASTY, cause=f"- {NASTY}", excerpt=f"config.json:3:1\n```\n{NASTY}", stage="load")
        for found in report.findings
    ]
    return replace(report, findings=findings, target=replace(report.target, model=NASTY, path=f"/models/{NASTY}"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format", ["sarif", "junit", "markdown", "html"])
def test_no_secret_and_nothing_invisible(format: str, name: str, sample: Sample) -> None:
    text = formats.render(format, sample(name), View())
    assert text.endswith("\n")
    assert "hf_AbCdEf" not in text
    assert not set(text) & set("\x00\x07\x1b\u200b\u202e\ud800")
    text.encode()


# -- SARIF: the parts that its schema requires, and what code scanning reads ----------------------------


def sarif(report: Report) -> dict[str, Any]:
    document = json.loads(formats.render("sarif", report, View()))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"[\w.~:/@!$&'()*+,;=%?#\-]+", uri)
        assert all(number >= 1 for number in location["physicalLocation"].get("region", {"line": 1}).values())
        assert 0 <= result["rank"] <= 100
    return dict(run)


@pytest.mark.parametrize("name", NAMES)
def test_sarif_is_sound(name: str, sample: Sample) -> None:
    run = sarif(sample(name))
    roots = [found for found in sample(name).findings if found.root]
    assert [result["ruleId"] for result in run["results"]] == [found.rule for found in roots]
    sarif(nasty(sample(name)))


def test_sarif_places_a_finding_in_the_models_files(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    result = sarif(sample("fails"))["results"][0]
    place = result["locations"][0]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "file:///models/kokoro-mine/config.json"},
        "region": {"startLine": 12, "startColumn": 3},
    }
    assert place["logicalLocations"][0] == {"fullyQualifiedName": "hidden_size", "kind": "member"}
    assert len(result["properties"]["explains"]) == 3
    assert "Rename hidden_sizes" in result["message"]["text"]
    monkeypatch.chdir(tmp_path)
    below = replace(sample("fails"), target=replace(sample("fails").target, path=str(tmp_path / "my model")))
    assert "my%20model/config.json" in json.dumps(sarif(below)["results"][0]["locations"])
    assert str(tmp_path) not in json.dumps(sarif(below)["results"][0]["locations"])


def test_sarif_knows_a_finding_again(sample: Sample) -> None:
    first, second = (sarif(sample("fails"))["results"] for _ in range(2))
    prints = [result["partialFingerprints"]["diagnose/v1"] for result in first]
    assert prints == [result["partialFingerprints"]["diagnose/v1"] for result in second]
    assert len(set(prints)) == len(prints)


# -- JUnit -----------------------------------------------------------------------------------------------


def junit(report: Report) -> ElementTree.Element:
    document = ElementTree.fromstring(formats.render("junit", report, View()))
    (suite,) = document
    cases = suite.findall("testcase")
    for element in (document, suite):
        assert int(element.attrib["tests"]) == len(cases)
        assert int(element.attrib["failures"]) == len(suite.findall("testcase/failure"))
        assert int(element.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
    return suite


@pytest.mark.parametrize("name", NAMES)
def test_junit_has_a_case_a_stage_and_a_failure_a_root_error(name: str, sample: Sample) -> None:
    for report in (sample(name), nasty(sample(name))):
        suite = junit(report)
        cases = [case.attrib["name"] for case in suite.findall("testcase")]
        assert set(cases) >= {stage.name for stage in report.stages}
        assert len(cases) == len(set(cases))
        errors = [found for found in report.findings if found.root and found.severity == "error"]
        assert len(suite.findall("testcase/failure")) == len(errors)


def test_junit_tells_the_cause_the_fix_and_the_warnings(sample: Sample) -> None:
    suite = junit(sample("fails"))
    failure = suite.find("testcase[@name='construct']/failure")
    assert failure is not None
    assert failure.attrib["type"] == "config/renamed-key"
    assert "Rename hidden_sizes" in str(failure.text)
    assert suite.find("testcase[@name='resolve']/failure") is None
    skipped = suite.find("testcase[@name='load']/skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "not reached"
    assert "mlx-lm" in str(suite.findtext("system-out"))


# -- Markdown ----------------------------------------------------------------------------------------------


@given(st.text())
def test_foreign_text_is_no_markup_mention_or_link(text: str) -> None:
    shown = markdown._text(f"{text}{NASTY}")
    assert not re.search(r"(?<!\\)[`*_\[\]|~$<>](?!!--)", re.sub(r"<!-- -->", "", shown))
    assert not re.search(r"[@](?=\w)|(?<!&)#(?=\d)|://(?=\w)", shown)


@given(st.text(alphabet="`ab| \n"), st.lists(st.text(alphabet="`ab")))
def test_nothing_ends_a_code_span_or_block_early(text: str, content: list[str]) -> None:
    span = markdown._code(text)
    fence = re.match(r"`+", span)
    assert fence is not None
    inside = span[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in re.findall(r"`+", inside)
    first, *middle, last = markdown._block("text", content)
    assert first == f"{last}text"
    assert all(last not in line for line in middle)


def test_markdown_shows_cause_fix_and_what_folds_under_it(sample: Sample) -> None:
    text = formats.render("markdown", sample("fails"), View())
    assert text.startswith("### ❌ `./kokoro-mine` does not load")
    for part in ("`config/renamed-key`", '- "hidden_sizes"', '+ "hidden_size": 512', "<summary>Explains 3", "```sh"):
        assert part in text
    assert "**Not examined**" in formats.render("markdown", sample("inconclusive"), View())


def test_markdown_fits_into_a_comment(sample: Sample) -> None:
    many = [replace(sample("fails").findings[0], cause="long " * 900, explains=()) for _ in range(200)]
    text = formats.render("markdown", replace(sample("fails"), findings=many), View())
    assert len(text) < 65_536
    assert re.search(r"\d+ more findings did not fit here", text)


# -- HTML ----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that elements nest, and remembers them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_sound_and_loads_nothing(name: str, sample: Sample) -> None:
    for report in (sample(name), nasty(sample(name))):
        page = Page(formats.render("html", report, View(verbose=True)))
        tags = [tag for tag, _ in page.seen]
        assert tags.count("h1") == tags.count("main") == 1
        assert not {"script", "img", "link", "iframe", "a", "b"} & set(tags)
        ids = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert all(attributes.get("aria-labelledby", "") in ["", *ids] for _, attributes in page.seen)
        assert not [name for _, attributes in page.seen for name in attributes if name.startswith("on")]
        assert ("html", {"lang": "en"}) in page.seen
        policy = [attributes["content"] for tag, attributes in page.seen if "http-equiv" in attributes]
        assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_a_page_says_what_the_text_says(sample: Sample) -> None:
    words = " ".join(Page(formats.render("html", sample("fails"), View())).words)
    for part in ("does not load", "A config key is given under another name", "Rename hidden_sizes", "f3", "Traceback"):
        assert part in words
    assert NASTY.split()[0] in " ".join(Page(formats.render("html", nasty(sample("fails")), View())).words)


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_can_be_read_by_day_and_by_night(sample: Sample) -> None:
    text = formats.render("html", sample("loads"), View())
    palettes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", text, re.S)]
    assert len(palettes) == 2
    for palette in palettes:
        for ink in ("ink", "quiet", "error", "warning", "info", "good"):
            for ground in ("page", "card"):
                light, dark = sorted((luminance(palette[ink]), luminance(palette[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
