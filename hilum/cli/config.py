"""`hilum config`: the settings as they are in force, as TOML that can be used again."""

import json
import os
from typing import Any

from hilum.cli.options import ConfigFile
from hilum.cli.terminal import console
from hilum.config.loading import Loaded, load, setting_keys
from hilum.config.masking import mask_credentials


def config(config: ConfigFile = None) -> None:
    """Print the effective settings and where each comes from, secrets masked."""
    console.print(as_toml(load(os.environ, config=config)), markup=False)


def as_toml(loaded: Loaded) -> str:
    """Return the settings as a TOML document; a remark names the source of each."""
    lines: list[str] = []
    section = ""
    values = loaded.settings.model_dump(mode="json")
    for key in setting_keys():
        if key[0] != section and len(key) > 1:
            section = key[0]
            lines += ["", f"[{section}]"]
        value = values[key[0]] if len(key) == 1 else values[key[0]][key[1]]
        source = loaded.origins.get(key, "default")
        if value is None:
            lines.append(f"# {key[-1]} is not set")
        else:
            lines.append(f"{f'{key[-1]} = {_toml(value)}':<40} # {source}")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(
            f"{json.dumps(name)} = {_toml(part)}"
            for name, part in value.items()
            if part is not None  # TOML has no word for it
        )
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, str):
        # A JSON string is a TOML basic string.
        return json.dumps(mask_credentials(value), ensure_ascii=False)
    return json.dumps(value)
