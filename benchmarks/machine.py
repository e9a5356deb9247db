"""Owns the facts about the machine and the software that figures are worth nothing without."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.model_files import ROOT

PYTHON_PACKAGES = ("onnxruntime", "xllamacpp", "playwright")
NPM_PACKAGES = {
    "onnxruntime-web": ROOT / "node_modules" / "onnxruntime-web",
    "@huggingface/transformers": ROOT / "node_modules" / "@huggingface" / "transformers",
    "@litertjs/core": ROOT / "benchmarks" / "node_modules" / "@litertjs" / "core",
    "@wllama/wllama": ROOT / "benchmarks" / "node_modules" / "@wllama" / "wllama",
}
BUSY_INTERVAL_S = 0.3


def facts(chromium: str) -> dict[str, Any]:
    """Date, machine and versions, as they go into a result file."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "system": platform.system(),
            "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        },
        "versions": {"chromium": chromium, **_python_versions(), **_npm_versions()},
    }


def busy_share() -> float:
    """Share of all cores that is busy now, 0 to 1, and taken away by other machines on the same host."""
    return round(float(psutil.cpu_percent(interval=BUSY_INTERVAL_S)) / 100, 3)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _python_versions() -> dict[str, str]:
    found = {}
    for name in PYTHON_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _npm_versions() -> dict[str, str]:
    found = {}
    for name, folder in NPM_PACKAGES.items():
        package = folder / "package.json"
        found[name] = json.loads(package.read_text())["version"] if package.exists() else "missing"
    return found
