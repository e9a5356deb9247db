"""Owns the tables: a result file as Markdown, whole for the terminal and in part for the README."""

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks import sizes
from benchmarks.gemma_files import GEMMA
from benchmarks.model_files import DISTILBERT, MINILM, ROOT, SMOLLM2
from benchmarks.results import COMMITTED, Results, Row, newest
from benchmarks.sets import PREPARATIONS, context, gemma, kernels
from benchmarks.subjects import OURS

BEGIN, END = "<!-- measured: written by `python -m benchmarks report --write-readme` -->", "<!-- /measured -->"
SIZES_BEGIN, SIZES_END = "<!-- sizes: written by `python -m benchmarks report --write-readme` -->", "<!-- /sizes -->"
README = ROOT / "README.md"
NAMES = {
    SMOLLM2: "SmolLM2-135M-Instruct",
    MINILM: "MiniLM-L6 as DistilBERT",
    DISTILBERT: "DistilBERT-base shape",
    GEMMA: "Gemma 2B shape",
}
SHAPES = ("1x16", "1x128", "8x128")
NOTHING = "-"
# A cell: how a measure becomes text.
Cell = Callable[[Row], str]


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
        "Decode, tokens/s": _figure("decode_tokens_per_s"),
        "Prefill 128, tokens/s": _figure("prefill_128_tokens_per_s"),
        "Prefill 512, tokens/s": _figure("prefill_512_tokens_per_s"),
        "Stored files to first token, s": _figure("first_s"),
        "Peak memory, MB": _figure("peak_memory_bytes", 1e-6),
        "Fetched, MB": _figure("fetched_bytes", 1e-6),
    }
    ranked = _ranked(rows, lambda row: -(row.median("decode_tokens_per_s") or 0))
    rates = ("decode_tokens_per_s", "prefill_128_tokens_per_s", "prefill_512_tokens_per_s")
    return _table(columns, _shortened(ranked, *rates) if short else ranked)


def gemma_table(rows: list[Row]) -> str:
    """The big decoder, with what its second load takes from the network."""
    columns: dict[str, Cell] = {
        "Runtime": lambda row: row.runtime,
        "Format": lambda row: row.format,
        "Decode, tokens/s": _figure("decode_tokens_per_s"),
        f"Prefill {gemma.PROMPT_TOKENS}, tokens/s": _figure(f"prefill_{gemma.PROMPT_TOKENS}_tokens_per_s"),
        "Server to first token, s": _figure("first_visit_s"),
        "Stored files to first token, s": _figure("first_s"),
        "Peak memory, MB": _figure("peak_memory_bytes", 1e-6),
        "Fetched, MB": _figure("fetched_bytes", 1e-6),
        "Fetched again, MB": _figure("fetched_again_bytes", 1e-6),
    }
    return _table(columns, _ranked(rows, lambda row: -(row.median("decode_tokens_per_s") or 0)))


def encoder_table(results: Results, model: str, *, short: bool = False) -> str:
    """Encoders of one model, like the decoders."""
    columns: dict[str, Cell] = {"Runtime": lambda row: row.runtime, "Format": lambda row: row.format}
    columns |= {f"{shape.replace('x', ' x ')}, ms": _figure(f"{shape}_ms") for shape in SHAPES}
    columns |= {
        "Stored files to first result, s": _figure("first_s"),
        "Peak memory, MB": _figure("peak_memory_bytes", 1e-6),
        "Fetched, MB": _figure("fetched_bytes", 1e-6),
    }
    rows = [row for row in results.rows("encoders") if row.model == model]
    ranked = _ranked(rows, lambda row: row.median("1x128_ms") or float("inf"))
    return _table(columns, _shortened(ranked) if short else ranked)


def kernel_table(rows: list[Row]) -> str:
    """Kernels on one thread and on all; the rate of cold bytes is held to a plain loop's over the same bytes."""
    head = ["Kernel"] + [f"{row.format}: {unit}" for row in rows for unit in ("GB/s", "of read", "GMAC/s")]
    lines = [head, ["---"] * len(head)]
    for name in kernels.rows():
        cells = [name]
        for row in rows:
            share = row.median(f"{name}.of_read") if name.endswith(", 1 x") else None
            cells += [_short(row.median(f"{name}.gb_per_s")), _percent(share)]
            cells.append(_short(row.median(f"{name}.gmac_per_s")))
        lines.append(cells)
    return _lines(lines) if rows else ""


def busy_table(rows: list[Row]) -> str:
    """Decode with and without another process on every core."""
    columns: dict[str, Cell] = {
        "Runtime": lambda row: row.runtime,
        "Format": lambda row: row.format,
        "Quiet, tokens/s": _figure("quiet_tokens_per_s"),
        "Every core busy, tokens/s": _figure("busy_tokens_per_s"),
        "Kept": lambda row: _percent(row.median("busy_share")),
    }
    return _table(columns, rows)


def context_table(rows: list[Row]) -> str:
    """Milliseconds per token by the tokens before it, and what a fresh probe and the cost model expected."""
    lines = [["", *(f"after {length}, ms/token" for length in context.LENGTHS)]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        for title, measure in ((f"{row.runtime} {row.format}", "at"), ("expected by the cost model", "expected")):
            lines.append([title, *(_short(row.median(f"{measure}_{length}_ms")) for length in context.LENGTHS)])
    return _lines(lines) if rows else ""


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
    return f"### Ratios\n\n{_lines(kept)}" if len(kept) > 2 else ""


def failures(results: Results) -> str:
    """Every run that failed, with its error."""
    failed = [run for run in results.runs if "error" in run]
    lines = [
        f"- {run['set']}, {run['model']}, {run['runtime']} {run['format']}, round {run['round'] + 1}: "
        + run["error"].splitlines()[0]
        for run in failed
    ]
    return "### Failed\n\n" + "\n".join(lines) if lines else ""


def readme_part(results: Results) -> str:
    """What stands between the README's markers."""
    made = [machine_line(results), "SmolLM2-135M-Instruct, of each peer its fastest formats:"]
    made.append(decoder_table(results.rows("decoder"), short=True))
    for model in (MINILM, DISTILBERT):
        if table := encoder_table(results, model, short=True):
            made += [f"{NAMES[model]}, milliseconds per batch (texts x tokens):", table]
    return "\n\n".join(part for part in made if part)


def sizes_part(measured: list[Results]) -> str:
    """The models with their downloads, and what these results say of them on our engine."""
    lines = [["Model", "Parameters", "Format", "Download", "Peak memory", "Speed", "Licence"], ["---"] * 7]
    last = ""
    for size in sizes.kept():
        row = _measured(size, measured)
        facts = [NAMES[size.model], f"{size.parameters / 1e6:,.0f} M"] if size.model != last else ["", ""]
        memory = row.median("peak_memory_bytes") if row else None
        cells = [*facts, _form(size), f"{size.download_bytes / 1e6:,.1f} MB"]
        lines.append([*cells, f"{memory / 1e6:,.0f} MB" if memory else NOTHING, _speed(row), size.license])
        last = size.model
    return _lines(lines)


def write_readme(measured: list[Results]) -> None:
    """Put the parts into the README: the sizes, and the tables of the result that has SmolLM2, if there is one.

    Raises:
        ValueError: the README has no markers.
    """
    text = _between(README.read_text(), SIZES_BEGIN, SIZES_END, sizes_part(measured))
    for results in measured:
        if results.rows("decoder"):
            text = _between(text, BEGIN, END, readme_part(results))
    README.write_text(text)


def committed() -> list[Results]:
    """The newest result of the default sets, if there is one, and of each set that is run by itself."""
    folders = [COMMITTED, *(COMMITTED / name for name in PREPARATIONS)]
    return [Results.load(newest(folder)) for folder in folders if any(folder.glob("*.json"))]


def _between(text: str, begin: str, end: str, part: str) -> str:
    if begin not in text or end not in text:
        raise ValueError(f"README.md has no {begin} ... {end} to write between")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{part}\n\n{end}{rest.split(end)[1]}"


def _form(size: sizes.Size) -> str:
    """As the rows of the big decoder call it: only there both kinds of embedding are offered."""
    return f"{size.dtype}, embedding {size.embedding_bits} bits" if size.model == GEMMA else size.dtype


def _measured(size: sizes.Size, measured: list[Results]) -> Row | None:
    """The row of our engine."""
    rows = [row for results in measured for name in ("decoder", "encoders", "gemma") for row in results.rows(name)]
    wanted = (size.model, OURS, _form(size))
    return next((row for row in rows if (row.model, row.runtime, row.format) == wanted), None)


def _speed(row: Row | None) -> str:
    if row and (rate := row.median("decode_tokens_per_s")):
        return f"{_short(rate)} tokens/s"
    if row and (time_ms := row.median("8x128_ms")):
        return f"{_short(8000 / time_ms)} texts/s"
    return NOTHING


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


def _figure(measure: str, factor: float = 1.0) -> Cell:
    """The median; with several runs, how far the extremes lie from it, in percent."""

    def cell(row: Row) -> str:
        values, middle = row.values(measure), row.median(measure)
        if middle is None:
            return "failed" if row.error else NOTHING
        spread = f" ±{50 * (max(values) - min(values)) / middle:.0f} %" if len(values) > 1 else ""
        return _short(middle * factor) + spread

    return cell


def _short(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.0f} %"


def _table(columns: dict[str, Cell], rows: list[Row]) -> str:
    """Empty without rows."""
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[cell(row) for cell in columns.values()] for row in rows]
    return _lines(lines) if rows else ""


def _lines(cells: list[list[Any]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
