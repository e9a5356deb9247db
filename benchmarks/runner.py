"""Owns the order of a benchmark: rounds in which every subject has its turn; failures are noted and passed over."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks import machine
from benchmarks.bench import FULL, QUICK, Bench
from benchmarks.results import Results
from benchmarks.sets import SETS
from benchmarks.sets.task import Task
from benchmarks.site import running
from e2e.conftest import FLAGS, chromium_path


def chosen(sets: list[str], only: str) -> list[list[Task]]:
    """The tasks of each set whose title holds ``only``."""
    found = [[task for task in SETS[name]() if only.lower() in task.title.lower()] for name in sets]
    return [tasks for tasks in found if tasks]


def order(tasks: list[Task], round_number: int) -> list[Task]:
    """The tasks of a round: each round begins further on, so that no runtime is always the first or the last."""
    due = [task for task in tasks if round_number == 0 or not task.once]
    first = round_number * len(due) // 3 % max(1, len(due))
    return due[first:] + due[:first]


def run(
    sets: list[list[Task]],
    *,
    rounds: int,
    minutes: float,
    threads: int,
    quick: bool,
    target: Path,
    say: Callable[[str], None],
) -> Results:
    """Run everything, or as many rounds after the first as fit into ``minutes``.

    ``target`` has all that was found so far at any time.
    """
    end = time.monotonic() + 60 * minutes
    effort = QUICK if quick else FULL
    with sync_playwright() as playwright, running() as site:
        browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=FLAGS)
        facts = machine.facts(browser.version)
        browser.close()
        bench = Bench(playwright, site, effort, threads)
        results = Results(facts, {"rounds": rounds, "threads": threads, "quick": quick})
        for round_number in range(rounds):
            for tasks in sets:
                for task in order(tasks, round_number):
                    if round_number > 0 and time.monotonic() > end:
                        return results
                    found = _record(task, bench, round_number)
                    results.runs.append(found)
                    results.save(target)
                    say(f"round {round_number + 1}, {task.title}: {_line(found)}")
    return results


def _record(task: Task, bench: Bench, round_number: int) -> dict[str, Any]:
    named = {"set": task.set, "model": task.model, "runtime": task.runtime, "format": task.format}
    record: dict[str, Any] = {**named, "round": round_number, "busy_before": machine.busy_share()}
    started = time.monotonic()
    try:
        record["measures"] = task.run(bench)
    except Exception as error:  # a peer that fails is a finding, not the end
        record["error"] = f"{type(error).__name__}: {error}"
    record["took_s"] = round(time.monotonic() - started, 1)
    return record


def _line(record: dict[str, Any]) -> str:
    if "error" in record:
        return f"FAILED, {record['error'].splitlines()[0]}"
    figures = ", ".join(f"{name} {value:.4g}" for name, value in record["measures"].items() if value is not None)
    return f"{figures} ({record['took_s']} s)"
