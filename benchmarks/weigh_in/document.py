"""Owns the tables of docs/weigh_in.md: errors, every combination, and the lesser devices."""

import statistics
from typing import Any

from benchmarks.model_files import ROOT
from benchmarks.weigh_in.accuracy import Record, is_true, key, summary
from benchmarks.weigh_in.limits import LIMITS, NONE

DOCUMENT = ROOT / "docs" / "weigh_in.md"
BEGIN = "<!-- weigh-in: written by `python -m benchmarks.weigh_in --report --write` -->"
END = "<!-- /weigh-in -->"
SPEED = (
    ("decode, tokens/s", "decode_tokens_per_s", 1),
    ("prefill, tokens/s", "prefill_tokens_per_s", 1),
    ("memory, MB", "peak_memory_bytes", 1e-6),
    ("load, s", "load_s", 1),
)


def report(document: dict[str, Any]) -> str:
    """Markdown: conditions, the errors of tuned and held-out combinations, every row, the lesser devices."""
    records = [record for record in document["runs"] if "skipped" not in record]
    plain = [record for record in records if record["limits"] == NONE.name]
    lines = [_conditions(document, records), "", *_errors(plain), "", _exact(records), "", *_rows(plain)]
    lesser = [
        record for record in document["runs"] if record["limits"] != NONE.name or not record.get("supported", True)
    ]
    if lesser:
        lines += ["", "## Lesser devices", "", *_lesser(lesser, plain)]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the report between its marks."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")


def _conditions(document: dict[str, Any], records: list[Record]) -> str:
    facts = document["machine"]
    busy = [100 * record["busy_before"] for record in records]
    rounds = [len(same) for same in _grouped(records)]
    return (
        f"{facts['cores']} cores of {facts['cpu']}, Chromium {document['versions']['chromium']}, {document['date']}, "
        f"medians of {max(rounds)} rounds (those that take minutes: of {min(rounds)}), a fresh probe and browser "
        f"for every model, dtype and number of threads, and loads from the browser's own store. "
        f"Before a run other processes had {statistics.median(busy):.0f} % of the cores (at most {max(busy):.0f} %). "
        "The cost model was tuned on the combinations that say so, and on no other."
    )


def _errors(plain: list[Record]) -> list[str]:
    lines = [
        "| | runs | median error | 90th percentile | inside the 90 % interval, made of the other combinations |",
        "|---|---|---|---|---|",
    ]
    for name, kind in (("tuned", (True,)), ("held out", (False,)), ("all", (True, False))):
        for metric, found in summary([record for record in plain if record["tuned"] in kind], plain).items():
            errors = f"{100 * found['median_error']:.1f} % | {100 * found['p90_error']:.1f} %"
            lines.append(f"| {name}: `{metric}` | {found['count']:.0f} | {errors} | {100 * found['inside']:.0f} % |")
    return lines


def _exact(records: list[Record]) -> str:
    downloads = [record["download"] for record in records if "download" in record]
    exact = sum(found["predicted"] == found["measured"] for found in downloads)
    true = sum(map(is_true, records))
    return (
        f"Download bytes were exact in {exact} of {len(downloads)} downloads. In {true} of {len(records)} runs the "
        "verdict was true: what was said to fit ran, and what was said not to fit failed when it was tried all the "
        "same. Predicted / measured:"
    )


def _rows(plain: list[Record]) -> list[str]:
    head = ["model", "dtype", "threads", "context", "", "verdict", "ran", *(title for title, _, _ in SPEED)]
    lines = _head(head)
    for same in _grouped(plain):
        first = same[0]
        named = [first["model"], first["dtype"], str(first["threads"]), str(first["context"])]
        cells = [*named, "tuned" if first["tuned"] else "held out", *_outcome(same), *_speeds(same)]
        lines.append(_line(cells))
    return lines


def _lesser(records: list[Record], plain: list[Record]) -> list[str]:
    """What each limit is, then a row for each run, with the speed of the whole device beside it."""
    names = dict.fromkeys(record["limits"] for record in records)
    lines = [f"- **{name}**: {LIMITS[name].told}." for name in names if LIMITS[name].told]
    head = ["device", "model", "threads", "verdict", "ran", *(title for title, _, _ in SPEED), "download, s"]
    lines += ["", *_head(head)]
    reasons = []
    for same in _grouped(records):
        first = same[0]
        named = [first["limits"], f"{first['model']} {first['dtype']}, {first['context']}", str(first["threads"])]
        if "skipped" in first:
            lines.append(_line([*named, "-", f"skipped: {first['skipped']}", *["-"] * (len(SPEED) + 1)]))
            continue
        lines.append(_line([*named, *_outcome(same), *_speeds(same), _download(same)]))
        if not first["supported"]:
            reasons.append(f'- {named[1]}, {named[0]}: said "{_reason(first)}"; found "{first.get("error", "it ran")}"')
    whole = [same for same in _grouped(plain) if key(same[0])[1:5] in {key(record)[1:5] for record in records}]
    lines += [
        "",
        "On the whole device the same were measured:",
        "",
        *_head(["model", "threads", *(t for t, _, _ in SPEED)]),
    ]
    for same in whole:
        if same[0]["ran"]:
            named = [f"{same[0]['model']} {same[0]['dtype']}, {same[0]['context']}", str(same[0]["threads"])]
            lines.append(_line([*named, *_speeds(same)]))
    return [
        *lines,
        *(
            ["", "What was said of those that do not fit, and what was found when they were tried:", "", *reasons]
            if reasons
            else []
        ),
    ]


def _reason(record: Record) -> str:
    """The sentence of the verdict that speaks of what is too much."""
    marks = ("more than the", "only", "too old")
    return next((sentence for sentence in record["why"] if any(mark in sentence for mark in marks)), record["why"][0])


def _grouped(records: list[Record]) -> list[list[Record]]:
    """The rounds of each combination."""
    found: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        found.setdefault(key(record), []).append(record)
    return list(found.values())


def _outcome(same: list[Record]) -> list[str]:
    said = {True: "smooth", False: "slow", None: "speed not known"}
    verdict = said[same[-1]["smooth"]] if same[-1]["supported"] else "does not fit"
    return [verdict, "yes" if all(record["ran"] for record in same) else "no"]


def _speeds(same: list[Record]) -> list[str]:
    return [_pair(same, metric, scale) for _, metric, scale in SPEED]


def _pair(same: list[Record], metric: str, scale: float) -> str:
    sides = []
    for kind in ("predicted", "measured"):
        values = [found for record in same if (found := record.get(kind, {}).get(metric)) is not None]
        sides.append(f"{statistics.median(values) * scale:.3g}" if values else "-")
    return " / ".join(sides) if set(sides) != {"-"} else "-"


def _download(same: list[Record]) -> str:
    found = next((record["download"] for record in same if "download" in record), None)
    if not found:
        return "-"
    predicted = "?" if found["predicted_s"] is None else f"{found['predicted_s']:.3g}"
    return f"{predicted} / {found['measured_s']:.3g}"


def _head(titles: list[str]) -> list[str]:
    return [_line(titles), "|" + "---|" * len(titles)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
