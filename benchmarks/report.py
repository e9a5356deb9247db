"""Owns the tables: a result file as Markdown."""

import statistics
from collections.abc import Callable

from benchmarks.gemma_files import GEMMA
from benchmarks.markdown import NOTHING, Cell, figure, grid, percent, rounded, table
from benchmarks.model_files import DISTILBERT, MINILM, SMOLLM2
from benchmarks.results import Results, Row
from benchmarks.sets import context, gemma, kernels
from benchmarks.subjects import OURS

NAMES = {
    SMOLLM2: "SmolLM2-135M-Instruct",
    MINILM: "MiniLM-L6 as DistilBERT",
    DISTILBERT: "DistilBERT-base shape",
    GEMMA: "Gemma 2B shape",
}
SHAPES = ("1x16", "1x128", "8x128")


def everything(results: Results) -> str:
    """All tables that there are runs for."""
    parts = [machine_line(results), *sections(results), comparisons(results), failures(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def sections(results: Results) -> list[str]:
    """One table per set, under its heading."""
    made = [
        ("Decoder: SmolLM2-135M-Instruct", decoder_table(results.rows("decoder"))),
        *((f"Encoder: {NAMES[model]}", encoder_table(results, model)) for model in (MINILM, DISTILBERT)),
        (f"Decoder: {NAMES[GEMMA]}, random weights", gemma_table(results.rows("gemma"))),
        ("Kernels", kernel_table(results.rows("kernels"))),
        ("Busy machine", busy_table(results.rows("busy"))),
        ("Length of context", context_table(results.rows("context"))),
    ]
    return [f"### {title}\n\n{table}" for title, table in made if table]


def machine_line(results: Results) -> str:
    """The conditions of the measurement, in a sentence or two."""
    facts, machine, settings = results.facts, results.facts["machine"], results.settings
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    busy = [100 * run["busy_before"] for run in results.runs] or [0.0]
    return (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{machine['system']}, {facts['date']}; {settings['threads']} threads; medians of up to {settings['rounds']} "
        f"interleaved rounds. {versions}. Before a run other processes had {statistics.median(busy):.0f} % of the "
        f"cores (at most {max(busy):.0f} %)."
    )


def decoder_table(rows: list[Row], *, short: bool = False) -> str:
    """Decoders, the fastest first, browsers before native; ``short``: of each peer only the
    formats that are fastest at something."""
    columns: dict[str, Cell] = {
        "Runtime": lambda row: row.runtime,
        "Format": lambda row: row.format,
        "Decode, tokens/s": figure("decode_tokens_per_s"),
        "Prefill 128, tokens/s": figure("prefill_128_tokens_per_s"),
        "Prefill 512, tokens/s": figure("prefill_512_tokens_per_s"),
        "Stored files to first token, s": figure("first_s"),
        "Peak memory, MB": figure("peak_memory_bytes", 1e-6),
        "Fetched, MB": figure("fetched_bytes", 1e-6),
    }
    ranked = _ranked(rows, lambda row: -(row.median("decode_tokens_per_s") or 0))
    rates = ("decode_tokens_per_s", "prefill_128_tokens_per_s", "prefill_512_tokens_per_s")
    return table(columns, _shortened(ranked, *rates) if short else ranked)


def gemma_table(rows: list[Row]) -> str:
    """The big decoder, with what its second load takes from the network."""
    columns: dict[str, Cell] = {
        "Runtime": lambda row: row.runtime,
        "Format": lambda row: row.format,
        "Decode, tokens/s": figure("decode_tokens_per_s"),
        f"Prefill {gemma.PROMPT_TOKENS}, tokens/s": figure(f"prefill_{gemma.PROMPT_TOKENS}_tokens_per_s"),
        "Server to first token, s": figure("first_visit_s"),
        "Stored files to first token, s": figure("first_s"),
        "Peak memory, MB": figure("peak_memory_bytes", 1e-6),
        "Fetched, MB": figure("fetched_bytes", 1e-6),
        "Fetched again, MB": figure("fetched_again_bytes", 1e-6),
    }
    return table(columns, _ranked(rows, lambda row: -(row.median("decode_tokens_per_s") or 0)))


def encoder_table(results: Results, model: str, *, short: bool = False) -> str:
    """Encoders of one model, like the decoders."""
    columns: dict[str, Cell] = {"Runtime": lambda row: row.runtime, "Format": lambda row: row.format}
    columns |= {f"{shape.replace('x', ' x ')}, ms": figure(f"{shape}_ms") for shape in SHAPES}
    columns |= {
        "Stored files to first result, s": figure("first_s"),
        "Peak memory, MB": figure("peak_memory_bytes", 1e-6),
        "Fetched, MB": figure("fetched_bytes", 1e-6),
    }
    rows = [row for row in results.rows("encoders") if row.model == model]
    ranked = _ranked(rows, lambda row: row.median("1x128_ms") or float("inf"))
    return table(columns, _shortened(ranked) if short else ranked)


def kernel_table(rows: list[Row]) -> str:
    """Kernels on one thread and on all; the rate of cold bytes is held to a plain loop's over the same bytes."""
    head = ["Kernel"] + [f"{row.format}: {unit}" for row in rows for unit in ("GB/s", "of read", "GMAC/s")]
    lines = [head, ["---"] * len(head)]
    for name in kernels.rows():
        cells = [name]
        for row in rows:
            share = row.median(f"{name}.of_read") if name.endswith(", 1 x") else None
            cells += [rounded(row.median(f"{name}.gb_per_s")), percent(share)]
            cells.append(rounded(row.median(f"{name}.gmac_per_s")))
        lines.append(cells)
    return grid(lines) if rows else ""


def busy_table(rows: list[Row]) -> str:
    """Decode with and without another process on every core."""
    columns: dict[str, Cell] = {
        "Runtime": lambda row: row.runtime,
        "Format": lambda row: row.format,
        "Quiet, tokens/s": figure("quiet_tokens_per_s"),
        "Every core busy, tokens/s": figure("busy_tokens_per_s"),
        "Kept": lambda row: percent(row.median("busy_share")),
    }
    return table(columns, rows)


def context_table(rows: list[Row]) -> str:
    """Milliseconds per token by the tokens before it, and what a fresh probe and the cost model expected."""
    lines = [["", *(f"after {length}, ms/token" for length in context.LENGTHS)]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        for title, measure in ((f"{row.runtime} {row.format}", "at"), ("expected by the cost model", "expected")):
            lines.append([title, *(rounded(row.median(f"{measure}_{length}_ms")) for length in context.LENGTHS)])
    return grid(lines) if rows else ""


def comparisons(results: Results) -> str:
    """Our best against the best browser peer and the best native runtime, as ratios; above 1 we are faster."""
    lines = [["Measure", "against the best browser peer", "against native"], ["---"] * 3]
    decoders = results.rows("decoder")
    for name, measure in (
        ("Decode", "decode_tokens_per_s"),
        ("Prefill 128", "prefill_128_tokens_per_s"),
        ("Prefill 512", "prefill_512_tokens_per_s"),
    ):
        lines.append([name, *_ratios(decoders, measure, higher=True)])
    lines.append(["Stored files to first token", *_ratios(decoders, "first_s", higher=False)])
    lines.append(["Peak memory", *_ratios(decoders, "peak_memory_bytes", higher=False)])
    for name, measure, higher in (
        ("decode", "decode_tokens_per_s", True),
        ("prefill", f"prefill_{gemma.PROMPT_TOKENS}_tokens_per_s", True),
        ("peak memory", "peak_memory_bytes", False),
    ):
        lines.append([f"{NAMES[GEMMA]}, {name}", *_ratios(results.rows("gemma"), measure, higher=higher)])
    for model in (MINILM, DISTILBERT):
        for form, peer_forms in (("q8", ("q8", "int8 (dynamic)")), ("fp32", ("fp32",))):
            rows = [row for row in results.rows("encoders") if row.model == model and row.format in (form, *peer_forms)]
            for shape in SHAPES:
                name = f"{NAMES[model]} {form}, {shape.replace('x', ' x ')}"
                lines.append([name, *_ratios(rows, f"{shape}_ms", higher=False)])
    kept = [line for line in lines if line[1:] != [NOTHING, NOTHING]]
    return f"### Ratios\n\n{grid(kept)}" if len(kept) > 2 else ""


def failures(results: Results) -> str:
    """Every run that failed, with its error."""
    failed = [run for run in results.runs if "error" in run]
    lines = [
        f"- {run['set']}, {run['model']}, {run['runtime']} {run['format']}, round {run['round'] + 1}: "
        + run["error"].splitlines()[0]
        for run in failed
    ]
    return "### Failed\n\n" + "\n".join(lines) if lines else ""


def _ratios(rows: list[Row], measure: str, *, higher: bool) -> list[str]:
    """Of our best row to the best of the other browsers, and of the native ones."""
    best = max if higher else min
    ours = [value for row in rows if row.runtime == OURS and (value := row.median(measure))]
    found = []
    for native in (False, True):
        others = [
            value for row in rows if row.runtime != OURS and _native(row) == native and (value := row.median(measure))
        ]
        if ours and others:
            ratio = best(ours) / best(others)
            found.append(f"{ratio if higher else 1 / ratio:.2f} x")
        else:
            found.append(NOTHING)
    return found


def _native(row: Row) -> bool:
    return row.runtime.endswith(", native")


def _ranked(rows: list[Row], key: Callable[[Row], float]) -> list[Row]:
    return sorted(rows, key=lambda row: (_native(row), row.error is not None, key(row)))


def _shortened(ranked: list[Row], *rates: str) -> list[Row]:
    """All of ours, and of every other runtime its first, and what is best at one of the rates."""
    kept = [row for row in ranked if row.runtime == OURS]
    for order in (ranked, *(_ranked(ranked, lambda row, rate=rate: -(row.median(rate) or 0)) for rate in rates)):
        first: dict[str, Row] = {}
        for row in order:
            first.setdefault(row.runtime, row)
        kept += first.values()
    return [row for row in ranked if row in kept]
