"""Values of text keys that look like numbers, on the command line and in YAML files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from tests.config.test_hydra_app import command
from xray_hpc.config.override_text import quote_text
from xray_hpc.config.yaml_files import parse_yaml, read_yaml, to_yaml
from xray_hpc.errors import ConfigError

LOOKALIKES = ["2024_01_15", "1e3", "007", "on", "no", "true", "0x10", "012", "1.0", "-5", "nan"]


def values(word: str) -> list[Any]:
    """Return the values of an override, or of each element of its sweep, as Hydra reads them."""
    (override,) = OverridesParser.create().parse_overrides(quote_text([word]))
    if not override.is_sweep_override():
        return [override.value()]
    keys = [f"{override.key_or_group}={text}" for text in override.sweep_string_iterator()]
    return [one.value() for one in OverridesParser.create().parse_overrides(quote_text(keys))]


@pytest.mark.parametrize("text", LOOKALIKES)
@pytest.mark.parametrize("key", ["name", "results", "cluster.account", "model.weights", "cluster"])
def test_override_of_a_text_key_keeps_its_text(key: str, text: str) -> None:
    assert values(f"{key}={text}") == [text]
    assert values(f"++{key}={text}") == [text]
    several = [f"{text},a,{text}"] if key == "cluster.account" else [text, "a", text]
    assert values(f"{key}={text},a,{text}") == several


@given(st.from_regex(r"[+-]?[0-9a-f][0-9_]{0,4}(\.[0-9]{0,3})?(e[0-9]{1,3})?", fullmatch=True))
def test_override_of_a_text_key_keeps_any_number_as_typed(text: str) -> None:
    assert values(f"cluster.partition={text}") == [text]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("name='a b'", ["a b"]),
        ('name="1e3"', ["1e3"]),
        ("name=null", [None]),
        ("name=2024_${seed}", ["2024_${seed}"]),
        ("name=", [""]),
        ("results=~/x", ["~/x"]),
        ("name=Röntgen", ["Röntgen"]),
        ("+cluster.container=run --bind=~/a #1", ["run --bind=~/a #1"]),
        ("cluster.time=12:00:00", ["12:00:00"]),
        ("cluster.time=1e3", ["1e3"]),
        ("cluster.setup=[1e3,'x y',007]", [["1e3", "x y", "007"]]),
        ("cluster.extra={account: 1e3, exclusive: true}", [{"account": "1e3", "exclusive": True}]),
        ("+cluster.extra.account=1_0", ["1_0"]),
        ("cluster.cpu_job={partition: 1_0, cpus: 1_0}", [{"partition": "1_0", "cpus": 10}]),
        ("cluster.partition=a,b", ["a,b"]),
        ("++cluster.cpu_job.partition=012,1e3", ["012,1e3"]),
        ("+cluster.extra.exclude=n1,n2", ["n1,n2"]),
        ("cluster.partition=[a,012]", [["a", "012"]]),
        ("cluster.cpus=1,2", [1, 2]),
        ("data.root=a,b", ["a", "b"]),
        ("model.backbones={densenet169: 1e3, x: null}", [{"densenet169": "1e3", "x": None}]),
        ("model.weights=choice(1e3,2_0)", ["1e3", "2_0"]),
        ("train.features=false", ["false"]),
        ("seed=1_000", [1000]),
        ("augment.views=2,auto", [2, "auto"]),
        ("seed=range(1,3)", [1, 2]),
        ("train.learning_rate=1e-3,1e-4", [1e-3, 1e-4]),
    ],
)
def test_override_is_read_by_the_type_of_its_key(word: str, expected: list[Any]) -> None:
    assert values(word) == expected


def test_invalid_override_is_left_for_hydra_to_report() -> None:
    assert quote_text(["name=[1e3", "data.root"]) == ["name=[1e3", "data.root"]


def test_override_that_is_not_utf8_is_refused() -> None:
    name = os.fsdecode(b"/scans/\xff")
    with pytest.raises(ConfigError, match=r"'data.root=/scans/\\udcff' is not UTF-8"):
        quote_text([f"data.root={name}"])
    assert quote_text(["name=Röntgen"]) == ["name='Röntgen'"]


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ("{a: ", "}"), ("choice(", ")")])
def test_brackets_deeper_than_the_parser_can_read_are_refused(start: str, end: str) -> None:
    quote_text([f"seed={start * 20}1{end * 20}"])
    with pytest.raises(ConfigError, match=r"^seed .* 300 .* 20$"):
        quote_text([f"seed={start * 300}1{end * 300}"])


def test_number_with_more_digits_than_python_reads_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^seed .* 1000 "):
        quote_text([f"seed={'9' * 5000}"])


@pytest.mark.parametrize("text", [*LOOKALIKES, "12:00:00", "12:30", "1_000", "0o17", "2024-01-15"])
def test_yaml_value_of_a_text_key_keeps_its_text(text: str) -> None:
    assert parse_yaml(f"partition: {text}", "cluster") == {"partition": text}
    assert (
        parse_yaml(f"cluster:\n  cpu_job: {{time: {text}}}")["cluster"]["cpu_job"]["time"] == text
    )
    assert parse_yaml(f"cluster: {{setup: [{text}]}}") == {"cluster": {"setup": [text]}}
    sweep = parse_yaml(f"hydra: {{sweeper: {{params: {{data.root: {text}}}}}}}")
    assert sweep["hydra"]["sweeper"]["params"] == {"data.root": text}


def test_parameters_of_a_sweep_file_are_overrides() -> None:
    sweep = parse_yaml("{seed: 1, train.reduce_lr: null}", "hydra.sweeper.params")
    assert sweep == {"seed": "1", "train.reduce_lr": "null"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000),
        ("-3", -3),
        ("1e-5", 1e-5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        # Not numbers on the command line either.
        ("012", "012"),
        ("12:30", "12:30"),
        ("0x10", "0x10"),
        ("on", "on"),
        ("no", "no"),
    ],
)
def test_yaml_value_of_another_key_is_read_as_on_the_command_line(text: str, value: Any) -> None:
    assert parse_yaml(f"seed: {text}") == {"seed": value}
    if text not in ("~", ""):
        assert values(f"seed={text}") == [value]


@given(st.dictionaries(st.sampled_from(["seed", "name", "other"]), st.one_of(
    st.sampled_from([*LOOKALIKES, "12:00:00", "a: b", "#", ""]), st.integers(), st.booleans(),
    st.floats(allow_nan=False),
)))  # fmt: skip
def test_written_yaml_reads_as_it_was(content: dict[str, Any]) -> None:
    content["name"] = str(content.get("name"))  # a text key
    assert parse_yaml(to_yaml(content)) == content


def test_duplicate_key_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="'a' is given twice"):
        parse_yaml("{a: 1, b: 2, a: 3}")


def test_merged_mapping_may_replace_a_key() -> None:
    text = """
        a: &a {k: 1, z: 3}
        x: {b: &b {<<: *a, k: 2}}
        c: {<<: *b}
    """
    assert parse_yaml(text)["x"] == {"b": {"k": 2, "z": 3}}


def test_key_that_is_a_list_is_refused() -> None:
    with pytest.raises(yaml.MarkedYAMLError, match="unhashable"):
        parse_yaml("{[a]: 1}")


def test_alias_that_contains_itself_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="contains itself"):
        parse_yaml("a: &x {b: *x}")


def test_site_file_is_read_without_base_60(tmp_path: Path) -> None:
    site = tmp_path / "site" / "cluster"
    site.mkdir(parents=True)
    (site / "mine.yaml").write_text(
        "kind: none\ntime: 12:00:00\npartition: 012\naccount: on\nsetup: [1e3]\n"
    )
    words = ["name=2024_01_15", "--config-dir", "site", "cluster=mine", "data.demo_images=40"]
    done = command("launch", *words, "model=cnn", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    written = read_yaml(tmp_path / "results" / "2024_01_15" / "sweep.yaml")
    assert written["command"] == [*words, "model=cnn"]
    cluster = {key: written["cluster"][key] for key in ("time", "partition", "account", "setup")}
    expected = {"time": "12:00:00", "partition": "012", "account": "on", "setup": ["1e3"]}
    assert cluster == expected
