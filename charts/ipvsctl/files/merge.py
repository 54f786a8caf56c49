"""Puts settings over those of a KubeProxyConfiguration, one by one.

    python merge.py EXISTING OVERRIDES RESULT

The first two are YAML, the result is JSON. What OVERRIDES does not name stays as it is,
within sections too; a list is replaced. Whether the result is right is for `ipvsctl
run` to say. Runs in the image, with what ipvsctl needs itself.
"""

# A script that is put into a pod, no module of a package.
# ruff: noqa: INP001

import json
import sys
from pathlib import Path

import yaml


def read(path: str) -> dict[str, object]:
    """The only document of a file."""
    text = Path(path).read_text(encoding="utf-8")
    found = [item for item in yaml.safe_load_all(text) if item is not None]
    if len(found) != 1 or not isinstance(found[0], dict):
        sys.exit(f"{path}: not one document with settings")
    return found[0]


def merge(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    """What is above wins."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merge(old, value) if both else value
    return result


if __name__ == "__main__":
    existing, overrides, target = sys.argv[1:]
    Path(target).write_text(
        json.dumps(merge(read(existing), read(overrides)), indent=2)
    )
