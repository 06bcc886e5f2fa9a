from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.run_config import DataConfig
from xray_hpc.config.sweep_settings import derive_sweep_name
from xray_hpc.data import index
from xray_hpc.data.index import Index
from xray_hpc.errors import UserError
from xray_hpc.launching.plan import make_plan
from xray_hpc.models.weights_files import HDF5_SIGNATURE

CNN = "model.name=cnn"


def plant(root: Path, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """Make 20 files a class in every split, which are not even images."""
    for split in splits:
        for label in ("NORMAL", "PNEUMONIA"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(20):
                (folder / f"{label}-{number}.png").write_bytes(b"x" * number)
    return root


def test_each_distinct_combination_is_a_run(composer: Any) -> None:
    plan = composer.plan(["model.unfreeze=2"], ["model.unfreeze=4"])
    assert [run.config.model.unfreeze for run in plan.runs] == [2, 4]
    assert plan.notes == ()


def test_an_axis_that_does_not_apply_collapses_and_is_said_so(composer: Any) -> None:
    plan = composer.plan([CNN, "model.unfreeze=2"], [CNN, "model.unfreeze=4"], [])
    assert [run.config.model.name for run in plan.runs] == ["cnn", "ft"]
    assert plan.notes == ("model.unfreeze does not apply to cnn: 2 combinations make 1 run",)


def test_a_key_that_does_not_apply_to_a_single_run_is_said_so(composer: Any) -> None:
    plan = composer.plan([CNN, "model.unfreeze=2"])
    assert plan.notes == ("model.unfreeze does not apply to cnn; ignored",)


def test_a_part_of_a_key_that_does_not_apply_is_said_so(composer: Any) -> None:
    values = composer.values(CNN)
    values["model"]["backbones"] = {"demo": "none"}
    plan = make_plan([(["model.backbones.demo=none"], values)], default_name="sweep")
    assert plan.notes == ("model.backbones.demo does not apply to cnn; ignored",)


def test_what_is_kept_of_a_feature_extractor_does_not_apply_where_there_is_none(
    composer: Any,
) -> None:
    plan = composer.plan([CNN, "train.features=float32"], ["train.features=float32"])
    assert [run.config.train.features for run in plan.runs] == ["off", "float32"]
    assert plan.notes == ("train.features does not apply to cnn; ignored",)


def test_how_to_fill_is_no_other_run_where_nothing_comes_in(composer: Any) -> None:
    words = ["augment.zoom=0", "augment.height_shift=0", "augment.width_shift=0"]
    still = [[*words, f"augment.fill_mode={mode}"] for mode in ("reflect", "nearest")]
    moving = [[f"augment.fill_mode={mode}"] for mode in ("reflect", "nearest")]
    assert len(composer.plan(*still).runs) == 1
    assert len(composer.plan(*moving).runs) == 2


def test_the_same_value_twice_is_one_run(composer: Any) -> None:
    plan = composer.plan(["seed=1"], ["seed=1"], ["seed=2"])
    assert len(plan.runs) == 2
    assert plan.notes == ("3 combinations make 2 runs of ft; the others are duplicates",)


def test_a_run_keeps_its_name_wherever_it_runs_and_its_files_are(
    composer: Any, tmp_path: Path
) -> None:
    (here,) = composer.plan([]).runs
    words = [f"results={tmp_path}/elsewhere", f"cache={tmp_path}/scratch", "name=other"]
    (there,) = composer.plan(words).runs
    assert here.name == there.name


@pytest.mark.parametrize(
    "word",
    [
        "seed=43",
        "train.learning_rate=0.002",
        "train.epochs=2",
        "augment.zoom=0.2",
        "model.unfreeze=5",
        "data.demo_seed=1",
        "data.split_seed=1",
        "data.demo_classes=3",
        "data.per_class=10",
        "data.clahe=2.0",
        "model.output=softmax",
    ],
)
def test_whatever_changes_the_result_changes_the_name(composer: Any, word: str) -> None:
    (before,), (after,) = composer.plan([]).runs, composer.plan([word]).runs
    assert before.name != after.name


STILL = ["augment.zoom=0", "augment.height_shift=0", "augment.width_shift=0"]


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ([], ["augment.crop=true"]),
        ([], ["model.output=sigmoid"]),
        (STILL, [*STILL, "augment.fill_mode=wrap"]),
        (["data.split=random"], ["data.split=random", "augment.crop=true"]),
    ],
)
def test_what_changes_nothing_makes_no_run_of_its_own(
    composer: Any, words: list[str], others: list[str]
) -> None:
    assert len(composer.plan(words, others).runs) == 1


def test_a_random_crop_counts_where_the_images_are_cut(composer: Any) -> None:
    cut = ["data.image_size=40", "data.crop=0.8"]
    assert len(composer.plan(cut, [*cut, "augment.crop=true"]).runs) == 2


def test_keys_of_the_demo_do_not_count_for_other_images(composer: Any, tmp_path: Path) -> None:
    words = ["data.source=folder", f"data.root={plant(tmp_path / 'set')}"]
    (one,) = composer.plan(words).runs
    (other,) = composer.plan([*words, "data.demo_classes=3", "data.demo_seed=5"]).runs
    assert one.name == other.name


def test_the_seed_of_a_split_by_folder_counts_only_where_it_draws_a_subset(
    composer: Any, tmp_path: Path
) -> None:
    root = plant(tmp_path / "set", ("train", "val", "test"))
    words = ["data.source=folder", f"data.root={root}", "data.split=folder"]
    assert len(composer.plan(words, [*words, "data.split_seed=1"]).runs) == 1
    words.append("data.per_class=10")
    assert len(composer.plan(words, [*words, "data.split_seed=1"]).runs) == 2


def test_a_set_is_read_once_a_plan(
    composer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = []

    def build_index(config: DataConfig, cache: Path) -> Index:
        scanned.append(config.root)
        return read(config, cache)

    read = index.build_index
    monkeypatch.setattr(index, "build_index", build_index)
    words = ["data.source=folder", f"data.root={plant(tmp_path / 'set')}"]
    sizes = [[*words, f"data.per_class={n}"] for n in (8, 10, 12)]
    assert len(composer.plan(words, *sizes).runs) == 4
    assert len(scanned) == 1


def test_a_batch_must_fit_into_the_subset_that_is_drawn(composer: Any) -> None:
    words = ["data.per_class=10", "train.batch_size=21"]
    with pytest.raises(UserError, match="batch_size is 21, but there are only 20 images to train"):
        composer.plan(words)


def test_three_classes_make_softmax_of_them(composer: Any) -> None:
    (run,) = composer.plan(["data.demo_classes=3"]).runs
    assert run.config.model.output == "softmax"
    with pytest.raises(UserError, match=r"model\.output is sigmoid"):
        composer.plan(["data.demo_classes=3", "model.output=sigmoid"])


def test_moving_the_images_does_not_change_the_name(composer: Any, tmp_path: Path) -> None:
    names = set()
    for folder in ("a", "b"):
        plant(tmp_path / folder)
        words = ["data.source=folder", f"data.root={tmp_path}/{folder}"]
        names.add(composer.plan(words).runs[0].name)
    assert len(names) == 1


def test_weights_are_named_by_their_content(composer: Any, tmp_path: Path) -> None:
    names = []
    for file, content in (("a.h5", b"1"), ("b.h5", b"1"), ("c.h5", b"2")):
        (tmp_path / file).write_bytes(HDF5_SIGNATURE + content)
        names.append(composer.plan([f"model.weights={tmp_path}/{file}"]).runs[0].name)
    assert names[0] == names[1] != names[2]


def test_where_runs_run_cannot_be_swept(composer: Any) -> None:
    with pytest.raises(UserError, match="cannot be swept"):
        composer.plan(["name=a"], ["name=b"])


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a\nb"])
def test_a_name_that_is_no_folder_is_refused(composer: Any, name: str) -> None:
    with pytest.raises(UserError, match="it must be the name of a folder"):
        composer.plan([f"name={name}"])


def test_an_empty_sweep_is_refused(composer: Any) -> None:
    with pytest.raises(UserError, match="empty"):
        composer.plan()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.learning_rate=0", r"train\.learning_rate is 0\.0; it must be more than 0"),
        ("train.learning_rate=-1", r"train\.learning_rate is -1\.0; it must be more than 0"),
        ("model.unfreeze=26", r"model\.unfreeze is 26, but demo has 25 layers; use 1 to 25"),
        ("data.image_size=31", r"data\.image_size is 31, too small for demo; use at least 32"),
        ("model.backbone=resnet152", r"did you mean 'resnet152v2'\?"),
        ("model.name=fft", r"model 'fft' is unknown; did you mean 'ft'\?"),
        ("model.weights=imagenet", r"model\.weights of demo 'imagenet' is unknown"),
        ("model.weights=/no/such.h5", r"/no/such\.h5"),
        ("train.batch_size=49", r"batch_size is 49, but there are only 48 images to train"),
        ("results=", r"results is not set; give it a value"),
        ("train.optimiser=adam", r"train\.optimiser is unknown; did you mean 'optimizer'\?"),
        ("train.optimizer=adm", r"train\.optimizer 'adm' is unknown; did you mean 'adam'\?"),
        ("cluster.kind=slurmm", r"did you mean 'slurm'\?"),
        ("cluster.time=soon", r"cluster\.time is soon"),
    ],
)
def test_a_mistake_names_the_key_and_what_to_do(composer: Any, word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        composer.plan([word])


def test_planning_writes_nothing(composer: Any, tmp_path: Path) -> None:
    composer.plan([], ["seed=2"])
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.sampled_from(["seed=1", "model=ft", "train.epochs=3"]), unique=True))
def test_the_same_command_gives_the_same_sweep(words: list[str]) -> None:
    name = derive_sweep_name("demo", words)
    assert derive_sweep_name("demo", [*words, "cluster=slurm", "results=x"]) == name
    assert derive_sweep_name("demo", [*words, "train.checkpoint.seconds=9"]) == name


def test_a_sweep_is_named_after_what_was_chosen_and_what_was_changed() -> None:
    assert derive_sweep_name("lr_unfreeze", []) == "lr_unfreeze"
    assert derive_sweep_name("demo", ["seed=1"]).startswith("demo-")
    assert derive_sweep_name("demo", ["seed=1"]) != derive_sweep_name("demo", ["seed=2"])
