from __future__ import annotations

import pytest

from xray_hpc.count_text import format_bytes, format_count


@pytest.mark.parametrize(("count", "text"), [(2048, "2 KiB"), (881 * 2**20, "881 MiB")])
def test_format_bytes_units(count: int, text: str) -> None:
    assert format_bytes(count) == text


def test_format_count_plural() -> None:
    assert format_count(1, "file") == "1 file"
    assert format_count(5856, "file") == "5,856 files"
    assert format_count(2, "class", "classes") == "2 classes"
