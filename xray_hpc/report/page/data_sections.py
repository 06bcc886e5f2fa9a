"""The sections on the images: worst misses, shift, subgroups, the data card."""

from __future__ import annotations

from xray_hpc.report.page.blocks import Block, Charts, Gallery, Html, Paragraph, Section, TableBlock
from xray_hpc.report.page.content import PageContent, ShownRuns
from xray_hpc.report.page.interval_charts import subgroup_chart
from xray_hpc.report.page.result_sections import data_sets_with_charts
from xray_hpc.report.page.table import Cell, Table, interval_cell, number_cell

MAX_MISSES = 20  # of a split
MISSES = (
    "Images that the runs misclassify at the fixed threshold, those that most runs miss first. "
    "What all runs miss is often mislabelled."
)
PICTURES = (
    "The worst misses of {label}: each image beside its Grad-CAM, the evidence for the predicted "
    "class."
)
SHIFT = (
    "Properties of the images by split. Where the test images differ from the training and "
    "validation images, validation results do not carry over to them."
)


def misses_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return the images that most runs miss, and the gallery of the worst misses."""
    table = content.comparison.misses
    blocks: list[Block] = []
    for number, (data, _, _, heading) in enumerate(data_sets_with_charts(content, runs), 1):
        if table.empty:
            continue
        found = table[table["data"] == data]
        found = found.groupby("split", sort=False).head(MAX_MISSES)
        if found.empty:
            continue
        rows = [
            [
                Cell(str(row["split"])),
                Cell(str(row["file"])),
                Cell(str(row["patient"])),
                Cell(str(row["class"])),
                Cell(
                    f"{row['missed_by']:,.0f} of {row['runs']:,.0f}", order=float(row["missed_by"])
                ),
                number_cell(row["mean_score"]),
            ]
            for row in found.to_dict("records")
        ]
        heads = ["split", "file", "patient", "class", "missed by", "mean score"]
        name = f"misses-table-{number}"
        blocks += [*heading, TableBlock(Table(name, heads, rows, interactive=True))]
    intro: list[Block] = [Paragraph(MISSES)] if blocks else []
    for winner in content.comparison.winners:
        if pictures := content.pictures.get(winner.run):
            blocks += [Paragraph(PICTURES.format(label=winner.label)), Gallery(pictures)]
    return Section("misses", "Worst misses", [*intro, *blocks, *_insert(content, "misses")])


def shift_section(content: PageContent) -> Section:
    """Return properties of the images by split."""
    table = content.comparison.shift
    blocks: list[Block] = []
    if not table.empty:
        several = table["data"].nunique() > 1
        splits = list(dict.fromkeys(table["split"]))
        keys = [*(["data"] if several else []), "quantity", "class"]
        rows = []
        for key, values in table.groupby(keys, sort=False, dropna=False):
            by_split = dict(zip(values["split"], values["value"], strict=True))
            names = [str(part) if part == part and part != "" else "all" for part in key]
            cells = (number_cell(by_split.get(split)) for split in splits)
            rows.append([*map(Cell, names), *cells])
        blocks = [Paragraph(SHIFT), TableBlock(Table("shift-table", [*keys, *splits], rows))]
    return Section("shift", "Shift between the splits", [*blocks, *_insert(content, "shift")])


def subgroups_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return the winner's metrics on subgroups of the test images."""
    table = content.comparison.subgroups
    blocks: list[Block] = []
    for winner, (data, _, suffix, heading) in zip(
        content.comparison.winners, data_sets_with_charts(content, runs), strict=False
    ):
        if table.empty:
            continue
        found = table[(table["data"] == data) & (table["run"] == winner.run)]
        if found.empty:
            continue
        rows = [
            [
                Cell(str(row["split"])),
                Cell(str(row["column"])),
                Cell(str(row["subgroup"])),
                Cell(str(row["metric"]).replace("_", " ")),
                interval_cell(row["value"], row["low"], row["high"]),
                number_cell(row["images"], 0),
                number_cell(row["patients"], 0),
            ]
            for row in found.to_dict("records")
        ]
        heads = ["split", "column", "subgroup", "metric", "value", "images", "patients"]
        chart = subgroup_chart(content, data, winner.run, suffix)
        charts: list[Block] = [Charts([chart])] if chart else []
        name = f"subgroups-table{suffix}"
        text = Paragraph(f"The winner, {winner.label}.")
        blocks += [*heading, text, *charts, TableBlock(Table(name, heads, rows))]
    blocks += _insert(content, "subgroups")
    return Section("subgroups", "Subgroups", blocks)


def data_section(content: PageContent) -> Section:
    """Return the data card and the flow diagram, which another module renders."""
    return Section("data", "Data", _insert(content, "data"))


def _insert(content: PageContent, section: str) -> list[Block]:
    html = content.inserts.get(section)
    return [Html(html)] if html else []
