"""Measures conversion of true-shape checkpoints, beside onnxruntime-genai's builder: wall time, memory, download.

    python -m benchmarks.conversion --work DIRECTORY [--rounds 3] [--builder PYTHON] [--results FILE]

DIRECTORY takes the checkpoints (5.3 GB, written when missing) and one converted model at a time. PYTHON is that of an
environment with torch, transformers and onnxruntime-genai; the builder runs once, needs 15 GiB of memory and half an
hour of patience on a small machine. Configurations are interleaved; medians are printed. Each finds the checkpoint in
the page cache, as far as memory goes.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import psutil

from benchmarks import machine
from benchmarks.model_files import ROOT
from tests.true_shapes import CHECKPOINTS

SAMPLE_S = 0.02
COMPLAINT_LIMIT = 2000
READ_BYTES = 8 << 20
BUILDER = "onnxruntime-genai builder, int4"
BUILDER_MODULE = "onnxruntime_genai.models.builder"


@dataclass(frozen=True)
class Subject:
    """One conversion."""

    name: str
    checkpoint: str
    options: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, checkpoint: Path, out: Path) -> list[str]:
        """What is run."""
        return [sys.executable, "-m", "convert", "convert", str(checkpoint), str(out), "--json", *self.options]


NUMPY = {"FEATHERWEIGHT_KERNELS": ""}
SUBJECTS = (
    Subject("gemma-2b q4, embedding 8 bits", "gemma-2b", ("--dtype", "q4")),
    Subject("gemma-2b q4, embedding 4 bits", "gemma-2b", ("--dtype", "q4", "--embedding-bits", "4")),
    Subject("gemma-2b q4, embedding 8 bits, without the native kernels", "gemma-2b", ("--dtype", "q4"), NUMPY),
    Subject("distilbert-sst2 q8", "distilbert-sst2", ("--dtype", "q8")),
    Subject("distilbert-sst2 q8, blocks of 32", "distilbert-sst2", ("--dtype", "q8", "--block-size", "32")),
    Subject("distilbert-sst2 q8, at most 60 MB", "distilbert-sst2", ("--dtype", "q8", "--target-size", "60MB")),
    Subject("distilbert-sst2 q8, embedding 4 bits", "distilbert-sst2", ("--dtype", "q8", "--embedding-bits", "4")),
)


def measure(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run ``command``: seconds, and the peak of its process tree sampled 50 times a second.

    ``peak_resident_bytes`` counts pages of mapped files that happen to be in memory, ``peak_anonymous_bytes`` only what
    the processes own.
    """
    with TemporaryFile("w+") as output, TemporaryFile("w+") as complaints:
        found = _watch(command, environment, output, complaints)
        if found.pop("code"):
            complaints.seek(0)
            raise SystemExit(f"{' '.join(command)}: {complaints.read()[-COMPLAINT_LIMIT:]}")
        output.seek(0)
        return {**found, "said": output.read()}


def _watch(
    command: Sequence[str], environment: Mapping[str, str], output: IO[str], complaints: IO[str]
) -> dict[str, Any]:
    started = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, cwd=ROOT, stdout=output, stderr=complaints, text=True
    )
    resident = anonymous = 0
    try:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                tree = [item.memory_info() for item in (root, *root.children(recursive=True))]
            except psutil.Error:
                continue
            resident = max(resident, sum(item.rss for item in tree))
            anonymous = max(anonymous, sum(item.rss - item.shared for item in tree))
            time.sleep(SAMPLE_S)
    finally:
        process.kill()
    code = process.wait()
    wall_s = time.monotonic() - started
    return {"code": code, "wall_s": wall_s, "peak_resident_bytes": resident, "peak_anonymous_bytes": anonymous}


def settle(checkpoint: Path) -> None:
    """Write out what came before, and read ``checkpoint`` into the page cache: nobody waits for others' traffic."""
    os.sync()
    for path in checkpoint.iterdir():
        with path.open("rb", buffering=0) as file:
            while file.read(READ_BYTES):
                pass


def convert(subject: Subject, work: Path) -> dict[str, float]:
    """One conversion into an empty place."""
    out = work / "converted"
    shutil.rmtree(out, ignore_errors=True)
    settle(work / subject.checkpoint)
    found = measure(subject.command(work / subject.checkpoint, out), subject.environment)
    report = json.loads(found.pop("said"))
    shutil.rmtree(out)
    return {**found, "download_bytes": report["variants"][0]["download_bytes"]}


def build(python: Path, work: Path) -> dict[str, float]:
    """The same checkpoint through the builder of onnxruntime-genai."""
    out = work / "built"
    settle(work / "gemma-2b")
    model = ["-i", str(work / "gemma-2b"), "-o", str(out), "-p", "int4", "-e", "cpu", "-c", str(work / "cache")]
    found = measure([str(python), "-m", BUILDER_MODULE, *model], {"HF_HUB_OFFLINE": "1"})
    found.pop("said")
    size_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    shutil.rmtree(work / "cache", ignore_errors=True)
    return {**found, "download_bytes": size_bytes}


def versions(python: Path | None) -> dict[str, str]:
    """What the builder runs with, and that it runs."""
    if python is None:
        return {}
    subprocess.run([str(python), "-c", f"import {BUILDER_MODULE}"], check=True)
    packages = ("onnxruntime-genai", "torch", "transformers")
    script = f"from importlib.metadata import version; print(*map(version, {packages}))"
    done = subprocess.run([str(python), "-c", script], capture_output=True, text=True, check=True)
    return dict(zip(packages, done.stdout.split(), strict=True))


def main() -> None:
    """Run all of them and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where checkpoints and outputs go")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--builder", type=Path, help="python of an environment with onnxruntime-genai")
    parser.add_argument("--results", type=Path, help="write one JSON object")
    options = parser.parse_args()
    described = machine.facts(chromium="")
    report = {key: described[key] for key in ("date", "machine")} | {"versions": versions(options.builder)}
    for name, write in CHECKPOINTS.items():
        if not (options.work / name / "config.json").exists():
            write(options.work / name)
    samples: dict[str, list[dict[str, float]]] = defaultdict(list)
    for round_number in range(options.rounds):
        for subject in SUBJECTS:
            print(f"round {round_number + 1}: {subject.name}", file=sys.stderr)
            samples[subject.name].append(convert(subject, options.work))
        if options.builder and round_number == 0:
            print(f"round 1: {BUILDER}", file=sys.stderr)
            samples[BUILDER].append(build(options.builder, options.work))
    report["results"] = [
        {"name": name, "runs": len(runs), **{key: statistics.median(run[key] for run in runs) for key in runs[0]}}
        for name, runs in samples.items()
    ]
    for row in report["results"]:
        print(
            f"{row['name']}: {row['wall_s']:.1f} s, peak {row['peak_resident_bytes'] / 2**20:.0f} MiB resident, "
            f"{row['peak_anonymous_bytes'] / 2**20:.0f} MiB anonymous, download {row['download_bytes'] / 1e6:.1f} MB"
        )
    if options.results:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        options.results.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
