"""Owns what a manifest keeps of a measurement: which figures, under which names, rounded to what can be repeated."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from convert import manifest
from convert.errors import FeatherweightError

DIGITS = 4
"""Significant digits that are kept: threads add in another order from run to run, and that moves the sixth."""


def record(model_dir: Path, dtype: str, figures: Mapping[str, Any]) -> manifest.Manifest:
    """Put ``figures`` (metric -> number or text) into the manifest under ``dtype``; other figures stay as they are.

    The manifest is replaced atomically. Its revision, under which the model is served, changes with its bytes; the
    files and their hashes do not.

    Raises:
        BadModelDirectory: there is no sound manifest, or it has no such variant.
        FeatherweightError: a figure is not finite.
        OSError: the disk refuses.
    """
    content = manifest.load(model_dir)
    content.variant(dtype)
    for name, value in figures.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise FeatherweightError(f"{name} is {value}, which no manifest can hold; try 'featherweight verify'")
    rounded = {
        name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for name, value in figures.items()
    }
    quality = {**content.quality, dtype: {**content.quality.get(dtype, {}), **rounded}}
    changed = replace(content, quality=quality)
    manifest.parse(changed.to_bytes())
    manifest.write(changed, model_dir)
    return changed
