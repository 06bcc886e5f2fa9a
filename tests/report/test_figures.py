"""Figures: what they show of which runs. How they look is for eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import auc
from synthetic import LUNGS, Drawn, experiments, grid, three_classes, write_run

from xray_hpc.report.axes import compared_keys, labels
from xray_hpc.report.confusion import confusion_matrices
from xray_hpc.report.curves import learning_curves
from xray_hpc.report.groups import groups, leading, ranked
from xray_hpc.report.lr_map import lr_unfreeze_map
from xray_hpc.report.reading import Run, read_run
from xray_hpc.report.roc import roc_overlay
from xray_hpc.report.style import PALETTE, look, run_colors, save
from xray_hpc.runs.paths import SweepPaths


def runs_of(sweep: SweepPaths) -> list[Run]:
    return [read_run(sweep.run(path.name)) for path in sorted(sweep.runs.iterdir())]


def draw_roc(runs: list[Run], split: str = "validation") -> Figure | None:
    found = groups(runs)
    colors = run_colors(leading(found))
    with look():
        return roc_overlay(found, split, colors, labels(runs, compared_keys(runs)))


def draw_curves(runs: list[Run], what: str = "loss") -> Figure | None:
    with look():
        return learning_curves(runs, what, run_colors(runs), labels(runs, compared_keys(runs)))


def legend_texts(figure: Figure) -> list[str]:
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes)]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def titles(figure: Figure) -> list[str]:
    return [title for ax in figure.axes if (title := ax.get_title(loc="left"))]


def many(folder: Path, models: tuple[str, ...] = ("ft",), seeds: int = 12) -> list[Run]:
    sweep = SweepPaths(folder)
    for model in models:
        for seed in range(seeds):
            write_run(sweep, model, Drawn(epochs=3, seed=seed), seed=seed)
    return runs_of(sweep)


def test_the_roc_legend_gives_each_auc_of_its_split(sweep: SweepPaths) -> None:
    runs = runs_of(sweep)
    for split in ("validation", "test"):
        figure = draw_roc(runs, split)
        assert figure is not None
        expected = [f"{run.measure(split, 'auc'):.3f}  {run.model}" for run in ranked(runs)]
        assert legend_texts(figure) == [*expected, "0.500  chance"]


def test_roc_axes_are_square(sweep: SweepPaths) -> None:
    figure = draw_roc(runs_of(sweep))
    assert figure is not None
    (ax,) = figure.axes
    assert ax.get_aspect() == 1
    assert ax.get_xlim() == ax.get_ylim()


def test_of_many_runs_the_best_eight_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    runs = many(tmp_path)
    figure = draw_roc(runs)
    assert figure is not None
    best = [f"{run.measure('validation', 'auc'):.3f}" for run in ranked(runs)[:8]]
    texts = legend_texts(figure)
    assert [text.split()[0] for text in texts[:8]] == best
    assert texts[8:] == ["4 other runs", "0.500  chance"]


def test_data_sets_have_a_panel_each_and_more_than_two_classes_their_macro_average(
    tmp_path: Path,
) -> None:
    runs = sorted(runs_of(experiments(tmp_path)), key=lambda run: -len(run.classes))
    figure = draw_roc(runs, "test")
    assert figure is not None
    assert titles(figure) == ["demo, 3 classes (66 images)", "demo, 2 classes (80 images)"]
    heads = [legend.get_title().get_text() for ax in figure.axes if (legend := ax.get_legend())]
    assert heads == ["AUC, macro average of 3 classes", "AUC"]
    (lung,) = [run for run in runs if run.model == "lung"]
    macro = lung.roc["test"].query("`class` == 'macro average'")
    lines = [line for line in figure.axes[0].get_lines() if line.get_color() == PALETTE[0]]
    assert [line.get_xydata().tolist() for line in lines] == [  # type: ignore[union-attr]
        macro[["fpr", "tpr"]].to_numpy().tolist()
    ]
    assert auc(macro["fpr"], macro["tpr"]) == pytest.approx(lung.measure("test", "auc"), abs=1e-4)


def test_one_data_set_of_three_classes_has_one_panel(tmp_path: Path) -> None:
    figure = draw_roc(runs_of(three_classes(tmp_path / "three")), "test")
    assert figure is not None
    assert titles(figure) == ["ROC on test (240 images)"]


def test_of_more_data_sets_than_fit_the_first_are_drawn_and_counted(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    for i in range(11):
        write_run(sweep, "ft", Drawn(epochs=1), inputs__data=f"{i:012}")
    figure = draw_roc(runs_of(sweep))
    assert figure is not None
    assert len(titles(figure)) == 9
    assert figure.get_suptitle() == "ROC on validation (9 of 11 data sets)"


def test_a_split_with_one_class_has_no_roc(sweep: SweepPaths) -> None:
    runs = [
        Run(
            "ft-1",
            "ft",
            "finished",
            metrics=read.metrics,
            roc={"test": read.roc["test"].assign(fpr=np.nan)},
        )
        for read in runs_of(sweep)
    ]
    assert draw_roc(runs, "test") is None
    assert draw_roc(runs, "validation") is None


def test_a_run_has_one_colour_in_all_figures(sweep: SweepPaths) -> None:
    runs = ranked(runs_of(sweep))
    drawn_all = [draw_curves(runs, what) for what in ("accuracy", "loss", "auc")]
    for figure in (draw_roc(runs), *drawn_all):
        assert figure is not None
        drawn = {line.get_color() for ax in figure.axes for line in ax.get_lines()}
        assert set(PALETTE[:3]) <= drawn
        assert not set(PALETTE[3:]) & drawn


def test_the_best_epoch_is_marked_on_the_validation_curve(sweep: SweepPaths) -> None:
    (run,) = [run for run in runs_of(sweep) if run.model == "ft"]
    figure = draw_curves([run])
    assert figure is not None
    assert run.epochs is not None
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    best = run.metrics["best_epoch"]
    assert [line.get_xydata().tolist() for line in marks] == [  # type: ignore[union-attr]
        [[best, run.epochs["val_loss"][best]]]
    ]


def test_the_auc_is_of_validation_only(sweep: SweepPaths) -> None:
    figure = draw_curves(runs_of(sweep), "auc")
    assert figure is not None
    assert len(figure.axes[0].get_lines()) == 2 * 3  # a curve and a mark for each
    assert legend_texts(figure) == ["validation", "kept epoch", "cnn", "ft", "tl"]


def test_an_auc_that_is_never_defined_is_drawn_empty(sweep: SweepPaths) -> None:
    (run, *_) = runs_of(sweep)
    assert run.epochs is not None
    run.epochs["val_auc"] = np.nan
    assert draw_curves([run], "auc") is not None


def test_runs_on_different_data_do_not_share_a_panel(tmp_path: Path) -> None:
    figure = draw_curves([r for r in runs_of(experiments(tmp_path)) if r.model in ("lung", "vgg")])
    assert figure is not None
    assert titles(figure) == ["lung", "vgg"]


def test_many_runs_get_a_panel_a_model(tmp_path: Path) -> None:
    figure = draw_curves(many(tmp_path, ("cnn", "tl", "ft"), seeds=2))
    assert figure is not None
    assert titles(figure) == ["cnn", "ft", "tl"]


def test_many_runs_of_one_model_get_a_panel_a_value(tmp_path: Path) -> None:
    figure = draw_curves(runs_of(grid(tmp_path)))
    assert figure is not None
    assert titles(figure) == ["unfreeze 2", "unfreeze 13", "unfreeze 24"]


def test_seeds_alone_share_a_panel(tmp_path: Path) -> None:
    figure = draw_curves(many(tmp_path))
    assert figure is not None
    assert titles(figure) == []
    assert legend_texts(figure)[-1] == "4 other runs"


def test_a_run_still_going_is_drawn_and_said_to_be(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "tl", Drawn(epochs=1), status="running")
    figure = draw_curves(runs_of(sweep))
    assert figure is not None
    assert "tl (running)" in legend_texts(figure)


def test_a_single_epoch_is_a_dot(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "tl", Drawn(epochs=1), status="running")
    figure = draw_curves(runs_of(sweep))
    assert figure is not None
    markers = [line.get_marker() for line in figure.axes[0].get_lines()]
    assert markers == [".", ".", "o"]


def test_a_diverged_loss_is_drawn_on_a_log_scale(sweep: SweepPaths) -> None:
    (run, *_) = runs_of(sweep)
    assert run.epochs is not None
    run.epochs.loc[5:, "val_loss"] = 1e6
    run.epochs.loc[7:, "val_loss"] = np.nan
    figure = draw_curves([run])
    assert figure is not None
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_ylabel() == "Loss (log scale)"


def test_a_loss_that_never_was_a_number_is_drawn_empty(sweep: SweepPaths) -> None:
    (run, *_) = runs_of(sweep)
    assert run.epochs is not None
    run.epochs[["val_loss", "train_loss"]] = np.nan
    assert draw_curves([run]) is not None


def test_one_hopeless_grey_curve_does_not_flatten_the_others(tmp_path: Path) -> None:
    runs = many(tmp_path)
    assert runs[-1].epochs is not None
    runs[-1].epochs["val_loss"] = 1000.0
    figure = draw_curves(runs)
    assert figure is not None
    assert figure.axes[0].get_ylim()[1] < 3


def draw_confusion(runs: list[Run]) -> Figure | None:
    with look():
        return confusion_matrices(runs, "test", labels(runs, compared_keys(runs)))


def test_a_confusion_matrix_holds_counts_and_shares_of_the_rows(tmp_path: Path) -> None:
    (run, *_) = ranked(runs_of(three_classes(tmp_path / "three")))
    figure = draw_confusion([run])
    assert figure is not None
    counts = np.array(run.measure("test", "confusion"))
    shares = counts / counts.sum(axis=1, keepdims=True)
    both = zip(counts.ravel(), shares.ravel(), strict=True)
    expected = [text for count, share in both for text in (str(count), f"{share:.1%}")]
    ax, bar = figure.axes
    assert [text.get_text() for text in ax.texts] == expected
    assert ax.get_xlabel() == "Predicted"
    assert ax.get_ylabel() == "True"
    assert bar.get_ylabel() == "Share of the true class"


def test_panels_of_the_same_classes_share_their_names_and_others_have_their_own(
    tmp_path: Path,
) -> None:
    def named(figure: Figure | None) -> list[bool]:
        assert figure is not None
        panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
        return [bool(ax.get_yticklabels()[0].get_text()) for ax in panels]

    runs = ranked(runs_of(three_classes(tmp_path / "three")))
    assert named(draw_confusion(runs[:6])) == [True, False, False, True, False, False]
    assert all(named(draw_confusion(runs_of(experiments(tmp_path / "experiments")))))


def test_a_class_without_images_has_no_shares(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "lung", Drawn(images={"validation": 9, "test": 2}, classes=LUNGS))
    figure = draw_confusion(runs_of(sweep))
    assert figure is not None
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("0") + sum("%" in text for text in texts) < 18
    assert not any("nan" in text for text in texts)


@pytest.mark.parametrize(("k", "numbers"), [(7, 49), (14, 0)])
def test_many_classes_leave_out_shares_then_numbers(tmp_path: Path, k: int, numbers: int) -> None:
    classes = tuple(f"finding number {i:02}" for i in range(k))
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "lung", Drawn(classes=classes))
    figure = draw_confusion(runs_of(sweep))
    assert figure is not None
    assert len(figure.axes[0].texts) == numbers


def draw_map(runs: list[Run]) -> Figure | None:
    with look():
        return lr_unfreeze_map(runs)


def cells(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_the_map_has_a_number_in_every_cell(tmp_path: Path) -> None:
    runs = runs_of(grid(tmp_path))
    figure = draw_map(runs)
    assert figure is not None

    def place(run: Run) -> tuple[Any, Any]:
        return run.config["model.unfreeze"], run.config["train.learning_rate"]

    expected = [f"{run.measure('validation', 'auc'):.3f}" for run in sorted(runs, key=place)]
    assert cells(figure) == expected
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1e-06", "1e-05", "0.0001", "0.001"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["2", "13", "24"]


def test_a_cell_without_a_finished_run_is_a_dash(tmp_path: Path) -> None:
    figure = draw_map(runs_of(grid(tmp_path, complete=False)))
    assert figure is not None
    assert [i for i, text in enumerate(cells(figure)) if text == "—"] == [3, 8]


def test_seeds_share_a_cell_which_shows_their_mean(tmp_path: Path) -> None:
    runs = runs_of(grid(tmp_path, seeds=2))
    figure = draw_map(runs)
    assert figure is not None
    first = [
        run.measure("validation", "auc")
        for run in runs
        if (run.config["model.unfreeze"], run.config["train.learning_rate"]) == (2, 1e-6)
    ]
    assert cells(figure)[0] == f"{np.mean(first):.3f}\nn = 2"


def test_what_else_varies_gets_its_own_map(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    for batch in (16, 32):
        for depth in (2, 4):
            for rate in (1e-4, 1e-3):
                write_run(
                    sweep,
                    "ft",
                    Drawn(skill=batch / 16),
                    train__batch_size=batch,
                    train__learning_rate=rate,
                    model__unfreeze=depth,
                )
    figure = draw_map(runs_of(sweep))
    assert figure is not None
    assert titles(figure) == ["ft, batch_size 32", "ft, batch_size 16"]


@pytest.mark.parametrize("key", ["train__learning_rate", "model__unfreeze"])
def test_there_is_no_map_of_one_axis(tmp_path: Path, key: str) -> None:
    sweep = SweepPaths(tmp_path)
    for value in (1, 2, 3):
        write_run(sweep, "ft", **{key: value})
    assert draw_map(runs_of(sweep)) is None


def test_the_same_figure_gives_the_same_bytes(sweep: SweepPaths, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figure = draw_roc(runs_of(sweep))
        assert figure is not None
        save(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_names_with_dollars_and_foreign_letters_are_drawn(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path / "runs")
    write_run(sweep, "$(x)^_$-模型", Drawn(epochs=2))
    figure = draw_curves(runs_of(sweep))
    assert figure is not None
    save(figure, tmp_path / "odd.png")
