"""Read the files of Hydra's groups as ``yaml_files`` reads all others."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from omegaconf import OmegaConf

from xray_hpc.config.yaml_files import read_yaml


# Hydra keeps the first source of a scheme if a later one has the same name.
class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's source of configuration files, with a loader of our own."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the content of the file ``config_path`` below the source's folder."""
        file = Path(self.path, self._normalize_file_name(config_path))
        if not file.exists():
            raise ConfigLoadError(f"Config not found : {file}")
        with file.open(encoding="utf-8", errors="replace") as stream:
            header = self._get_header_dict(stream.read(512))
        group = ".".join(PurePosixPath(config_path).parent.parts)
        package = header["package"] or group
        values = read_yaml(file, {"_global_": "", "_group_": group}.get(package, package))
        place = f"{self.scheme()}://{self.path}"
        return ConfigResult(self.provider, place, OmegaConf.create(values), header)


def use_own_source() -> None:
    """Make Hydra read its files with :class:`FileConfigSource`."""
    SourcesRegistry.instance().types["file"] = FileConfigSource
