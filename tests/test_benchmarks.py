"""The benchmarks stay true: rounds are fair, failures are shown, the README says what was measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import model_files, readme, report, runner, sizes
from benchmarks.results import COMMITTED, Results, newest
from benchmarks.sets import BY_DEFAULT, SETS
from benchmarks.sets.task import Task
from benchmarks.weigh_in import accuracy, document
from benchmarks.weigh_in.rows import visits
from tests.webapp.model_directory import write_model

ROOT = Path(__file__).parent.parent
FACTS = {
    "date": "2026-01-02",
    "machine": {"cpu": "a processor", "cores": 2, "memory_bytes": 8 << 30, "system": "Linux", "load_before": 0.0},
    "versions": {"chromium": "1"},
}


def results(*runs: tuple[str, str, int, dict[str, float] | str]) -> Results:
    """Runs of the set decoder: runtime, format, round, and measures or an error."""
    found = Results(FACTS, {"rounds": 2, "threads": 2, "quick": False})
    for runtime, form, round_number, outcome in runs:
        key = "error" if isinstance(outcome, str) else "measures"
        named = {"set": "decoder", "model": "smollm2-135m-instruct", "runtime": runtime, "format": form}
        found.runs.append({**named, "round": round_number, "busy_before": 0.1, key: outcome})
    return found


@pytest.mark.parametrize("command", [[], ["run"], ["report"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    arguments = [sys.executable, "-m", "benchmarks", *command, "--help"]
    assert "usage:" in subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_options_are_in_the_documentation() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    for command in ("run", "report"):
        arguments = [sys.executable, "-m", "benchmarks", command, "--help"]
        shown = subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=ROOT).stdout
        options = {word.strip("[],") for word in shown.split() if word.strip("[],").startswith("--")}
        for option in options - {"--help"}:
            assert f"`{option}" in text, option
    for name in SETS:
        assert f"`{name}`" in text, name


def test_rounds_run_everything_once_and_begin_elsewhere() -> None:
    tasks = [Task("set", "model", str(number), "format", lambda bench: {}, once=number == 4) for number in range(5)]
    orders = [[task.runtime for task in runner.order(tasks, number)] for number in range(3)]
    assert orders[0] == ["0", "1", "2", "3", "4"]
    assert [sorted(order) for order in orders[1:]] == [["0", "1", "2", "3"]] * 2
    assert len({order[0] for order in orders}) == 3


def test_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results(("Featherweight", "q4", 0, {"decode_tokens_per_s": 100.0})).save(path)
    assert Results.load(path).rows("decoder")[0].median("decode_tokens_per_s") == 100.0


def test_report_gives_medians_and_ratios() -> None:
    shown = report.everything(
        results(
            ("Featherweight", "q4", 0, {"decode_tokens_per_s": 90.0}),
            ("peer", "q4", 0, {"decode_tokens_per_s": 20.0}),
            ("peer", "int8", 0, {"decode_tokens_per_s": 25.0}),
            ("Featherweight", "q4", 1, {"decode_tokens_per_s": 110.0}),
            ("kin, native", "q4", 0, {"decode_tokens_per_s": 50.0}),
        )
    )
    assert "| Featherweight | q4 | 100 ±10 % |" in shown
    assert "| Decode | 4.00 x | 2.00 x |" in shown


def test_report_shows_what_failed() -> None:
    shown = report.everything(results(("peer", "q4", 0, "RuntimeError: no memory\nmore")))
    assert "| peer | q4 | failed |" in shown
    assert "peer q4, round 1: RuntimeError: no memory" in shown


def test_readme_has_the_tables_of_the_newest_result() -> None:
    text = readme.README.read_text()
    assert readme.BEGIN in text
    assert readme.END in text
    if not any(COMMITTED.glob("*.json")):
        pytest.skip("no result is committed yet: `python -m benchmarks report FILE --adopt --write-readme`")
    shown = text.split(readme.BEGIN)[1].split(readme.END)[0].strip()
    assert shown == readme.measured_part(Results.load(newest())), "run `python -m benchmarks report --write-readme`"


def test_readme_has_the_sizes_that_are_kept() -> None:
    shown = readme.README.read_text().split(readme.SIZES_BEGIN)[1].split(readme.SIZES_END)[0].strip()
    assert shown == readme.sizes_part(readme.committed()), "run `python -m benchmarks report --write-readme`"


@pytest.mark.parametrize("model", sizes.BUNDLED)
def test_kept_sizes_are_those_of_the_bundled_models(model: str) -> None:
    directory = ROOT / "models" / model
    if not (directory / "manifest.json").exists():
        pytest.skip("the bundled models are not made: `make models`")
    found = sizes.of_directory(directory, model)
    assert [size for size in sizes.kept() if size.model == model] == found, (
        "run `python -m benchmarks report --write-readme`"
    )


def test_sets_with_files_of_their_own_run_only_when_named() -> None:
    assert "gemma" in SETS
    assert "gemma" not in BY_DEFAULT


def test_weigh_in_has_the_tables_of_its_newest_result() -> None:
    found = json.loads(newest(COMMITTED / "weigh_in").read_text())
    shown = document.DOCUMENT.read_text().split(document.BEGIN)[1].split(document.END)[0].strip()
    assert shown == document.report(found), "run `python -m benchmarks.weigh_in --report --json FILE --write`"
    plain = [row for row in found["runs"] if row["limits"] == "none"]
    assert {row["tuned"] for row in plain} == {True, False}
    assert len({accuracy.key(row) for row in plain}) >= 12


def test_weigh_in_has_no_verdict_that_was_wrong() -> None:
    found = json.loads(newest(COMMITTED / "weigh_in").read_text())
    assert [row for row in found["runs"] if "skipped" not in row and not accuracy.is_true(row)] == []


def test_weigh_in_names_every_visit_once() -> None:
    titles = [visit.title for visit in visits()]
    assert len(titles) == len(set(titles))


def test_interval_is_judged_by_other_combinations_alone() -> None:
    def run(model: str, measured: float) -> dict[str, object]:
        row = {"limits": "none", "model": model, "dtype": "q4", "threads": 1, "context": 128, "tuned": False}
        return {**row, "predicted": {"load_s": 1.0}, "measured": {"load_s": measured}}

    rounds = [run("new", 2.0) for _ in range(20)]
    others = [run(f"model {at}", 1.0 + at / 1000) for at in range(20)]
    assert not accuracy.is_inside(rounds[0], "load_s", [*rounds, *others])
    assert accuracy.is_inside(others[0], "load_s", [*rounds, *others])


def test_models_are_made_once_and_again_when_their_manifest_is_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "ROOT", tmp_path)
    monkeypatch.setattr(model_files, "WORK", tmp_path)
    told: list[str] = []
    target = tmp_path / "models" / "tiny"
    for _ in range(2):
        model_files.once(target, told.append, write_model)
    assert told == ["preparing models/tiny"]
    document = json.loads((target / "manifest.json").read_text())
    del document["variants"][0]["largest_tensor_bytes"]
    (target / "manifest.json").write_text(json.dumps(document))
    for _ in range(2):
        model_files.once(target, told.append, write_model)
    assert told == ["preparing models/tiny"] * 2


def test_kept_scores_have_both_extremes() -> None:
    assert accuracy.spread([float(at) for at in range(100)], 4) == [0.0, 33.0, 66.0, 99.0]
    assert accuracy.spread([1.0, 2.0], 4) == [1.0, 2.0]
