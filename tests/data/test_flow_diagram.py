from __future__ import annotations

from xml.etree import ElementTree

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.data.data_facts import FLOW
from xray_hpc.data.flow_diagram import flow_diagram


def flow_of(name: str, splits: tuple[str, ...] = ("train", "validation", "test")) -> pd.DataFrame:
    stages = [("found", ""), ("unreadable", ""), ("not drawn", "")]
    stages += [("used", split) for split in splits]
    rows = [
        (stage, split, label, 1000 + i, 500 + i)
        for i, (stage, split) in enumerate(stages)
        for label in ("", name)
    ]
    return pd.DataFrame(rows, columns=list(FLOW))


def texts(svg: str) -> list[str]:
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return [element.text or "" for element in found]


def test_flow_diagram_has_the_numbers_of_each_stage() -> None:
    assert texts(flow_diagram(flow_of("ill"))) == [
        *("Images found", "1,000 images, 500 patients", "ill: 1,000"),
        *("Unreadable", "1,001 images, 501 patients"),
        *("Not drawn", "1,002 images, 502 patients"),
        *("Train", "1,003 images, 503 patients", "ill: 1,003"),
        *("Validation", "1,004 images, 504 patients", "ill: 1,004"),
        *("Test", "1,005 images, 505 patients", "ill: 1,005"),
    ]


@given(st.text(min_size=1))
def test_flow_diagram_is_xml_for_any_class_name(name: str) -> None:
    assert len(texts(flow_diagram(flow_of(name)))) == 16
