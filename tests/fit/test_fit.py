"""The verdict on the command line: the golden numbers of both languages, profiles that are none, the output."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convert.fit.device import BadProfile, read_device
from convert.fit.verdict import conformal_factor
from tests.fit.golden import CASES, GOLDEN, golden, manifest_of, profile_of, verdict

ROOT = Path(__file__).parent.parent.parent
MANY_WORDS = "encoder-of-many-words"


def test_verdicts_are_the_golden_ones() -> None:
    assert golden() == json.loads(GOLDEN.read_text()), "run `python -m tests.fit.golden` after a wanted change"
    assert len(CASES) == 44


def test_published_errors_are_the_same_in_both_languages() -> None:
    text = (ROOT / "static" / "device" / "calibration.js").read_text()
    python = json.loads((ROOT / "convert" / "fit" / "calibration.json").read_text())
    javascript = {
        name: [float(value) for value in values.split(",") if value.strip()]
        for name, values in re.findall(r"^  (\w+): \[([^\]]*)\],$", text, re.MULTILINE)
    }
    assert javascript == python


def test_interval_holds_the_stated_share() -> None:
    scores = [index / 100 for index in range(1, 100)]
    factor = conformal_factor(scores)
    assert sum(score <= math.log(factor) + 1e-12 for score in scores) == 90
    assert conformal_factor([0.1]) == pytest.approx(math.exp(0.2))


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "convert", "fit", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "manifest.json").write_text(manifest_of("decoder"))
    (tmp_path / "laptop.json").write_text(json.dumps(profile_of("laptop")))
    return str(tmp_path / "manifest.json"), str(tmp_path / "laptop.json")


def test_command_prints_every_variant(files: tuple[str, str]) -> None:
    manifest, device = files
    told = run(manifest, "--device", device, "--json")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    verdicts = report["verdicts"]
    assert report["chosen"] == "q4"
    assert [item["plan"]["dtype"] for item in verdicts] == ["q4", "q8", "fp16"]
    assert [item["supported"] for item in verdicts] == [True, True, False]
    names = [
        [other and other["dtype"] for other in (item["alternatives"]["smaller"], item["alternatives"]["larger"])]
        for item in verdicts
    ]
    assert names == [[None, "q8"], ["q4", "fp16"], ["q8", None]]
    table = run(manifest, "--device", device)
    assert "runs slowly" in table.stdout or "runs well" in table.stdout
    assert "tokens/s" in table.stdout
    assert re.search(r"^the best here: q4\nnext larger: q8, runs .* tokens/s$", table.stdout, re.MULTILINE)
    asked = run(manifest, "--device", device, "--dtype", "q8")
    assert re.search(r"^asked for: q8\nnext smaller: q4, .*\nnext larger: fp16, no: ", asked.stdout, re.MULTILINE)


def test_a_gpu_is_predicted_by_its_rates_and_taken_within_its_limits() -> None:
    told = {case["model"]: verdict(case) for case in CASES if case["profile"] == "desktop" and len(case) == 2}
    assert told["wide"]["expected"]["decode_tokens_per_s"] > 100
    assert told["wide"]["decode_tokens_per_s"] is None  # how far off that is has not been published
    assert told["decoder"]["decode_tokens_per_s"] is not None  # its output matrix is too large for the GPU


def test_the_smaller_limit_of_a_gpu_judges_the_table_of_an_encoder() -> None:
    def taken(profile: str, dtype: str) -> str:
        of_onnxruntime = verdict({"profile": profile, "model": MANY_WORDS, "dtype": dtype, "backend": "ort-webgpu"})
        found = verdict({"profile": profile, "model": MANY_WORDS, "dtype": dtype})
        return "ort-webgpu" if found["memory"] == of_onnxruntime["memory"] else "wasm"

    # 192 MB and 768 MB, against 256 MiB in one buffer and 2 GiB in one binding.
    assert [taken("desktop", dtype) for dtype in ("q8", "fp32")] == ["ort-webgpu", "wasm"]
    # Against 256 MiB in one buffer and 128 MiB in one binding.
    assert [taken("unmeasured", dtype) for dtype in ("q8", "fp32")] == ["wasm", "wasm"]


def test_the_best_variant_is_the_preferred_one_that_fits() -> None:
    chosen = {case["profile"]: verdict(case)["plan"]["dtype"] for case in CASES if case["model"] == "wide"}
    assert chosen == {"laptop": "q4", "phone": "q4f16", "unmeasured": "q4", "desktop": "q4"}


BAD: dict[str, Any] = {
    "no_json": "{",
    "no_object": "[]",
    "other_format": json.dumps({**profile_of("laptop"), "format": "other"}),
    "zero_rate": json.dumps(profile_of("laptop")).replace('"bytes_per_s": 8100000000.0', '"bytes_per_s": 0'),
    "no_rates_for_threads": json.dumps(
        {**profile_of("laptop"), "rates": {**profile_of("laptop")["rates"], "by_threads": []}}
    ),
    "no_limit_of_a_buffer": json.dumps(profile_of("desktop")).replace('"max_buffer_size"', '"max_size"'),
    "too_long": " " * (1 << 21),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_rejects_what_is_no_profile(tmp_path: Path, content: str) -> None:
    (tmp_path / "device.json").write_text(content)
    with pytest.raises(BadProfile, match=re.escape(str(tmp_path))):
        read_device(tmp_path / "device.json")


def test_rejects_a_dtype_that_is_not_there(files: tuple[str, str]) -> None:
    manifest, device = files
    told = run(manifest, "--device", device, "--dtype", "q4f16")
    assert told.returncode == 1
    assert "q4, q8, fp16" in told.stderr
