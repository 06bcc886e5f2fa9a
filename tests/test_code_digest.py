"""What of our own code a checkpoint depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from xray_hpc.code_digest import code_digest, software_identity


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    for name in ("data", "features", "models", "synthetic", "training", "report"):
        (folder / name).mkdir(parents=True)
        (folder / name / "code.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "metrics.py").write_text("HALF = 0.5\n")
    return folder


def digest(package: Path) -> str:
    code_digest.cache_clear()
    return code_digest(package)


@pytest.mark.parametrize("changed", ["data/code.py", "training/code.py", "metrics.py"])
def test_changed_code_is_other_code(package: Path, changed: str) -> None:
    before = digest(package)
    file = package / changed
    file.write_text(file.read_text().replace("2", "3").replace("0.5", "0.4"))
    assert digest(package) != before


def test_a_new_module_is_other_code(package: Path) -> None:
    before = digest(package)
    (package / "models" / "new.py").write_text("")
    assert digest(package) != before


def test_comments_docstrings_and_lines_are_not(package: Path) -> None:
    before = digest(package)
    (package / "data" / "code.py").write_text(
        '"""New."""\n# New.\ndef double(x):\n    """New."""\n\n    return (2 * x)\n'
    )
    assert digest(package) == before


def test_nor_is_code_that_no_training_runs(package: Path) -> None:
    before = digest(package)
    (package / "report" / "code.py").write_text("")
    assert digest(package) == before


def test_the_software_is_named_with_its_versions() -> None:
    versions = {"xray_hpc", "python", "tensorflow", "keras", "numpy", "opencv"}
    assert software_identity().keys() == versions | {"code"}
    assert all(software_identity().values())
