"""Holds predictions against measurements: the page's verdict before the download, and what the same page then measures.

    python -m benchmarks.weigh_in [--rounds 3] [--minutes 15] [--only TEXT] [--json FILE] [--continue]
    python -m benchmarks.weigh_in --report [--json FILE] [--adopt] [--calibrate] [--write]

Every model, dtype and number of threads gets a fresh browser, a fresh probe, a verdict for each context, the real
download and real runs; some of them on lesser devices, too. The constants of the cost model were chosen by the
combinations that say so. `--calibrate` writes the errors to where the intervals are made of them
(static/device/calibration.js, convert/fit/calibration.json); the share inside is leave-one-out: each combination is
judged by an interval made of the others.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks import machine
from benchmarks.results import Results, adopt
from benchmarks.weigh_in import accuracy, document
from benchmarks.weigh_in.files import prepare
from benchmarks.weigh_in.measuring import measure
from benchmarks.weigh_in.rows import Visit, visits
from e2e.conftest import FLAGS, chromium_path

FOLDER = "weigh_in"
"""Of benchmarks/results."""


def main() -> None:
    """Measure or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="those that take minutes are in the first one only")
    parser.add_argument("--minutes", type=float, default=15, help="after these, only the first round is finished")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="visits whose title (LIMITS: MODEL DTYPE, N threads) has it"
    )
    parser.add_argument("--json", type=Path, default=Path("build/bench/weigh_in.json"), metavar="FILE", help="result")
    parser.add_argument("--continue", action="store_true", dest="go_on", help="keep what FILE has, measure the rest")
    parser.add_argument("--report", action="store_true", help="measure nothing: tables of FILE")
    parser.add_argument("--adopt", action="store_true", help="with --report: FILE becomes a committed result")
    parser.add_argument("--calibrate", action="store_true", help="with --report: write the intervals' scores")
    parser.add_argument("--write", action="store_true", help="with --report: the tables into docs/weigh_in.md")
    options = parser.parse_args()
    if not options.report:
        wanted = [visit for visit in visits() if options.only in visit.title]
        if not wanted:
            parser.error(f"no visit's title has {options.only!r}")
        prepare({visit.model for visit in wanted}, _say)
        run(wanted, options)
    results = Results.load(options.json)
    text = document.report(_whole(results))
    print(text)
    if options.report:
        if options.adopt:
            adopt(results, FOLDER)
        if options.calibrate:
            accuracy.calibrate([found for found in results.runs if found["limits"] == "none"])
        if options.write:
            document.write(text)


def run(wanted: list[Visit], options: argparse.Namespace) -> None:
    """The first round, and as many of the others as fit into the minutes; the file has all so far at any time."""
    end = time.monotonic() + 60 * options.minutes
    with sync_playwright() as playwright:
        if options.go_on and options.json.exists():
            results = Results.load(options.json)
        else:
            browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=FLAGS)
            results = Results(machine.facts(browser.version), {"rounds": options.rounds})
            browser.close()
        done = {(_title(found), found["round"]) for found in results.runs}
        for round_number in range(options.rounds):
            for visit in wanted:
                if (visit.title, round_number) in done or (visit.once and round_number > 0):
                    continue
                if round_number > 0 and time.monotonic() > end:
                    return
                for found in measure(playwright, visit):
                    results.runs.append({**found, "round": round_number})
                    _say(f"round {round_number + 1}, {visit.title}, {found['context']}: {_line(found)}")
                results.save(options.json)


def _title(found: dict[str, Any]) -> str:
    return Visit(found["model"], found["dtype"], found["threads"], (), limits=found["limits"]).title


def _line(found: dict[str, Any]) -> str:
    if "skipped" in found:
        return f"skipped, {found['skipped']}"
    fits, ran = (
        ("fits" if found["supported"] else "does not fit"),
        ("ran" if found["ran"] else f"failed: {found['error']}"),
    )
    errors = {metric: accuracy.error(found, metric) for metric in accuracy.METRICS}
    told = ", ".join(f"{metric} {100 * value:+.0f} %" for metric, value in errors.items() if value is not None)
    return f"{fits}, {ran}; {told} ({found['took_s']} s)"


def _whole(results: Results) -> dict[str, Any]:
    return {**results.facts, "runs": results.runs}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
