"""State in two sentences what won, by how much, and how sure that is."""

from __future__ import annotations

import math

import pandas as pd

from xray_hpc.count_text import format_count
from xray_hpc.report.pair_table import SIGNIFICANCE
from xray_hpc.report.selection import LOWEST_IS_BEST, RULE_TITLES


def answer_text(ranking: pd.DataFrame, pairs: pd.DataFrame, rule: str) -> str:
    """Return the answer for one data set.

    Args:
        ranking: its rows of the table ``ranking``, the winner first.
        pairs: its rows of the table ``pairs``.
        rule: the selection rule.
    """
    first = ranking.iloc[0]
    if math.isnan(first["selection"]):
        return f"No run can be chosen: the {RULE_TITLES[rule]} is undefined."
    return f"{_chosen(ranking, rule)} {_certainty(ranking, pairs)}"


def _chosen(ranking: pd.DataFrame, rule: str) -> str:
    first = ranking.iloc[0]
    test = f"its test AUC is {_interval(first, 'test_auc')}"
    test += f" and its test accuracy {_interval(first, 'test_accuracy')}"
    if len(ranking) == 1:
        return f"The only finished run is {first['label']}: {test}."
    extreme = "lowest" if rule in LOWEST_IS_BEST else "highest"
    same = ranking["setting"] == first["setting"]
    count = f"of {len(ranking):,} runs"
    if same.sum() > 1:
        count = f"of {format_count(ranking['setting'].nunique(), 'setting')}, averaged over seeds"
    reason = f"which has the {extreme} {RULE_TITLES[rule]} {count}"
    return f"The best run is {first['label']} ({first['run']}), {reason}; {test}."


def _certainty(ranking: pd.DataFrame, pairs: pd.DataFrame) -> str:
    areas = pairs[pairs["metric"] == "auc"]
    if areas.empty:
        return "Nothing on the same test images can be compared with it."
    different = areas["distinguishable"].astype(bool)
    worse = int((different & (areas["difference"] > 0)).sum())
    better = int((different & (areas["difference"] < 0)).sum())
    parts = []
    if worse:
        parts.append(f"is higher than that of {_of_others(worse, len(areas))}")
    if better:
        parts.append(f"is lower than that of {_of_others(better, len(areas))}")
    if tied := int((~different).sum()):
        parts.append(f"cannot be told apart from that of {_of_others(tied, len(areas))}")
    level = f"at the {SIGNIFICANCE:.0%} level, adjusted by Holm"
    text = f"On the test images its AUC {_joined(parts)} ({level})"
    known = areas.set_index("second")
    # The next best setting: another seed of the best one is no alternative to it.
    others = ranking.loc[ranking["setting"] != ranking["setting"].iloc[0], "run"]
    if (runner_up := next((name for name in others if name in known.index), None)) is not None:
        text += f"; {_margin(ranking, known.loc[runner_up], runner_up)}"
    return f"{text}."


def _of_others(count: int, others: int) -> str:
    if count == others:
        return "the other run" if others == 1 else f"all {others:,} other runs"
    return f"{count:,} of the {others:,} other runs"


def _joined(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _margin(ranking: pd.DataFrame, pair: pd.Series, name: str) -> str:
    label = ranking.loc[ranking["run"] == name, "label"].iloc[0]
    text = f"its difference from that of the next best, {label}, is {pair['difference']:+.3f}"
    if math.isnan(pair["low"]):
        return f"{text} (interval not estimable)"
    return f"{text} (95 % interval {pair['low']:+.3f} to {pair['high']:+.3f})"


def _interval(row: pd.Series, column: str) -> str:
    value, low, high = (row.get(f"{column}{end}", math.nan) for end in ("", "_low", "_high"))
    if math.isnan(value):
        return "undefined"
    if math.isnan(low):
        return f"{value:.3f} (interval not estimable)"
    return f"{value:.3f} (95 % interval {low:.3f} to {high:.3f})"
