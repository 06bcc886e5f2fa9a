"""A Hydra application with the project's configuration whose runs do nothing."""

import sys
from pathlib import Path

import hydra

REPOSITORY = str(Path(__file__).parents[2])

sys.path.append(REPOSITORY)
import xray_hpc.config.hydra_app  # noqa: E402, F401  (registers the defaults of all keys)

sys.path.remove(REPOSITORY)  # without the project's own Hydra plugins


@hydra.main(version_base="1.3", config_path="../../conf", config_name="config")
def main(config: object) -> None:
    pass


main()
