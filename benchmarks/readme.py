"""Owns what the README shows of the committed results: the sizes of the models and short tables, between markers."""

from benchmarks import sizes
from benchmarks.gemma_files import GEMMA
from benchmarks.markdown import NOTHING, grid, rounded
from benchmarks.model_files import DISTILBERT, MINILM, ROOT
from benchmarks.report import NAMES, decoder_table, encoder_table, machine_line
from benchmarks.results import COMMITTED, Results, Row, newest
from benchmarks.sets import PREPARATIONS
from benchmarks.subjects import OURS

BEGIN, END = "<!-- measured: written by `python -m benchmarks report --write-readme` -->", "<!-- /measured -->"
SIZES_BEGIN, SIZES_END = "<!-- sizes: written by `python -m benchmarks report --write-readme` -->", "<!-- /sizes -->"
README = ROOT / "README.md"


def measured_part(results: Results) -> str:
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
    return grid(lines)


def write(measured: list[Results]) -> None:
    """Put the parts into the README: the sizes, and the tables of the result that has SmolLM2, if there is one.

    Raises:
        ValueError: the README has no markers.
    """
    text = _between(README.read_text(), SIZES_BEGIN, SIZES_END, sizes_part(measured))
    for results in measured:
        if results.rows("decoder"):
            text = _between(text, BEGIN, END, measured_part(results))
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
        return f"{rounded(rate)} tokens/s"
    if row and (time_ms := row.median("8x128_ms")):
        return f"{rounded(8000 / time_ms)} texts/s"
    return NOTHING
