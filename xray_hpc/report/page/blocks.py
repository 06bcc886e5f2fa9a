"""The parts of a section, which the template renders by their ``kind``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from xray_hpc.report.page.chart import Chart
from xray_hpc.report.page.content import ShownRuns
from xray_hpc.report.page.miss_pictures import MissPicture
from xray_hpc.report.page.table import Table


@dataclass(frozen=True)
class Heading:
    """A heading below that of the section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    kind: ClassVar[str] = "paragraph"
    text: str
    note: bool = False


@dataclass(frozen=True)
class Fact:
    """A number of the answer: its name, value, and interval or unit."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Answer:
    """The winner of a data set and how sure that is."""

    kind: ClassVar[str] = "answer"
    data: str
    label: str
    text: str
    facts: Sequence[Fact]


@dataclass(frozen=True)
class WarningItem:
    """A warning: its text, and the labels of the runs that it concerns."""

    text: str
    data: str = ""
    runs: str = ""


@dataclass(frozen=True)
class Warnings:
    """The warnings of the comparison."""

    kind: ClassVar[str] = "warnings"
    items: Sequence[WarningItem]


@dataclass(frozen=True)
class Items:
    """A list of sentences; text between backticks is code."""

    kind: ClassVar[str] = "items"
    items: Sequence[str]


@dataclass(frozen=True)
class Charts:
    """Charts side by side, as far as the page is wide."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Chooser:
    """Checkboxes that highlight runs in the charts."""

    kind: ClassVar[str] = "chooser"
    runs: ShownRuns


@dataclass(frozen=True)
class Gallery:
    """Pictures of misclassified images."""

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[MissPicture]


@dataclass(frozen=True)
class TableBlock:
    """A table."""

    kind: ClassVar[str] = "table"
    table: Table


@dataclass(frozen=True)
class Html:
    """HTML of another module; shown as it is."""

    kind: ClassVar[str] = "html"
    html: str


Block: TypeAlias = (
    Heading | Paragraph | Answer | Warnings | Items | Charts | Chooser | Gallery | TableBlock | Html
)


@dataclass(frozen=True)
class Section:
    """A section of the page, in its side navigation; without blocks it is left out."""

    id: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)

    def charts(self) -> list[Chart]:
        """Return the charts of the section."""
        found = (block.charts for block in self.blocks if isinstance(block, Charts))
        return [chart for charts in found for chart in charts]
