"""The five experiments of the tutorials, with few and small images."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from xray_hpc.config.hydra_app import to_mapping
from xray_hpc.data.dataset import load_dataset
from xray_hpc.launching.resolve_run import RunResolver
from xray_hpc.metrics import MACRO, MICRO, class_logits, class_scores, split_metrics
from xray_hpc.models.load_scorer import load_scorer
from xray_hpc.models.model_card import read_card
from xray_hpc.package_folders import resource
from xray_hpc.records.frozen_run import read_frozen_run, write_frozen_run
from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_metrics import read_metrics
from xray_hpc.records.run_record import RunRecord, Status, read_record, write_record
from xray_hpc.training.train_run import train_run

EXPERIMENTS = ("larcc", "stacked", "reduced", "lung", "vgg")
SMALL = ("data.demo_images=60", "data.image_size=56", "train.epochs=2", "train.batch_size=8")

Trained = Callable[[str], RunPaths]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a function that trains an experiment on its first call."""
    results = tmp_path_factory.mktemp("results")
    known: dict[str, RunPaths] = {}

    def train_once(experiment: str) -> RunPaths:
        if experiment in known:
            return known[experiment]
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(resource("conf")), version_base="1.3"):
            values = compose("config", [f"experiment={experiment}", *SMALL])
        run, _ = RunResolver(results / ".cache").resolve(to_mapping(values))
        paths = RunPaths(results / "tutorials" / "runs" / run.name)
        write_frozen_run(paths, run)
        write_record(paths, RunRecord(run.name, "tutorials", run.config.model.name))
        train_run(paths)
        known[experiment] = paths
        return paths

    return train_once


def model_name(paths: RunPaths) -> str:
    return read_frozen_run(paths).config.model.name


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_leaves_every_file(trained: Trained, experiment: str) -> None:
    paths = trained(experiment)
    record = read_record(paths)
    assert record is not None
    assert record.status is Status.FINISHED
    name = model_name(paths)
    files = {
        path.relative_to(paths.folder).as_posix()
        for path in paths.folder.rglob("*")
        if path.is_file() and path.parent != paths.weights_folder
    }
    assert files == {
        *("config.yaml", "run.json", "progress.json", "metrics.json", "model.keras", "model.txt"),
        *(f"{name}_{measure}_per_epoch.csv" for measure in ("accuracy", "loss", "auc")),
        *(f"{name}_{split}_{what}.csv" for split in SPLITS for what in ("yscores", "roc")),
        *(f"figures/{name}_learning_curve_{what}.png" for what in ("accuracy", "loss", "auc")),
        *(
            f"figures/{name}_{what}_{split}.png"
            for split in SPLITS
            for what in ("roc_curve", "confusion")
        ),
        *("figures/model.png", "figures/augmented.png", f"{name}_worst_misses.csv"),
        *pd.read_csv(paths.worst_misses(name))["image"],
    }


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_metrics_follow_from_the_scores(trained: Trained, experiment: str) -> None:
    paths = trained(experiment)
    metrics = read_metrics(paths)
    classes = metrics.classes
    assert len(classes) == (3 if experiment == "lung" else 2)
    assert metrics.threshold == (None if experiment == "lung" else 0.5)
    for split in SPLITS:
        table = pd.read_csv(paths.scores(model_name(paths), split))
        logits = table.filter(regex="^logit").to_numpy()
        logits = logits if len(classes) > 2 else class_logits(logits)
        assert logits.shape == (len(table), len(classes))
        measured = split_metrics(table["y_true"], logits, classes)
        assert metrics.split(split).confusion == measured.confusion
        assert metrics.split(split).auc == pytest.approx(measured.auc)
        assert metrics.split(split).loss == pytest.approx(measured.loss, abs=1e-6)


@pytest.mark.parametrize("experiment", ["larcc", "reduced", "lung"])
def test_experiment_model_has_a_card_and_gives_the_scores(
    trained: Trained, experiment: str
) -> None:
    paths = trained(experiment)
    run = read_frozen_run(paths)
    data = load_dataset(run.config.data, run.cache)
    card = read_card(paths.model)
    assert (card.run, card.classes) == (run.name, data.classes)
    images = data.images[data.splits["test"]]
    side = card.input_shape[0]
    first = (images.shape[1] - side) // 2
    logits = load_scorer(paths.model, card)(images[:, first : first + side, first : first + side])
    scores = class_scores(logits)
    table = pd.read_csv(paths.scores(run.config.model.name, "test"))
    saved_scores = table.filter(regex="^y_scores").to_numpy()
    np.testing.assert_allclose(saved_scores, scores[:, -saved_scores.shape[1] :], atol=1e-6)


def test_three_classes_have_a_roc_curve_each_and_two_averages(trained: Trained) -> None:
    paths = trained("lung")
    classes = json.loads(paths.metrics.read_text())["classes"]
    roc = pd.read_csv(paths.roc("lung", "test"))
    assert list(roc.columns) == ["fpr", "tpr", "thresholds", "score_of"]
    assert list(roc["score_of"].unique()) == [*classes, MICRO, MACRO]
    assert roc[roc["score_of"] == MACRO]["thresholds"].isna().all()


def test_experiment_selects_its_epoch(trained: Trained) -> None:
    lung = pd.read_csv(trained("lung").accuracy("lung"))["val_accuracy"]
    assert json.loads(trained("lung").metrics.read_text())["best_epoch"] == lung.idxmax() + 1
    assert json.loads(trained("vgg").metrics.read_text())["best_epoch"] == 2  # the last


def test_reduced_experiment_saves_the_weights_of_best_epochs(trained: Trained) -> None:
    paths = trained("reduced")
    losses = pd.read_csv(paths.loss("conv"))["val_loss"]
    best = [epoch for epoch in range(2) if losses[epoch] == losses[: epoch + 1].min()]
    assert sorted(paths.weights_folder.iterdir()) == [
        paths.epoch_weights(epoch + 1) for epoch in best
    ]
    assert not trained("vgg").weights_folder.exists()
