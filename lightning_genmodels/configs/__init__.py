"""Packaged configurations, one YAML each."""

from pathlib import Path


def packaged_configs() -> dict[str, Path]:
    """Name -> file of every packaged configuration, sorted by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
