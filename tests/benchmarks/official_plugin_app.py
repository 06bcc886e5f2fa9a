"""A Hydra application with the project's configuration whose runs do nothing."""

import hydra


@hydra.main(version_base="1.3", config_path="../../conf", config_name="config")
def main(config: object) -> None:
    pass


main()
