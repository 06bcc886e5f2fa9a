"""Which package may import which other, and where heavy libraries are imported."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xray_hpc.package_folders import resource

PACKAGE = Path(__file__).parents[1] / "xray_hpc"

# The packages in the order of the data flow, and what each imports. No row names a later package
# that names it in turn, so there are no cycles.
COMMON = {"config", "records"}
MAY_IMPORT = {
    "config": set[str](),
    "records": {"config"},
    "statistics": set[str](),
    "synthetic": {"records"},
    "data": COMMON | {"synthetic"},
    "models": COMMON | {"synthetic"},
    "features": COMMON | {"models", "data"},
    "prediction": {"records", "models", "data"},
    "explanations": COMMON | {"models", "data", "prediction"},
    "training": COMMON | {"explanations", "features", "models", "data", "statistics"},
    "slurm": COMMON,
    "monitoring": {"records", "slurm"},
    "worker": COMMON | {"slurm"},
    "launching": COMMON | {"monitoring", "slurm", "features", "models", "data"},
    "report": COMMON | {"monitoring", "slurm", "statistics"},
}
MAY_IMPORT_TENSORFLOW = {
    "code_digest.py",
    "isolated_keras.py",
    "python_api.py",  # for types only
    "training",
    "explanations",
    "features",
    "models",
    "data/input_pipeline.py",
    "synthetic/demo_backbone.py",
    "synthetic/pretrain_backbone.py",
}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_package_has_a_row() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_downwards_only(package: str) -> None:
    for file in (PACKAGE / package).rglob("*.py"):
        for name in imports(file):
            parts = name.split(".")
            if parts[0] == "xray_hpc" and len(parts) > 1 and parts[1] in MAY_IMPORT:
                assert parts[1] in MAY_IMPORT[package] | {package}, f"{file.name} imports {name}"


def test_only_training_and_models_import_tensorflow() -> None:
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE).as_posix()
        if place.split("/")[0] in MAY_IMPORT_TENSORFLOW or place in MAY_IMPORT_TENSORFLOW:
            continue
        heavy = {name.split(".")[0] for name in imports(file)} & {"tensorflow", "keras"}
        assert not heavy, f"{place} imports {heavy}"


def test_only_config_imports_omegaconf() -> None:
    for file in PACKAGE.rglob("*.py"):
        if "omegaconf" in {name.split(".")[0] for name in imports(file)}:
            assert file.parent.name == "config"


def test_training_imports_neither_hydra_nor_submitit() -> None:
    for package in ("training", "features", "models", "data", "records"):
        for file in (PACKAGE / package).rglob("*.py"):
            assert not {name.split(".")[0] for name in imports(file)} & {"hydra", "submitit"}


@pytest.fixture
def without_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make TensorFlow and Keras unimportable in new processes."""
    for name in ("tensorflow", "keras"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} was imported')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_launch_stage_and_collect_work_without_tensorflow(
    without_tensorflow: Path,
) -> None:
    python, here = sys.executable, without_tensorflow
    launch = [python, "-m", "xray_hpc.launch", "-m", "model=cnn,tl,ft", "cluster=none", "name=s"]
    subprocess.run([*launch, "data.demo_images=60"], check=True, cwd=here)
    runs = sorted(map(str, (here / "results" / "s" / "runs").iterdir()))
    assert len(runs) == 3
    subprocess.run([python, str(resource("jobs") / "stage.py"), runs[0]], check=True, cwd=here)
    collect = [python, "-m", "xray_hpc.collect", "results/s"]
    done = subprocess.run(collect, check=True, cwd=here, capture_output=True, text=True)
    assert (here / "results" / "s" / "report" / "runs.csv").is_file()
    assert "3 runs" in done.stdout


VERBS = ["launch", "train", "stage", "status", "logs", "cancel", "collect", "predict", "explain"]


def test_verbs_are_all_commands() -> None:
    assert sorted(VERBS) == sorted(file.stem for file in PACKAGE.glob("*.py") if is_verb(file))
    for verb in VERBS:
        module = importlib.import_module(f"xray_hpc.{verb}")
        assert callable(module.main)
        assert callable(module.entry)


def is_verb(file: Path) -> bool:
    return "def entry()" in file.read_text()


@pytest.mark.parametrize("verb", VERBS)
def test_help_does_not_import_tensorflow(without_tensorflow: Path, verb: str) -> None:
    command = [sys.executable, "-m", f"xray_hpc.{verb}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=without_tensorflow)
    assert done.returncode == 0, done.stderr
    assert "xray_hpc" in done.stdout


def test_launching_imports_no_image_library() -> None:
    program = "import sys, xray_hpc.launching.launch_sweep as _; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert not {"cv2", "PIL", "h5py", "matplotlib", "pandas"} & {*done.stdout.decode().split()}
