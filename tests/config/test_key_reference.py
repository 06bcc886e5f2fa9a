"""The descriptions of the configuration keys in the reference page."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator

import pytest

from xray_hpc.config.key_reference import attribute_texts, describe_keys
from xray_hpc.config.run_config import RunSettings
from xray_hpc.config.sweep_settings import SweepSettings

KEYS = {key.key: key for key in describe_keys()}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_description(key: str) -> None:
    assert KEYS[key].meaning.endswith(".")


def test_description_has_type_unit_default_and_choices() -> None:
    size, views = KEYS["data.image_size"], KEYS["augment.views"]
    assert (size.type, size.unit, size.default, size.choices) == ("integer", "px", 224, ())
    assert (views.type, views.default) == ("integer | name", "auto")
    assert views.choices == ("auto", "per_epoch")
    assert KEYS["train.early_stopping.patience"].default == 5
    assert KEYS["cluster.on_failure.storage"].default == "stop"


def test_attributes_sections_describe_exactly_the_fields() -> None:
    for kind in (RunSettings, SweepSettings):
        for section in sections(kind):
            assert set(attribute_texts(section)) == {f.name for f in dataclasses.fields(section)}


def sections(kind: type) -> Iterator[type]:
    """Yield a dataclass and those nested in it."""
    yield kind
    for hint in typing.get_type_hints(kind).values():
        for member in getattr(hint, "__args__", (hint,)):
            if dataclasses.is_dataclass(member):
                assert isinstance(member, type)
                yield from sections(member)
