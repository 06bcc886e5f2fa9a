"""Resolved runs: their identity, and errors in their configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Composer
from xray_hpc.config.run_config import DataConfig
from xray_hpc.data import index
from xray_hpc.data.index import Index
from xray_hpc.errors import UserError
from xray_hpc.launching.plan import make_plan
from xray_hpc.models.weights_files import HDF5_SIGNATURE

NOT_AUGMENTED = ["augment.zoom=0", "augment.height_shift=0", "augment.width_shift=0"]


def write_images(root: Path, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """Write 20 files per class and split; their content is not an image."""
    for split in splits:
        for label in ("NORMAL", "PNEUMONIA"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(20):
                (folder / f"{label}-{number}.png").write_bytes(b"x" * number)
    return root


def test_fill_mode_makes_another_run_only_with_geometric_augmentation(composer: Composer) -> None:
    modes = [[f"augment.fill_mode={mode}"] for mode in ("reflect", "nearest")]
    assert len(composer.plan(*modes).runs) == 2
    assert len(composer.plan(*([*NOT_AUGMENTED, *mode] for mode in modes)).runs) == 1


def test_run_name_does_not_depend_on_where_the_sweep_runs(
    composer: Composer, tmp_path: Path
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
def test_run_name_depends_on_whatever_changes_the_result(composer: Composer, word: str) -> None:
    (before,), (after,) = composer.plan([]).runs, composer.plan([word]).runs
    assert before.name != after.name


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ([], ["augment.crop=true"]),
        ([], ["model.output=sigmoid"]),
        (NOT_AUGMENTED, [*NOT_AUGMENTED, "augment.fill_mode=wrap"]),
        (["data.split=random"], ["data.split=random", "augment.crop=true"]),
    ],
)
def test_keys_without_effect_make_no_other_run(
    composer: Composer, words: list[str], others: list[str]
) -> None:
    assert len(composer.plan(words, others).runs) == 1


def test_random_crop_makes_another_run_if_images_are_cropped(composer: Composer) -> None:
    cut = ["data.image_size=40", "data.crop=0.8"]
    assert len(composer.plan(cut, [*cut, "augment.crop=true"]).runs) == 2


def test_range_makes_another_run_of_images_in_files(composer: Composer, tmp_path: Path) -> None:
    words = ["data.source=folder", f"data.root={write_images(tmp_path / 'set')}"]
    ranges = [[*words, f"data.range={value}"] for value in ("auto", 12, 16)]
    assert len({run.name for run in composer.plan(*ranges).runs}) == 3
    assert len(composer.plan([], ["data.range=12"]).runs) == 1  # the demo's have 8 bits


def test_demo_keys_make_no_other_run_of_other_images(composer: Composer, tmp_path: Path) -> None:
    words = ["data.source=folder", f"data.root={write_images(tmp_path / 'set')}"]
    (one,) = composer.plan(words).runs
    (other,) = composer.plan([*words, "data.demo_classes=3", "data.demo_seed=5"]).runs
    assert one.name == other.name


def test_split_seed_of_a_folder_split_counts_only_for_a_subset(
    composer: Composer, tmp_path: Path
) -> None:
    root = write_images(tmp_path / "set", ("train", "val", "test"))
    words = ["data.source=folder", f"data.root={root}", "data.split=folder"]
    assert len(composer.plan(words, [*words, "data.split_seed=1"]).runs) == 1
    words.append("data.per_class=10")
    assert len(composer.plan(words, [*words, "data.split_seed=1"]).runs) == 2


def test_data_set_is_indexed_once_per_plan(
    composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = []

    def build_index(config: DataConfig, cache: Path) -> Index:
        scanned.append(config.root)
        return read(config, cache)

    read = index.build_index
    monkeypatch.setattr(index, "build_index", build_index)
    words = ["data.source=folder", f"data.root={write_images(tmp_path / 'set')}"]
    sizes = [[*words, f"data.per_class={n}"] for n in (8, 10, 12)]
    assert len(composer.plan(words, *sizes).runs) == 4
    assert len(scanned) == 1


@pytest.mark.parametrize("split", ["random", "patient"])
def test_batch_larger_than_the_drawn_training_images_is_an_error(
    composer: Composer, tmp_path: Path, split: str
) -> None:
    root = write_images(tmp_path / "set")
    words = ["data.source=folder", f"data.root={root}", "data.per_class=10", f"data.split={split}"]
    composer.plan([*words, "train.batch_size=16"])
    with pytest.raises(UserError, match="batch_size is 17, but there are only 16 training images"):
        composer.plan([*words, "train.batch_size=17"])


def test_batch_does_not_matter_without_training(composer: Composer) -> None:
    jobs = [([], composer.values("train.batch_size=1000"))]
    assert len(make_plan(jobs, default_name="sweep", training=False).runs) == 1


def test_batch_larger_than_the_subset_is_an_error(composer: Composer) -> None:
    words = ["data.per_class=10", "train.batch_size=21"]
    with pytest.raises(UserError, match="batch_size is 21, but there are only 20 images to train"):
        composer.plan(words)


def test_three_classes_use_softmax(composer: Composer) -> None:
    (run,) = composer.plan(["data.demo_classes=3"]).runs
    assert run.config.model.output == "softmax"
    with pytest.raises(UserError, match=r"model\.output is sigmoid"):
        composer.plan(["data.demo_classes=3", "model.output=sigmoid"])


def test_run_name_does_not_depend_on_the_image_folder(composer: Composer, tmp_path: Path) -> None:
    names = set()
    for folder in ("a", "b"):
        write_images(tmp_path / folder)
        words = ["data.source=folder", f"data.root={tmp_path}/{folder}"]
        names.add(composer.plan(words).runs[0].name)
    assert len(names) == 1


def test_names_of_folders_may_be_numbers(
    composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "123")
    overrides = ["data.source=folder", "data.root=123", "name=0", "results=0", "cache=7"]
    plan = composer.plan(overrides)
    assert plan.sweep.folder == tmp_path / "0" / "0"
    assert plan.settings.cache == tmp_path / "7"
    assert plan.runs[0].config.data.root == str(tmp_path / "123")


def test_paths_of_a_run_are_absolute_and_keep_their_links(
    composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "export1" / "data")
    (tmp_path / "export1" / "start.h5").write_bytes(HDF5_SIGNATURE)
    home = tmp_path / "home"
    home.symlink_to("export1")
    (home / "xrays").symlink_to("data")
    monkeypatch.chdir(home)
    monkeypatch.setenv("PWD", str(home))
    words = ["data.source=folder", "data.root=xrays", "results=out", f"cache={home}/cache"]
    plan = composer.plan([*words, "model.weights=start.h5"])
    (run,) = plan.runs
    assert run.config.data.root == str(home / "xrays")
    assert run.config.model.weights == str(home / "start.h5")
    assert run.cache == home / "cache"
    assert plan.sweep.folder.parent == home / "out"


def test_run_name_depends_on_the_content_of_weights(composer: Composer, tmp_path: Path) -> None:
    names = []
    for file, content in (("a.h5", b"1"), ("b.h5", b"1"), ("c.h5", b"2")):
        (tmp_path / file).write_bytes(HDF5_SIGNATURE + content)
        names.append(composer.plan([f"model.weights={tmp_path}/{file}"]).runs[0].name)
    assert names[0] == names[1] != names[2]


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
def test_invalid_value_is_reported_with_its_key(
    composer: Composer, word: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        composer.plan([word])
