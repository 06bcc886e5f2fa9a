from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.report_settings import SELECTION_RULES
from xray_hpc.report.selection import RULE_TITLES, rank_by_setting

SETTINGS = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}


@pytest.mark.parametrize(
    ("rule", "order"),
    [("val_loss", ["a1", "a2", "b1", "c1"]), ("val_auc", ["b1", "a2", "a1", "c1"])],
)
def test_lowest_loss_and_highest_auc_are_first_and_undefined_values_last(
    rule: str, order: list[str]
) -> None:
    values = {"b1": 0.4, "a2": 0.3, "c1": math.nan, "a1": 0.1}
    assert rank_by_setting(values, SETTINGS, rule) == order


def test_equal_values_are_ordered_by_name() -> None:
    settings = {name: name for name in "cab"}
    assert rank_by_setting(dict.fromkeys("cab", 0.5), settings, "val_loss") == ["a", "b", "c"]


@given(st.dictionaries(st.sampled_from(sorted(SETTINGS)), st.floats(0, 1), min_size=1))
def test_runs_of_a_setting_are_adjacent(values: dict[str, float]) -> None:
    settings = [SETTINGS[name] for name in rank_by_setting(values, SETTINGS, "val_loss")]
    changes = sum(first != second for first, second in itertools.pairwise(settings))
    assert changes == len(set(settings)) - 1


def test_every_rule_has_a_title() -> None:
    assert set(RULE_TITLES) == set(SELECTION_RULES)
