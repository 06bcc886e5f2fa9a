"""Hold this process where the file in ``XRAY_HPC_TEST_HOLD`` says; see ``tests.hold``."""

import json
import os
import sys
import time

HOLD = os.environ.get("XRAY_HPC_TEST_HOLD", "")


def hold_at(point: dict[str, object]) -> None:
    seen = 0
    path_index = 1 if point["event"] == "os.rename" else 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event != point["event"] or not str(args[path_index]).endswith(str(point["suffix"])):
            return
        seen += 1
        if seen != point["count"] or not os.path.exists(HOLD):
            return
        with open(f"{HOLD}.held", "a") as file:
            file.write(f"{os.getpid()}\n")
        while os.path.exists(HOLD) and not asked_to_exit():
            time.sleep(0.02)

    sys.addaudithook(hook)


def asked_to_exit() -> bool:
    signals = sys.modules.get("xray_hpc.training.signals")
    return signals is not None and signals.received_signal() is not None


if os.path.exists(HOLD):
    with open(HOLD) as file:
        point = json.load(file)
    if point["program"] in " ".join(sys.orig_argv):
        while os.path.exists(f"{HOLD}.starts"):
            time.sleep(0.02)
        hold_at(point)
