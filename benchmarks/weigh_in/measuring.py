"""Owns one visit: the verdicts, the runs they speak of, and a record for each context, also of what fails."""

import time
from dataclasses import asdict
from typing import Any

from playwright.sync_api import Error, Page, Playwright

from benchmarks import machine
from benchmarks.model_files import ROOT
from benchmarks.weigh_in.lesser_device import NotAllowedError, visiting
from benchmarks.weigh_in.limits import LIMITS
from benchmarks.weigh_in.rows import Visit

SCRIPT = (ROOT / "benchmarks" / "pages" / "weigh_in.js").read_text()
Record = dict[str, Any]


def measure(playwright: Playwright, visit: Visit) -> list[Record]:
    """A record for each context: what was said, whether it ran, and how far off that was."""
    row = {name: value for name, value in asdict(visit).items() if name not in ("contexts", "once")}
    busy = machine.busy_share()
    started = time.monotonic()
    try:
        with visiting(playwright, LIMITS[visit.limits]) as device:
            found = _weighed(device.page, visit, device.limit_memory)
    except NotAllowedError as error:
        found = [{"context": context, "skipped": str(error)} for context in visit.contexts]
    took = round(time.monotonic() - started, 1)
    return [{**row, "busy_before": busy, "took_s": took, **record} for record in found]


def _weighed(page: Page, visit: Visit, limit_memory: Any) -> list[Record]:
    page.evaluate(SCRIPT)
    asked = {
        "manifest": f"/{visit.model}/resolve/main/manifest.json",
        "dtype": visit.dtype,
        "threads": visit.threads,
        "contexts": visit.contexts,
    }
    weighed = page.evaluate("(asked) => weighIn.weigh(asked)", asked)
    limit_memory()
    records = []
    for context, verdict in zip(visit.contexts, weighed["verdicts"], strict=True):
        record = {"context": context, **_said(verdict), "rates": weighed["rates"]}
        function = "run" if verdict["supported"] else "force"
        try:
            ran = page.evaluate(f"(asked) => weighIn.{function}(asked)", {**asked, "context": context})
            records.append({**record, "ran": True, **_found(ran, verdict)})
        except Error as error:
            records.append({**record, "ran": False, "error": error.message.split("\n")[0][:300]})
    return records


def _said(verdict: dict[str, Any]) -> Record:
    said = {name: verdict[name] for name in ("supported", "smooth", "memory", "storage", "why")}
    return {**said, "threads_planned": verdict["plan"]["threads"]}


def _found(ran: dict[str, Any] | None, verdict: dict[str, Any]) -> Record:
    """Predicted beside measured; nothing of a run that was forced."""
    if ran is None:
        return {}
    expected = verdict["expected"] or {}
    first = ran["first"]
    found = {
        "predicted": {**expected, "load_s": ran["stored_load"]["expected"]},
        "measured": ran["measured"],
        "threads_used": ran["threads"],
    }
    if first["bytes"]:
        found["download"] = {
            "predicted": verdict["download"]["bytes"],
            "measured": first["bytes"],
            "predicted_s": verdict["expected"] and verdict["expected"]["load_s"],
            "interval_s": verdict["load_s"],
            "measured_s": first["load_s"],
        }
    return found
