"""The command line, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def command(verb: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m xray_hpc.<verb>`` in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", f"xray_hpc.{verb}", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["model=cn"],
            "model 'cn' is unknown; did you mean 'cnn'? (valid: cnn, conv, ft, lung, stacked, tl, ",
        ),
        (["experiment=lark"], "experiment 'lark' is unknown; did you mean 'larcc'? (valid: larcc,"),
        (
            ["train.learningrate=1e-3"],
            "train.learningrate is unknown; did you mean 'train.learning_rate'?",
        ),
        (["learning_rate=1e-3"], "learning_rate is unknown; did you mean 'train.learning_rate'?"),
        (["metrics=auc"], "metrics is unknown (valid: augment, cluster, data, experiment, "),
        (["train.metrics=auc"], "train.metrics is unknown (valid in train: epochs, batch_size, "),
        (
            ["train.checkpoint.wibble=1"],
            "train.checkpoint.wibble is unknown (valid in train.checkpoint: steps, seconds)",
        ),
        (["cluster.xyz.wibble=1"], "cluster.xyz.wibble is unknown (valid in cluster: kind, "),
        (["xyz.wibble=1"], "xyz.wibble is unknown (valid: augment, cluster, "),
        (["cluster.learning_rte=1"], "cluster.learning_rte is unknown; did you mean 'train.learn"),
        (["modle=cnn"], "modle is unknown; did you mean 'model'?"),
        (["data.root"], "'data.root' cannot be read as KEY=VALUE"),
        (["train.epochs=two"], "train.epochs is 'two'; it must be a whole number"),
        (["train.learning_rate=-1"], "train.learning_rate is -1.0; it must be more than 0"),
        (["data=folder"], "data.root is not set; it must name a path"),
        (["data.root=/x"], "data.root is /x; it must be null with data=demo, which draws its own"),
        (["-m", "model=cnn,tk"], "model 'tk' is unknown; did you mean 'tl'?"),
        (["-m", "train.epochs=1,2,x"], "train.epochs is 'x'; it must be a whole number"),
        (["sweep=models"], "sweep= spans several runs; add -m"),
        (["-m", "sweep=models,seeds"], "sweep= takes one sweep at a time; launch once for each"),
        (["-m", "model=cnn,tl", "--cfg", "job"], "--cfg takes one configuration; leave out -m"),
        (["~seed"], "seed is missing"),
        (["seed=x"], "seed is 'x'; it must be a whole number"),
        (
            ["results=/proc/nothing", "cluster=none"],
            "results is /proc/nothing, but /proc cannot be",
        ),
        (["+train.momentum=1"], "train.momentum is unknown"),
        (["++model.name=cn"], "train.learning_rates has no cn; did you mean 'cnn'?"),
        (
            ["experiment=vgg", "train.early_stopping.patience=3"],
            "train.early_stopping is null here; set it as a whole: 'train.",
        ),
        (["experiment=null"], "experiment=null chooses nothing; leave experiment out"),
        (["-m", "model=cnn,null"], "model=null chooses nothing; leave model out"),
        (["data=NULL"], "data=null chooses nothing; leave data out"),
        (["augment=float(1)"], "augment=float(1) is not the name of an option"),
        (["experiment=[lung,vgg]"], "experiment takes one option; sweep over several with -m "),
        (["+experiment=vgg"], "experiment is chosen once; leave out the + of +experiment=vgg"),
        (
            ["model=cnn,tl"],
            "'model=cnn,tl' names several values; add -m to sweep over them",
        ),
        (["cluster.cpus=1,2"], "cluster.cpus applies to the whole sweep and takes one value"),
        (["cluster=none,local"], "cluster applies to the whole sweep and takes one value"),
        (["-m", "cluster.cpus=1,2"], "cluster, report, name, results, "),
        (["name=1e3,a"], "name applies to the whole sweep and takes one value, not name='1e3',a"),
        (["scale=fulll"], "scale 'fulll' is unknown; did you mean 'full'?"),
        (
            ["model=stacked", "model.backbones={resnet50v2:none}"],
            "model.backbones.resnet50v2 does not exist yet; add it with '+model.",
        ),
        (["data.split=folder"], "data.split is folder, but the data has no validation images"),
        (["cluster.extra={no_requeue: true}"], "cluster.extra.no_requeue is not accepted: "),
        (["cluster=none", "cluster.extra={clusters: b}"], "cluster.extra.clusters is not accepted"),
        (["cluster.extra.exclude=n1"], "cluster.extra takes all of its options at once"),
        (["--rseume", "x"], "unrecognized arguments: --rseume; did you mean '--resume'? (see "),
        (["model=cnn", "--config-dri=x"], "unrecognized arguments: --config-dri=x; did you mean"),
        (["--unrelated"], "unrecognized arguments: --unrelated (see python -m xray_hpc.launch --"),
        (["--cfg", "jbo"], "argument --cfg/-c: invalid choice: 'jbo' (choose from "),
        (["model=cnn", "--config-dir"], "argument --config-dir/-cd: expected one argument (see "),
        (["--resume"], "argument --resume: expected one argument (see "),
        (["--resolve"], "--resolve belongs to --cfg; add --cfg job"),
        (["--package", "x"], "--package belongs to --cfg; add --cfg job"),
        (["-sc", "install=csh"], "--shell-completion takes one of install=bash, "),
        (["hydra/launcher=2"], "hydra/launcher '2' is unknown (valid: basic, xray_hpc)"),
        (["hydra=null"], "hydra is not a configuration group"),
        (["-cn", "other"], "the configuration has no file other.yaml"),
        (["--cfg", "job", "+cluster.tiem=3"], "cluster.tiem is unknown; did you mean 'time'?"),
        (["--cfg", "all", "+foo=3"], "foo is unknown (valid: data, model, "),
        (["--cfg", "job", "--info"], "--cfg and --info exclude each other; give one of them"),
        (["--run", "-m"], "--run takes one configuration; leave out -m"),
        (["--resume", "x", "--cfg", "job"], "--cfg has no effect with --resume; leave it out"),
        (["--config-dir", "nowhere"], "Additional config directory "),
        (["--config-dir=~/nowhere"], f"Additional config directory '{Path.home()}/nowhere' not "),
        (["--config-dir=~nobody_x/a"], "~nobody_x/a: user 'nobody_x' has no home folder"),
    ],
)
def test_invalid_command_prints_one_line_and_writes_nothing(
    tmp_path: Path, words: list[str], line: str
) -> None:
    done = command("launch", *words, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {line}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "verb", ["train", "stage", "status", "logs", "cancel", "collect", "predict"]
)
def test_unknown_option_is_one_line_with_the_nearest(tmp_path: Path, verb: str) -> None:
    near, option = ("--outptu", "--output") if verb == "predict" else ("--resutls", "--results")
    if verb in ("train", "stage"):
        near, option = "--confg-dir", "--config-dir"
    done = command(verb, "a", near, "b", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: unrecognized arguments: {near}")
    assert f"; did you mean '{option}'? (see python -m xray_hpc.{verb} --help)" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", ["train", "stage"])
def test_train_and_stage_reject_multirun(tmp_path: Path, verb: str) -> None:
    done = command(verb, "-m", "model=cnn,tl", folder=tmp_path)
    assert done.returncode == 2
    assert "takes one configuration; sweep with python -m xray_hpc.launch -m" in done.stderr


def test_cfg_job_prints_the_composed_configuration(tmp_path: Path) -> None:
    done = command(
        "launch", "model=ft", "--cfg", "job", "--resolve", "-p", "model", folder=tmp_path
    )
    assert done.returncode == 0
    assert "unfreeze: 7" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_lists_groups_and_keys(tmp_path: Path) -> None:
    done = command("launch", "--help", folder=tmp_path)
    assert done.returncode == 0
    assert "model: cnn, conv, ft, lung, stacked, tl, vgg" in done.stdout
    assert "python -m xray_hpc.launch -m model=cnn,tl,ft" in done.stdout
    assert "learning_rate:" in done.stdout
    assert "  --resume SWEEP " in done.stdout
    lines = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert "wait: false # On Slurm, wait until all runs have ended, then compare them" in lines
    assert "time: 240 # Time limit of a job (minutes)" in lines
    assert "time: 60 # Time limit, as cluster.time (minutes)" in lines  # of cluster.cpu_job
    assert "densenet169: null" in lines
    assert max(map(len, lines)) <= 110


def test_help_of_an_override_that_is_invalid_is_one_line(tmp_path: Path) -> None:
    done = command("launch", "--help", "model=cn", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: model 'cn' is unknown")


def test_launch_sweeps_over_a_range_and_a_glob(tmp_path: Path) -> None:
    words = ["-m", "model=glob(?t*)", "seed=range(1,3)", "cluster=none", "name=grid"]
    done = command("launch", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = sorted(path.name for path in (tmp_path / "results" / "grid" / "runs").iterdir())
    assert [name.split("-")[0] for name in runs] == ["ft", "ft", "stacked", "stacked"]


def test_launch_runs_a_sweep_file_with_an_override(tmp_path: Path) -> None:
    words = ["-m", "sweep=lr_unfreeze", "model.unfreeze=2,4", "cluster=none"]
    done = command("launch", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (sweep,) = [path for path in (tmp_path / "results").iterdir() if path.name[0] != "."]
    assert sweep.name.startswith("lr_unfreeze-")
    assert len(list((sweep / "runs").iterdir())) == 6


def test_options_may_stand_between_and_behind_overrides(tmp_path: Path) -> None:
    site = tmp_path / "site" / "cluster"
    site.mkdir(parents=True)
    (site / "mysite.yaml").write_text("kind: none\n")
    words = ["model=cnn,tl", "-m", "name=s", "seed=1,2", "--config-dir", "site", "cluster=mysite"]
    done = command("launch", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "results" / "s" / "runs").iterdir())) == 4
    done = command("launch", "cluster.cpus=3", "--resume", "s", "wait=false", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_config_dir_adds_options_to_a_group(tmp_path: Path) -> None:
    site = tmp_path / "site" / "cluster"
    site.mkdir(parents=True)
    (site / "mysite.yaml").write_text("defaults: [none]\npartition: gpu\n")
    words = ["--config-dir", str(tmp_path / "site"), "cluster=mysite", "--cfg", "job"]
    done = command("launch", *words, folder=tmp_path)
    assert "partition: gpu" in done.stdout


def test_stage_draws_augmentations_of_the_users_config_dir(tmp_path: Path) -> None:
    own = tmp_path / "site" / "augment"
    own.mkdir(parents=True)
    words = ["--config-dir", str(tmp_path / "site"), "data.demo_images=40", "data.image_size=32"]
    (own / "mine.yaml").write_text("rotatoin: 5\n")
    done = command("stage", *words, folder=tmp_path)
    assert "error: augment.rotatoin is unknown; did you mean 'rotation'?" in done.stderr
    (own / "mine.yaml").write_text("rotation: 5\n")
    done = command("stage", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("results/*/data/*/augmentations.png"))) == 1


def test_completion_lists_the_models(tmp_path: Path) -> None:
    """Run the query that the installed bash completion sends on Tab."""
    script = Path(sys.executable).with_name("xray-launch")
    done = subprocess.run(
        [str(script), "-sc", "query=bash"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"COMP_LINE": "xray-launch model=", "COMP_POINT": "18", "PATH": "/usr/bin:/bin"},
    )
    models = ["cnn", "conv", "ft", "lung", "stacked", "tl", "vgg"]
    assert done.stdout.split() == [f"model={model}" for model in models]


def test_a_file_that_is_not_yaml_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "mysite.yaml").write_text("kind: [local\n")
    command = [sys.executable, "-m", "xray_hpc.launch", "--config-dir", str(tmp_path)]
    done = subprocess.run([*command, "cluster=mysite"], capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "mysite.yaml" in done.stderr
