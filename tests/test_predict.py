"""``python -m xray_hpc.predict`` with models that predict pneumonia for bright images."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.data.test_dicom import write
from tests.hold import Hold
from xray_hpc import predict
from xray_hpc.data.decode import UNIDENTIFIED
from xray_hpc.data.index import build_index
from xray_hpc.errors import UserError
from xray_hpc.models.model_card import ModelCard, add_card
from xray_hpc.records.atomic_files import write_json
from xray_hpc.records.file_state import file_state
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import RunRecord, Status, update_record, write_record

REPOSITORY = Path(__file__).parents[1]
VERB = (sys.executable, "-W", "error", "-m", "xray_hpc.predict")
Predict = Callable[..., int]


def save_model(path: Path, classes: Sequence[str] = ("NORMAL", "PNEUMONIA")) -> Path:
    """Save a model for images of 10 pixels that scores the mean of the central 8 pixels.

    Of two classes, the score of the second is 0.5 for mid-grey. Of three classes, the first has the
    highest score for dark images, the second for mid-grey and the third for bright images.
    """
    inputs = keras.Input((8, 8, 1))
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    if len(classes) == 2:
        activation, weights = "sigmoid", ([[8.0]], [-4.0])
    else:
        activation, weights = "softmax", ([[0.0, 8.0, 16.0]], [0.0, -2.0, -8.0])
    logits = keras.layers.Dense(len(weights[1]), name="logits")
    model = keras.Model(inputs, keras.layers.Activation(activation)(logits(mean)))
    logits.set_weights([np.array(values) for values in weights])
    model.save(path)
    threshold = 0.5 if len(classes) == 2 else None
    add_card(path, ModelCard("cnn-1a2b3c4d", "cnn", tuple(classes), threshold, 10, 0.8, 1, None))
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model.keras")


@pytest.fixture(scope="session")
def three_class_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("three") / "model.keras"
    return save_model(path, ("Covid", "Normal", "Viral Pneumonia"))


def save_image(path: Path, grey: int) -> Path:
    """Save a uniform image with a black frame that the central crop removes."""
    pixels = np.zeros((10, 10), np.uint8)
    pixels[1:-1, 1:-1] = grey
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def score_of(grey: int) -> float:
    return 1 / (1 + math.exp(4 - 8 * grey / 255))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a dark and a bright image."""
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "images" / "bright.png", 220)
    save_image(tmp_path / "images" / "dark.png", 30)
    return tmp_path


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Call ``main`` in this process and return its exit code."""

    def call(*words: str | Path, stdin: bytes = b"") -> int:
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return predict.main()

    return call


def rows(path: str | Path = "predictions.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(name: str, path: str = "predictions.csv") -> list[str]:
    return [row[name] for row in rows(path)]


def test_predict_writes_a_table_and_a_csv_file(
    here: Path, model: Path, call: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(model, "images") == 0
    assert capsys.readouterr().out.splitlines() == [
        "path               score_PNEUMONIA  label",
        "images/bright.png           0.9479  PNEUMONIA",
        "images/dark.png             0.0448  NORMAL",
        "",
        "1 NORMAL, 1 PNEUMONIA",
        "predictions.csv",
    ]
    bright, dark = rows()
    assert list(bright) == ["path", "score_NORMAL", "score_PNEUMONIA", "logit", "label", "error"]
    assert float(bright["score_PNEUMONIA"]) == pytest.approx(score_of(220), abs=1e-6)
    assert float(bright["logit"]) == pytest.approx(8 * 220 / 255 - 4, abs=1e-5)
    assert float(bright["score_NORMAL"]) == pytest.approx(1 - score_of(220), abs=1e-6)
    assert (dark["label"], dark["error"]) == ("NORMAL", "")


def test_predict_ignores_the_users_settings_of_keras(here: Path, model: Path) -> None:
    settings = {"floatx": "float16", "image_data_format": "channels_first", "backend": "jax"}
    write_json(here / "keras.json", settings)
    variables = {"KERAS_HOME": str(here), "TF_ENABLE_ONEDNN_OPTS": "0"}
    for output, environment in {"default.csv": {}, "user.csv": variables}.items():
        command = [*VERB, model, "images", "-o", output]
        subprocess.run(command, check=True, env=os.environ | environment)
    assert Path("user.csv").read_bytes() == Path("default.csv").read_bytes()


def test_predict_takes_the_highest_score_of_three_classes(
    here: Path, three_class_model: Path, call: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    save_image(here / "images" / "middle.png", 130)
    assert call(three_class_model, "images") == 0
    assert column("label") == ["Viral Pneumonia", "Covid", "Normal"]
    for row in rows():
        scores = {name: float(row[f"score_{name}"]) for name in ("Covid", "Normal")}
        scores["Viral Pneumonia"] = float(row["score_Viral Pneumonia"])
        assert sum(scores.values()) == pytest.approx(1, abs=1e-6)
        assert row["label"] == max(scores, key=lambda name: scores[name])
    head, *_ = capsys.readouterr().out.splitlines()
    assert head.endswith("  score_Covid  score_Normal  score_Viral Pneumonia  label")


def test_rows_are_in_the_given_order_and_folders_sorted_by_name(
    here: Path, model: Path, call: Predict
) -> None:
    save_image(here / "images" / "b" / "1.png", 9)
    save_image(here / "z.png", 9)
    assert call(model, "z.png", "images", "images/dark.png", "z.png") == 0
    folder = ["images/b/1.png", "images/bright.png", "images/dark.png"]
    assert column("path") == ["z.png", *folder, "images/dark.png", "z.png"]


def test_predict_reads_paths_from_standard_input(here: Path, model: Path, call: Predict) -> None:
    assert call(model, "-", stdin=b"images/dark.png\r\n\nimages\n") == 0
    assert column("path") == ["images/dark.png", "images/bright.png", "images/dark.png"]


@pytest.mark.parametrize("listed", [True, False])
def test_missing_file_is_a_row_with_an_error(
    here: Path, model: Path, call: Predict, listed: bool
) -> None:
    names = ["images/drak.png", "images/dark.png"]
    if listed:
        assert call(model, "-", stdin="\n".join(names).encode()) == 1
    else:
        assert call(model, *names) == 1
    assert [bool(error) for error in column("error")] == [True, False]
    assert rows()[0]["error"].endswith(f"no 'drak.png' in {here}/images; did you mean 'dark.png'?")


def test_existing_file_is_replaced_only_on_request(
    here: Path, model: Path, call: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("predictions.csv").write_text("old\n")
    with pytest.raises(UserError, match=r"^predictions.csv exists; replace it with --overwrite"):
        call(model, "images")
    assert Path("predictions.csv").read_text() == "old\n"
    assert call(model, "images", "--overwrite") == 0
    assert len(rows()) == 2


def test_broken_images_are_rows_with_their_errors(
    here: Path, model: Path, call: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "images" / "cut.png").write_bytes((here / "images" / "dark.png").read_bytes()[:60])
    (here / "images" / "empty.png").touch()
    (here / "images" / "text.png").write_text("no image")
    assert call(model, "images") == 1
    assert column("label") == ["PNEUMONIA", "", "NORMAL", "", ""]
    assert column("error")[3:] == ["empty file", UNIDENTIFIED]
    assert column("score_NORMAL")[1] == ""
    captured = capsys.readouterr()
    assert "images/empty.png                 -  error: empty file" in captured.out
    assert "1 NORMAL, 1 PNEUMONIA, 3 without a score" in captured.out
    assert "3 of 5 images could not be scored: images/cut.png: " in captured.err


def test_predict_scores_dicom_images(here: Path, model: Path, call: Predict) -> None:
    bright = np.tile(np.arange(16), (16, 1)) + 200
    write(here / "images" / "a.dcm", bright, 8, WindowCenter=128, WindowWidth=256)
    write(here / "IM000001", bright, 8, WindowCenter=128, WindowWidth=256)
    assert call(model, "images", "IM000001") == 0
    assert column("label") == ["PNEUMONIA", "PNEUMONIA", "NORMAL", "PNEUMONIA"]


def test_predict_writes_a_row_for_each_path_if_no_image_can_be_read(
    here: Path, model: Path, call: Predict
) -> None:
    (here / "empty.png").touch()
    Path("broken").symlink_to("away")
    paths = ["empty.png", "broken", "/dev/null", "gone.png", "images/dark.png/x"]
    assert call(model, *paths) == 1
    assert column("path") == paths
    assert column("label") == [""] * len(paths)
    assert column("error")[:3] == ["empty file", "a broken link", "neither a file nor a folder"]


def test_nan_score_is_a_row_with_an_error(here: Path, call: Predict, tmp_path: Path) -> None:
    path = save_model(tmp_path / "diverged.keras")
    diverged = keras.saving.load_model(path)
    diverged.set_weights([np.full_like(value, np.nan) for value in diverged.get_weights()])
    diverged.save(path)
    add_card(path, ModelCard("cnn-1", "cnn", ("A", "B"), 0.5, 10, 0.8, 1, None))
    assert call(path, "images") == 1
    assert column("label") == ["", ""]
    assert set(column("error")) == {"the model's score is not finite"}


def test_score_above_the_threshold_is_positive(here: Path, model: Path, call: Predict) -> None:
    call(model, "images")
    bright = column("score_PNEUMONIA")[0]
    call(model, "images", "--overwrite", "--threshold", bright)
    assert column("label") == ["NORMAL", "NORMAL"]
    call(model, "images", "--overwrite", "--threshold", repr(math.nextafter(float(bright), 0)))
    assert column("label") == ["PNEUMONIA", "NORMAL"]


def test_predict_writes_csv_to_standard_output(
    here: Path, model: Path, call: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(model, "images", "-o", "-") == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in table] == ["PNEUMONIA", "NORMAL"]
    assert not (here / "predictions.csv").exists()


@pytest.fixture
def run(here: Path, model: Path) -> Path:
    """The folder of a finished run."""
    folder = Path("results", "s", "runs", "cnn-1a2b3c4d")
    folder.mkdir(parents=True)
    write_record(RunPaths(folder), RunRecord(folder.name, "s", "cnn", Status.FINISHED))
    (folder / "model.keras").write_bytes(model.read_bytes())
    return folder


def test_predict_takes_the_folder_of_a_run(run: Path, model: Path, call: Predict) -> None:
    call(run, "images", "-o", "by_run.csv")
    call(model, "images")
    assert Path("by_run.csv").read_bytes() == Path("predictions.csv").read_bytes()


@pytest.mark.parametrize("name", ["cnn-1a", "s/cnn-1a2b3c4d", "results/s/runs/cnn"])
def test_predict_takes_the_start_of_a_runs_name(run: Path, call: Predict, name: str) -> None:
    assert call(name, "images") == 0
    assert column("label") == ["PNEUMONIA", "NORMAL"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cnm-1a2b3c4d", "there is no run 'cnm-1a2b3c4d' in results; did you mean 'cnn-1a2b3c4d'"),
        ("", "is not the folder of a run"),
        ("t/cnn", "there is no sweep 't' in results; choose one of s"),
    ],
)
def test_unknown_run_is_rejected(run: Path, call: Predict, name: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        call(name, "images")


@pytest.mark.parametrize("folder", ["results", "results/s", "results/s/runs"])
def test_other_folder_is_rejected_with_its_finished_runs(
    run: Path, call: Predict, folder: str
) -> None:
    (run.parent / "tl-5e6f7a8b").mkdir()
    with pytest.raises(UserError, match=f"^{folder} is not .*: {run}$"):
        call(folder, "images")


def test_changed_model_of_a_run_is_rejected(run: Path, call: Predict) -> None:
    keras_file = RunPaths(run).model
    update_record(RunPaths(run), files={keras_file.name: file_state(keras_file)})
    assert call(run, "images") == 0
    content = bytearray(keras_file.read_bytes())
    content[len(content) // 2] ^= 1
    keras_file.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.keras"):
        call(run, "images", "--overwrite")


def test_unfinished_run_is_rejected(run: Path, call: Predict) -> None:
    update_record(RunPaths(run), status=Status.RUNNING)
    with pytest.raises(UserError, match="is running"):
        call(run, "images")
    update_record(RunPaths(run), status=Status.INTERRUPTED, failure="cancelled")
    with pytest.raises(UserError, match="is cancelled; only finished"):
        call(run, "images")
    with pytest.raises(UserError, match=r"results/s is not .* no finished run"):
        call("results/s", "images")


def test_run_without_its_model_file_is_rejected(run: Path, call: Predict) -> None:
    (run / "model.keras").unlink()
    with pytest.raises(UserError, match=r"model\.keras is missing"):
        call(run, "images")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["model.kears", "images"], "no 'model.kears' in .*; did you mean 'model.keras'"),
        (["images", "images"], "images is not the folder of a run"),
        (["images/dark.png", "images"], "is not a saved Keras model"),
        (["M", "nothing"], "no images in nothing; ignored 1 file"),
        (["M", "-"], "no images in standard input"),
        (["M", "images", "-t", "1.5"], "--threshold is 1.5"),
        (["M", "images", "-t", "nan"], "--threshold is nan"),
        (["M", "images", "-o", "images/dark.png"], "must end in .csv"),
        (["M", "images", "-o", "none/p.csv"], "--output is none/p.csv: no 'none' in"),
        (["M", "images", "-o=~/none/p.csv"], f"--output is {Path.home()}/none/p.csv: no 'none' in"),
        (["M", "images", "-o", "folder.csv"], "exists and is not a file"),
    ],
)
def test_invalid_arguments_are_found_before_tensorflow_is_loaded(
    here: Path,
    model: Path,
    call: Predict,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    line: str,
) -> None:
    (here / "model.keras").write_bytes(model.read_bytes())
    (here / "nothing").mkdir()
    (here / "nothing" / "notes.txt").touch()
    (here / "folder.csv").mkdir()
    monkeypatch.setitem(sys.modules, "xray_hpc.models.load_scorer", None)
    with pytest.raises(UserError, match=line):
        call(*(model if word == "M" else word for word in words))
    assert not (here / "predictions.csv").exists()


LONG = "x" * 300


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([LONG, "images"], "there is no run 'xxx"),
        ([f"{LONG}.keras", "images"], r"cannot read xxx.*: File name too long"),
        (["fifo", "images"], "cannot read fifo: a FIFO"),
        (["loop", "images"], "cannot read loop: Too many levels of symbolic links"),
        (["/dev/zero", "images"], "cannot read /dev/zero: a device"),
        (["M", "images", "-o", f"{LONG}.csv"], r"--output is xxx.*: File name too long"),
        (["M", "images", "-o", f"{LONG}/p.csv"], r"--output is xxx.*: File name too long"),
        (["M", "images", "-o", "loop/p.csv"], "--output is loop/p.csv: Too many levels"),
        (["M", "images", "-o", "images/dark.png/p.csv"], "--output is images/dark.png/p.csv: "),
        (["M", "images", "-o", "fifo.csv", "--overwrite"], "exists and is not a file"),
    ],
)
def test_anything_but_files_is_rejected_without_waiting(
    here: Path, model: Path, call: Predict, words: list[str], line: str
) -> None:
    for name in ("fifo", "fifo.csv"):
        os.mkfifo(name)
    Path("loop").symlink_to("loop")
    with pytest.raises(UserError, match=line):
        call(*(model if word == "M" else word for word in words))


@pytest.mark.parametrize("name", ["run.json", "model.keras"])
@pytest.mark.parametrize(
    "replace",
    [os.mkfifo, os.mkdir, lambda path: os.symlink(path.name, path)],
    ids=["FIFO", "folder", "link to itself"],
)
def test_run_with_anything_but_files_is_rejected_without_waiting(
    run: Path, call: Predict, name: str, replace: Callable[[Path], None]
) -> None:
    (run / name).unlink()
    replace(run / name)
    with pytest.raises(UserError, match=name):
        call(run, "images")


def test_predict_takes_thousands_of_names(here: Path, model: Path, call: Predict) -> None:
    assert call(model, *(["images/dark.png", "gone.png"] * 3000)) == 1
    assert column("label") == ["NORMAL", ""] * 3000


@pytest.mark.parametrize(
    ("key", "value"),
    [("classes", ["A", "A"]), ("classes", ["A"]), ("crop", math.nan), ("threshold", 2), ("run", 3)],
)
def test_invalid_card_is_one_line(here: Path, model: Path, key: str, value: object) -> None:
    with zipfile.ZipFile(model) as source, zipfile.ZipFile("own.keras", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "xray_hpc.json":
                content = json.dumps(json.loads(content) | {key: value}).encode()
            target.writestr(name, content)
    done = subprocess.run([*VERB, "own.keras", "images"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: xray_hpc.json in own.keras is invalid ({key} is ")
    assert done.stderr.count("\n") == 1
    assert not Path("predictions.csv").exists()


def test_threshold_is_rejected_for_three_classes(
    here: Path, three_class_model: Path, call: Predict
) -> None:
    with pytest.raises(UserError, match=r"--threshold .* cnn-1a2b3c4d has 3"):
        call(three_class_model, "images", "-t", "0.3")


def test_table_fits_the_terminal(
    here: Path,
    model: Path,
    call: Predict,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("COLUMNS", "60")
    folder = here / "images" / ("long" * 20)
    for i in range(1200):
        save_image(folder / f"{i:04}.png", i % 256)
    assert call(model, "images") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 24
    assert "... and 1,186 more in predictions.csv" in lines
    assert max(map(len, lines)) <= 60
    assert lines[3].startswith("...")
    assert "/0000.png  " in lines[3]
    assert len(rows()) == 1202


def test_unprintable_names_are_escaped(
    here: Path, model: Path, call: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    image = (here / "images" / "dark.png").read_bytes()
    names = [b"caf\xe9.png", b"red\x1b[31m.png", b"two\nlines.png", "größe, ß.png".encode()]
    for name in names:
        Path(os.fsdecode(b"images/" + name)).write_bytes(image)
    assert call(model, "images") == 0
    out = capsys.readouterr().out
    assert r"images/caf\udce9.png" in out
    assert r"images/red\x1b[31m.png" in out
    assert r"images/two\nlines.png" in out
    assert set(column("label")) == {"NORMAL", "PNEUMONIA"}
    assert "images/größe, ß.png" in column("path")
    assert r"images/caf\udce9.png" in column("path")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_missing_permissions_are_reported(here: Path, model: Path, call: Predict) -> None:
    (here / "images" / "dark.png").chmod(0)
    (here / "images" / "closed").mkdir(mode=0)
    assert call(model, "images") == 1
    assert column("error") == [
        "",
        "unreadable folder: permission denied",
        "no permission to read it",
    ]
    (here / "fixed").mkdir(mode=0o500)
    with pytest.raises(UserError, match="no write permission"):
        call(model, "images", "-o", "fixed/p.csv")


def test_interrupt_leaves_the_old_file_unchanged(
    here: Path, model: Path, call: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("predictions.csv").write_text("old\n")
    before = sorted(here.iterdir())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("xray_hpc.prediction.prediction_table.PredictionTable.add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        call(model, "images", "--overwrite")
    assert sorted(here.iterdir()) == before
    assert Path("predictions.csv").read_text() == "old\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_leaves_no_partial_file(
    here: Path,
    model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    number: signal.Signals,
    code: int,
) -> None:
    folder = tmp_path_factory.mktemp("hold")
    hold = Hold(folder / "hold", "xray_hpc.predict", "images/dark.png", event="open")
    hold.begin()
    with subprocess.Popen(
        [*VERB, str(model), "images"],
        env=os.environ | hold.environment,
        stderr=subprocess.DEVNULL,
    ) as command:
        hold.wait_for(command)
        assert list(here.glob(".*.predictions.csv"))
        command.send_signal(number)
        hold.release()
        assert command.wait() == code
    assert [path.name for path in here.iterdir()] == ["images"]


def test_closed_pipe_ends_the_command_silently(here: Path, model: Path) -> None:
    for i in range(3000):
        (here / "images" / f"copy{i}.png").hardlink_to(here / "images" / "dark.png")
    command = " ".join([*VERB, str(model), "images", "-o", "-"])
    ended = subprocess.run(
        ["bash", "-c", f"{command} | head -1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "path,score_NORMAL,score_PNEUMONIA,logit,label,error\n"
    assert ended.returncode == 141
    assert ended.stderr.splitlines()[1:] == []


NAMES = ("Covid", "Normal", "Viral Pneumonia")
OF_THREE = {f"y_scores_{name}": f"score_{name}" for name in NAMES}
OF_THREE |= {f"logit_{name}": f"logit_{name}" for name in NAMES}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"y_scores": "score_PNEUMONIA", "logit": "logit"}, ["data.crop=0.8", "data.clahe=2"]),
        (OF_THREE, ["data.demo_classes=3"]),
    ],
    ids=["two classes", "three classes"],
)
def test_predict_reproduces_the_test_scores_of_a_run(
    here: Path, call: Predict, columns: dict[str, str], words: list[str]
) -> None:
    data = ["data.demo_images=60", "data.image_size=40", *words]
    train = [sys.executable, "-m", "xray_hpc.train", "model=cnn", "train.epochs=1", "name=s", *data]
    subprocess.run(train, check=True, capture_output=True)
    (folder,) = Path("results/s/runs").iterdir()
    frozen = read_frozen_run(RunPaths(folder))
    root = build_index(frozen.config.data, frozen.cache).root
    given = rows(RunPaths(folder).scores("cnn", "test"))
    listed = "".join(f"{root / row['file']}\n" for row in given)
    assert call(folder, "-", stdin=listed.encode()) == 0
    for row, predicted in zip(given, rows(), strict=True):
        for theirs, ours in columns.items():
            assert float(predicted[ours]) == pytest.approx(float(row[theirs]), abs=1e-5)


def test_help_imports_no_heavy_library(here: Path) -> None:
    heavy = ("tensorflow", "keras", "numpy", "PIL", "pandas", "h5py", "hydra", "matplotlib")
    program = f"import sys; sys.modules.update(dict.fromkeys({heavy})); sys.argv = ['x', '--help']"
    program += "; import runpy; runpy.run_module('xray_hpc.predict', run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: python -m xray_hpc.predict")


def test_stderr_has_only_the_lines_of_the_command(here: Path, model: Path) -> None:
    ended = subprocess.run([*VERB, str(model), "images"], capture_output=True, text=True)
    request, progress = ended.stderr.splitlines()
    assert request == "cnn-1a2b3c4d: 2 images; label: PNEUMONIA if its score exceeds 0.5"
    assert progress.startswith("scoring images 2/2, ")
    assert ended.returncode == 0
