"""The digest of the code that checkpoints and cached features depend on."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import xray_hpc
from xray_hpc.code_digest import COMPUTING_MODULES, code_digest, software_identity
from xray_hpc.models.registry import MODELS

PACKAGE = Path(xray_hpc.__file__).parent
COMPUTING = {
    f"{folder}/{name}.py".lstrip("/")
    for folder, names in COMPUTING_MODULES.items()
    for name in names
}
# Modules that the computing ones import, and that compute no numbers.
OTHERS = {
    "configuration": (
        "config/run_config.py",
        "config/dataclass_conversion.py",
        "config/train_config.py",
        "features/extractor_costs.py",
        "models/check_model_config.py",
        "models/weights_files.py",
    ),
    "files and records": (
        *("absolute_path.py", "errors.py", "package_folders.py", "count_text.py"),
        *("regular_file.py", "file_owner.py", "shared_folder.py", "system_errors.py"),
        "cgroup_memory.py",
        *("data/cache_errors.py", "data/private_cache.py"),
        *("data/decode_limits.py", "data/pillow_warnings.py"),
        *("training/checkpoint_store.py", "training/save_model.py", "models/model_card.py"),
        "models/keras_archive.py",
    ),
    "figures and summaries": (
        *("figure_files.py", "models/diagram_boxes.py"),
        *("data/augmentation_figure.py", "data/duplicate_images.py"),
        *("models/model_diagram.py", "models/model_summary.py", "training/run_figures.py"),
    ),
    "progress, threads and signals": (
        *("printable.py", "progress_bar.py", "thread_map.py", "data/shutdown_guard.py"),
        *("training/event_files.py", "training/progress_callbacks.py", "training/signals.py"),
    ),
    "this digest": ("code_digest.py",),
}


def imported_modules(file: str) -> Iterator[str]:
    """The modules of the package that a module imports, as files."""
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                path = name.removeprefix("xray_hpc.").replace(".", "/") + ".py"
                if name.startswith("xray_hpc.") and (PACKAGE / path).is_file():
                    yield path


def all_imported_modules() -> set[str]:
    """What a training and the computation of cached features import, directly or indirectly."""
    open_files = ["training/fit.py", "training/training_model.py", "features/feature_store.py"]
    open_files += [
        f"{model.module.removeprefix('xray_hpc.').replace('.', '/')}.py"
        for model in MODELS.values()
    ]
    found: set[str] = set()
    while open_files:
        file = open_files.pop()
        if file not in found and not file.startswith("records/"):
            found.add(file)
            open_files += imported_modules(file)
    return found


def test_computing_modules_are_all_that_a_training_executes() -> None:
    others = {file for files in OTHERS.values() for file in files}
    unknown = sorted(all_imported_modules() - COMPUTING - others)
    assert not unknown, (
        f"{unknown} can be executed by a training: add each to COMPUTING_MODULES in "
        "xray_hpc/code_digest.py if it computes numbers, or else to OTHERS in this test"
    )


def test_computing_modules_exist_and_are_used() -> None:
    assert [file for file in sorted(COMPUTING) if not (PACKAGE / file).is_file()] == []
    assert sorted(COMPUTING - all_imported_modules()) == []


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, to be changed."""
    folder = tmp_path / "xray_hpc"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("*.h5", "__pycache__"))
    return folder


def digest(package: Path) -> str:
    code_digest.cache_clear()
    return code_digest(package)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file.name} does not contain {old!r}"
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("training/loop.py", "model.reset_metrics()", "model.reset_state()"),
        ("training/epoch_callbacks.py", "EVERY = 20", "EVERY = 10"),
        ("metrics.py", "THRESHOLD = 0.5", "THRESHOLD = 0.4"),
    ],
)
def test_code_digest_changes_with_what_is_computed(
    package: Path, file: str, old: str, new: str
) -> None:
    before = digest(package)
    change(package / file, old, new)
    assert digest(package) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("training/run_figures.py", "#0072B2", "#000000"),
        ("training/progress_callbacks.py", "30.0", "60.0"),
        ("training/loop.py", "# wait for the device", "# wait"),
        ("training/loop.py", "Run training steps.", "Run steps."),
        ("training/epoch_callbacks.py", "loss is {loss} at", "the loss was {loss} at"),
        ("training/fit.py", "Resuming from %s.", "Going on from %s."),
        ("training/fit.py", "is undefined on the validation images", "is not defined"),
    ],
    ids=["figure", "progress", "comment", "docstring", "error", "log", "raised message"],
)
def test_code_digest_ignores_messages_comments_and_figures(
    package: Path, file: str, old: str, new: str
) -> None:
    before = digest(package)
    change(package / file, old, new)
    assert digest(package) == before


def test_software_identity_names_versions_variables_and_the_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = software_identity().keys()
    versions = {"xray_hpc", "python", "tensorflow", "keras", "numpy", "opencv"}
    assert before >= versions | {"code"}
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_cuda_data_dir=/cuda")
    monkeypatch.setenv("TF_CPP_MAX_VLOG_LEVEL", "1")
    assert software_identity().keys() == before | {"ONEDNN_MAX_CPU_ISA", "XLA_FLAGS"}
    assert all(software_identity().values())
