from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Composer
from tests.other_user import BEN, MALLORY, needs_root, shared_folder
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import ConfigError
from xray_hpc.launching.launch_sweep import launch
from xray_hpc.launching.plan import make_plan
from xray_hpc.launching.relaunch import resume, submit_waiting
from xray_hpc.launching.saved_settings import EXECUTED, read_settings, write_settings
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import read_record

SETUP = ("module load cuda", "export API_KEY=hunter2")
WORD = "cluster.setup=[module load cuda, export API_KEY=hunter2]"


def written(folder: Path, **keys: Any) -> SweepPaths:
    sweep = SweepPaths(folder)
    write_settings(sweep, {"command": ["-m"]}, ClusterConfig("none", **keys))
    return sweep


def read(sweep: SweepPaths, *words: str, trust: bool = False) -> ClusterConfig:
    cluster = read_settings(sweep, words, trust=trust)["cluster"]
    assert isinstance(cluster, ClusterConfig)
    return cluster


def executed(cluster: ClusterConfig) -> dict[str, Any]:
    return {key: value for key in EXECUTED if (value := getattr(cluster, key))}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_settings_without_secrets_are_in_one_file(tmp_path: Path) -> None:
    keys = {"setup": ("export OMP_NUM_THREADS=4",), "extra": {"nice": "5"}}
    sweep = written(tmp_path, **keys)
    assert not sweep.private_yaml.exists()
    assert mode(sweep.sweep_yaml) == 0o644
    assert executed(read(sweep)) == keys


def test_secrets_are_in_a_private_file_only(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "setup": SETUP,
        "container": "run -e PASSWORD=hunter2",
        "extra": {"comment": "KEY=hunter2"},
    }
    sweep = written(tmp_path, **keys)
    assert "hunter2" not in sweep.sweep_yaml.read_text()
    assert "export API_KEY=<masked>" in sweep.sweep_yaml.read_text()
    assert mode(sweep.private_yaml) == 0o600
    cluster = read(sweep, "cluster.mem=1G")
    assert (cluster.mem, executed(cluster)) == ("1G", keys)


def test_a_private_file_is_removed_with_its_last_secret(tmp_path: Path) -> None:
    sweep = written(tmp_path, setup=SETUP)
    write_settings(sweep, {}, ClusterConfig("none"))
    assert not sweep.private_yaml.exists()


def test_secrets_that_are_given_anew_need_no_private_file(tmp_path: Path) -> None:
    sweep = written(tmp_path, setup=SETUP)
    sweep.private_yaml.unlink()
    with pytest.raises(ConfigError, match=r"private\.yaml .*cluster\.setup"):
        read(sweep)
    assert read(sweep, 'cluster.setup=["export API_KEY=other"]').setup == ("export API_KEY=other",)


def edit(sweep: SweepPaths, old: str, new: str) -> None:
    text = sweep.sweep_yaml.read_text()
    assert text.count(old) == 1
    sweep.sweep_yaml.write_text(text.replace(old, new))


def test_edits_of_settings_with_secrets_count(tmp_path: Path) -> None:
    extra = {"comment": "KEY=hunter2", "nice": "5"}
    sweep = written(tmp_path, setup=SETUP, extra=extra, mem="16G", container="x.sif")
    assert read_yaml(sweep.private_yaml) == {"cluster": {"setup": [*SETUP], "extra": extra}}
    edit(sweep, "mem: 16G", "mem: 64G")
    edit(sweep, "module load cuda", "module load cuda/12")
    edit(sweep, "nice: '5'", "nice: '6'")
    cluster = read(sweep)
    assert cluster.mem == "64G"
    assert cluster.setup == ("module load cuda/12", SETUP[1])
    assert cluster.extra == {"comment": "KEY=hunter2", "nice": "6"}
    assert read(sweep, "cluster.extra={nice: 7}").extra == {"comment": "KEY=hunter2", "nice": "7"}


def test_lines_that_differ_in_their_secret_only_stay_in_order(tmp_path: Path) -> None:
    setup = ("export KEY=a", "login", "export KEY=b")
    assert read(written(tmp_path, setup=setup)).setup == setup


@pytest.mark.parametrize("new", ["export OTHER=<masked>", "export API_KEY=<masked> X=1"])
def test_an_edited_line_with_a_mask_has_no_secret(tmp_path: Path, new: str) -> None:
    sweep = written(tmp_path, setup=SETUP)
    edit(sweep, "export API_KEY=<masked>", new)
    with pytest.raises(ConfigError, match=r"cluster\.setup"):
        read(sweep)
    assert read(sweep, "cluster.setup=[login]").setup == ("login",)


def test_a_launch_leaves_no_secret_in_files_for_reading(
    composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["seed=1", "cluster.kind=none"]
    plan = composer.plan(words, [*words[1:], "seed=2"])
    cluster = dataclasses.replace(plan.settings.cluster, setup=SETUP)
    settings = dataclasses.replace(plan.settings, cluster=cluster)
    launch(dataclasses.replace(plan, settings=settings), ["-m", "seed=1,2", WORD])
    sweep = plan.sweep
    resume(sweep, ["cluster.mem=1G"])
    shutil.rmtree(sweep.code)  # the changes of the checkout, this file among them
    files = [path for path in sweep.folder.rglob("*") if path.is_file()]
    holders = {path.name for path in files if b"hunter2" in path.read_bytes()}
    assert holders == {"private.yaml"}
    assert read_yaml(sweep.sweep_yaml)["command"] == ["-m", "seed=1,2", "cluster.setup=<masked>"]
    assert read(sweep).setup == SETUP
    assert "hunter2" not in capsys.readouterr().out


def test_a_plan_masks_secrets_of_overrides(composer: Composer) -> None:
    values = composer.values("cluster.kind=none")
    plan = make_plan([([WORD, "seed=1"], values)], default_name="sweep")
    launch(plan, [WORD])
    (name,) = plan.overrides
    masked = ["cluster.setup=<masked>", "seed=1"]
    record = read_record(plan.sweep.run(name))
    assert record is not None
    assert plan.overrides[name] == record.overrides == masked
    assert ledger.read(plan.sweep).planned[name] == masked


@needs_root
def test_a_user_who_cannot_read_the_secrets_is_told_whose_they_are() -> None:
    with shared_folder() as folder:
        sweep = written(folder, setup=SETUP)
        ended = BEN.run(
            "from pathlib import Path\n"
            "from xray_hpc.launching.saved_settings import read_settings\n"
            "from xray_hpc.records.paths import SweepPaths\n"
            "from xray_hpc.command_line import run",
            "run(lambda: print(read_settings("
            "SweepPaths(Path(sys.argv[1])), sys.argv[2:], trust=False)['cluster'].setup))",
            folder,
        )
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(f"error: {sweep.private_yaml} ")
        assert "root" in ended.stderr
        assert ended.stderr.count("\n") == 1


@needs_root
@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({"setup": ("evil\x1b[2J",)}, r"cluster.setup: ['evil\x1b[2J']"),
        ({"container": "evil"}, "cluster.container: evil"),
        ({"python": "/evil"}, "cluster.python: /evil"),
        ({"extra": {"nice": "5"}}, "cluster.extra: {'nice': '5'}"),
    ],
)
def test_what_is_executed_is_not_taken_from_files_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], shown: str
) -> None:
    sweep = written(tmp_path, **keys)
    os.chown(sweep.sweep_yaml, MALLORY.number, -1)
    with pytest.raises(ConfigError, match=rf"{MALLORY.number}.*--trust"):
        read(sweep, "cluster.mem=1G")
    assert capsys.readouterr().err.splitlines() == [shown]
    assert executed(read(sweep, trust=True)) == keys


@needs_root
def test_a_secret_of_others_is_shown_before_it_is_executed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = written(tmp_path, setup=("export K=a$(evil)",))
    os.chown(sweep.private_yaml, MALLORY.number, -1)
    with pytest.raises(ConfigError, match=r"private\.yaml .*--trust"):
        read(sweep)
    assert "a$(evil)" in capsys.readouterr().err


@needs_root
def test_settings_of_others_that_execute_nothing_need_no_flag(tmp_path: Path) -> None:
    sweep = written(tmp_path, mem="2G", partition="gpu")
    os.chown(sweep.sweep_yaml, MALLORY.number, -1)
    assert read(sweep).mem == "2G"


@needs_root
def test_own_values_replace_those_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = written(tmp_path, setup=("evil",), extra={"nice": "5", "comment": "x"})
    os.chown(sweep.sweep_yaml, MALLORY.number, -1)
    with pytest.raises(ConfigError, match="--trust"):
        read(sweep, "cluster.setup=[true]", "cluster.extra={nice: 5}")
    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.startswith("cluster.extra: ")
    given = ("cluster.setup=[]", "cluster.extra={nice: 6, comment: y}")
    assert read(sweep, *given).extra == {"nice": "6", "comment": "y"}


def test_a_file_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    sweep = written(tmp_path, setup=("true",))
    sweep.sweep_yaml.chmod(0o664)
    with pytest.raises(ConfigError, match=r"written by others.* --trust"):
        read(sweep)


@needs_root
def test_a_note_tells_that_the_settings_of_another_user_are_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = written(tmp_path)
    assert capsys.readouterr().out == ""
    os.chown(sweep.sweep_yaml, MALLORY.number, -1)
    write_settings(sweep, {}, ClusterConfig("none"))
    assert f"{sweep.sweep_yaml} of {MALLORY.number}" in capsys.readouterr().out


@needs_root
def test_a_group_that_shares_a_folder_cannot_edit_the_settings_in_place() -> None:
    with shared_folder() as folder:
        sweep = written(folder, setup=("true",))
        assert mode(sweep.sweep_yaml) == 0o644
        assert read(sweep).setup == ("true",)


@needs_root
def test_resume_and_waiting_runs_execute_nothing_of_others(composer: Composer) -> None:
    plan = composer.plan(["cluster.kind=none"])
    launch(plan, ["cluster=none"])
    sweep = plan.sweep
    write_settings(sweep, {"command": []}, ClusterConfig("none", setup=("evil",)))
    os.chown(sweep.sweep_yaml, MALLORY.number, -1)
    ledger.append(sweep, "waiting", runs=list(ledger.read(sweep).planned))
    for action in (resume, submit_waiting):
        with pytest.raises(ConfigError, match="--trust"):
            action(sweep)
    assert resume(sweep, trust=True) == 0
    assert sweep.sweep_yaml.stat().st_uid == os.geteuid()
