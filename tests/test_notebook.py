"""The notebook of the documentation, executed on a small sweep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorials" / "compare_runs.ipynb"
SMALL = ("data.demo_images=60", "data.image_size=32", "train.epochs=2", "train.batch_size=8")
SMALL += ("train.explain=false",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Launch the sweep of the notebook, with few and small images."""
    folder = tmp_path_factory.mktemp("notebook")
    words = ["-m", "model=cnn,tl", "name=models", "cluster=local", *SMALL]
    subprocess.run([sys.executable, "-m", "xray_hpc.launch", *words], cwd=folder, check=True)
    return folder


def test_notebook_is_stored_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


# The kernel's own libraries warn about their future.
@pytest.mark.filterwarnings("default")
def test_notebook_runs_on_a_sweep_and_loads_its_best_model(folder: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = {
        output["text/plain"] if "data" not in output else output["data"].get("text/plain", "")
        for cell in cells
        for output in cell.outputs
        if output["output_type"] == "execute_result"
    }
    assert "<LoadedSweep models: 2 runs>" in text
    assert "((None, 32, 32, 1), (None, 1))" in text
    refused = [output for cell in cells for output in cell.outputs if "text" in output]
    assert any("test_auc" in output["text"] for output in refused)
