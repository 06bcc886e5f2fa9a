"""Prepare what a sweep reads: ``python -m xray_hpc.stage data=folder data.root=...``.

Downloads missing ImageNet weights, indexes and decodes the images, and writes their index and
figures to ``results/<sweep>/data/``. A launch does all but the download itself; run this command
to inspect the data first, or on the only host with internet access.
"""

from __future__ import annotations

from xray_hpc import command_line
from xray_hpc.config import hydra_app
from xray_hpc.config.dataclass_conversion import build
from xray_hpc.config.run_config import ModelSettings
from xray_hpc.launching.plan import make_plan
from xray_hpc.launching.run_folders import check_folders, make_results_folder
from xray_hpc.models.check_model_config import drop_unused_keys
from xray_hpc.models.weights_download import download_weights


def _stage(composed: hydra_app.Composed) -> int:
    from xray_hpc.data.augmentation_figure import NamedAugmentation  # imports matplotlib
    from xray_hpc.data.stage_data import build_augmentation, stage_data

    model, _ = drop_unused_keys(build(ModelSettings, composed.values["model"], "model"))
    download_weights(model)
    jobs = [(composed.overrides, composed.values)]
    plan = make_plan(jobs, default_name=composed.sweep_name, training=False)
    check_folders(plan.settings, "local")
    (run,) = plan.runs
    sets = {
        name: build_augmentation(values)
        for name, values in hydra_app.group_values(composed.loader, "augment").items()
    }
    given = build_augmentation(composed.values["augment"])
    if given not in sets.values():
        sets["as given"] = given
    data = run.config.data
    shown = [NamedAugmentation(name, augment, data.crop) for name, augment in sets.items()]
    make_results_folder(plan.sweep.folder)
    stage_data(data, plan.settings.cache, plan.sweep, shown, run.config.seed)
    return 0


def main() -> int:
    """Run the command, which takes one configuration."""
    with command_line.interruptible():  # so that SIGTERM leaves no temporary files
        return hydra_app.compose_and_call(_stage, hydra_app.parse_single("stage"))


def entry() -> None:
    """Run the installed command ``xray-stage``."""
    command_line.run(main)


if __name__ == "__main__":
    entry()
