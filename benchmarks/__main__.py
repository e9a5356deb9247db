"""The command line: ``python -m benchmarks run`` measures, ``python -m benchmarks report`` makes tables of it."""

import argparse
import os
import sys
from pathlib import Path

from benchmarks import readme, report, runner, sizes
from benchmarks.results import Results, adopt, newest
from benchmarks.sets import BY_DEFAULT, PREPARATIONS, SETS, prepare


def main() -> None:
    """Parse the arguments and do it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("run", help="measure; a shared machine gives ratios, a quiet one figures")
    measure.add_argument(
        "sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; default: all but {', '.join(PREPARATIONS)}"
    )
    measure.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians of them are reported")
    measure.add_argument("--minutes", type=float, default=15, help="after these, only the first round is finished")
    measure.add_argument("--only", default="", metavar="TEXT", help="only subjects whose name holds TEXT")
    measure.add_argument("--threads", type=int, default=os.cpu_count(), help="of every runtime; default: all cores")
    measure.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean little")
    measure.add_argument("--json", type=Path, default=Path("build/bench/results.json"), metavar="FILE", help="result")
    tables = commands.add_parser("report", help="print a result file as Markdown tables")
    tables.add_argument("file", nargs="?", type=Path, help="default: the newest in benchmarks/results")
    tables.add_argument("--write-readme", action="store_true", help="write the README's tables from the newest result")
    tables.add_argument("--adopt", action="store_true", help="first copy FILE to benchmarks/results, named by its date")
    options = parser.parse_args()
    if options.command == "run":
        _run(parser, options)
    else:
        _report(parser, options)


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    unknown = set(options.sets) - set(SETS)
    if unknown:
        parser.error(f"there is no set {', '.join(sorted(unknown))}; choose from {', '.join(SETS)}")

    names = options.sets or BY_DEFAULT
    prepare(names, _say)
    sets = runner.chosen(names, options.only)
    if not sets:
        parser.error(f"no subject's name holds {options.only!r}")
    asked = {"rounds": options.rounds, "minutes": options.minutes, "threads": options.threads, "quick": options.quick}
    results = runner.run(sets, **asked, target=options.json, say=_say)
    print(report.everything(results))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _report(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.adopt:
        if not options.file:
            parser.error("--adopt needs a FILE")
        found = Results.load(options.file)
        if found.settings["quick"]:
            parser.error(f"{options.file} is of a --quick run, whose figures mean little")
        adopt(found, next((name for name in PREPARATIONS if found.rows(name)), ""))
    path = options.file or newest()
    if options.write_readme:
        sizes.collect()
        readme.write(readme.committed())
    print(report.everything(Results.load(path)))


if __name__ == "__main__":
    main()
