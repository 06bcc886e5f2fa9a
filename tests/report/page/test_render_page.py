"""Tests of the page: self-contained, deterministic, small, and safe with untrusted text."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import pandas as pd
import pytest

from xray_hpc.printable import printable
from xray_hpc.report.comparison import ReportWarning
from xray_hpc.report.page.blocks import Section
from xray_hpc.report.page.content import PageContent
from xray_hpc.report.page.page_sections import page_sections
from xray_hpc.report.page.render_page import code_spans, content_policy, render_page

REQUESTING = {"src", "href", "data", "action", "poster", "srcset", "formaction", "background"}
ATTACKS = [
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% include 'page.js' %}<!--<script>",
    "datum.run + ${alert(1)} \\u003c ]]> \x1b[31m",
]


class Elements(HTMLParser):
    """The elements of a page: their names and attributes, and the texts of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw.append((self._inside, data))


def test_page_requests_nothing(page: str) -> None:
    elements = Elements(page)
    targets = [
        value
        for _, attributes in elements.found
        for name, value in attributes.items()
        if name in REQUESTING and value
    ]
    assert targets
    assert all(re.match(r"#|figures/[\w.]+$|\.\./runs/", value) for value in targets)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in elements.found}
    styles = " ".join(text for tag, text in elements.raw if tag == "style")
    assert not re.search(r"@import|url\((?!['\"]?data:)", styles)


def test_page_forbids_requests_and_other_scripts(page: str) -> None:
    policy = next(a["content"] for tag, a in Elements(page).found if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split(";")[1]
    scripts = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    assert policy == content_policy(scripts)


def test_page_is_the_same_for_the_same_content(content: PageContent, page: str) -> None:
    assert render_page(content.sweep, "21 runs.", page_sections(content)) == page


def test_page_has_a_heading_and_a_link_per_section(page: str, sections: Sequence[Section]) -> None:
    elements = Elements(page)
    links = [a["href"] for tag, a in elements.found if tag == "a" and "href" in a]
    assert links[1 : len(sections) + 1] == [f"#{section.id}" for section in sections]
    labelled = [a["aria-labelledby"] for tag, a in elements.found if tag == "section"]
    assert labelled == [f"{section.id}-title" for section in sections]


def test_page_describes_every_chart(page: str) -> None:
    specs = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert len(specs) > 10
    assert all(json.loads(spec)["description"] for spec in specs)


def attacked(content: PageContent, text: str) -> PageContent:
    """Return the content with ``text`` as every label, class, file, reason and config value."""
    comparison = content.comparison
    names = [*content.runs[0].classes]
    tables = {
        field.name: getattr(comparison, field.name).replace(dict.fromkeys(names, text))
        for field in dataclasses.fields(comparison)
        if hasattr(getattr(comparison, field.name), "replace") and field.name != "rule"
    }
    tables["ranking"] = comparison.ranking.assign(
        data=text, label=lambda table: [f"{text} {i}" for i in table["rank"]], model=text
    )
    for name in ("pairs", "importance", "misses", "subgroups", "shift"):
        tables[name] = tables[name].assign(data=text)
    tables["misses"] = tables["misses"].assign(file=text, patient=text)
    tables["subgroups"] = tables["subgroups"].assign(column=text, subgroup=text)
    winner = dataclasses.replace(comparison.winners[0], data=text, label=text, answer=text)
    warning = ReportWarning("any", text, text, [text])
    changed = dataclasses.replace(
        comparison, winners=[winner], warnings=[warning], rule=text, **tables
    )
    runs = [dataclasses.replace(run, name=text, error=text, model=text) for run in content.runs[:3]]
    runs += content.runs[3:]
    return dataclasses.replace(content, sweep=text, comparison=changed, runs=runs)


@pytest.mark.parametrize("text", ATTACKS)
def test_page_shows_untrusted_text_as_text(content: PageContent, text: str) -> None:
    changed = attacked(content, text)
    page = render_page(changed.sweep, text, page_sections(changed))
    elements = Elements(page)
    scripts = [a for tag, a in elements.found if tag == "script"]
    assert sum(a["type"] == "module" for a in scripts) == 3
    assert {a["type"] for a in scripts} == {"module", "application/json"}
    assert not any(name.startswith("on") for _, a in elements.found for name in a)
    assert not any(tag == "img" for tag, _ in elements.found)
    specs = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert not any(set("<>&'") & set(spec) for spec in specs)
    printed = printable(text)
    assert json.dumps(printed)[1:-1] in json.dumps([json.loads(spec) for spec in specs])
    shown = html.escape(printed, quote=True)
    assert shown.replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    assert "\x1b" not in page


def test_code_spans_escape_what_they_contain() -> None:
    assert code_spans("`<b>`, <i>") == "<code>&lt;b&gt;</code>, &lt;i&gt;"


def repeated(content: PageContent, times: int) -> PageContent:
    """Return the content with each run several times."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        if "run" not in table:
            return table
        copies = (table.assign(run=[f"{run}{i}" for run in table["run"]]) for i in range(times))
        return pd.concat(copies, ignore_index=True)

    comparison, tables = content.comparison, {}
    for field in dataclasses.fields(comparison):
        if isinstance(table := getattr(comparison, field.name), pd.DataFrame):
            tables[field.name] = rows(table)
    ranking = tables["ranking"]
    tables["ranking"] = ranking.assign(rank=range(1, len(ranking) + 1))
    winner = dataclasses.replace(comparison.winners[0], run=ranking["run"][0])
    return dataclasses.replace(
        content,
        comparison=dataclasses.replace(comparison, winners=[winner], **tables),
        runs=list(content.runs) * times,
        epochs=rows(content.epochs),
        roc=rows(content.roc),
    )


def test_page_of_many_runs_is_below_5_mb(content: PageContent) -> None:
    many = repeated(content, 6)
    assert len(many.comparison.ranking) > 100
    page = render_page(many.sweep, "", page_sections(many))
    assert len(page.encode()) < 5_000_000
