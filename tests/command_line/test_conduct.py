"""What all commands have in common: bad input, wrong usage, help, commands of other packages, defects of ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convert import __version__
from tests import model_directories
from tests.command_line.command import ROOT, fail, run

TEXT = " ".join(model_directories.WORDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["convert", "nowhere/at/all", "{tmp}/out"], "nowhere/at/all"),
        (["convert", "{tmp}", "{tmp}/out"], "{tmp}"),
        (["inspect", "{tmp}"], "manifest.json: not found"),
        (["verify", "{tmp}/nothing"], "not found"),
        (["eval", "{decoder}", "--dtype", "q8", "--text", "{tmp}/text"], "it has: fp32, q4"),
        (["eval", "{decoder}", "--dtype", "q4", "--text", "{tmp}/nothing"], "cannot be read"),
        (["eval", "{decoder}", "--dtype", "q4", "--text", "{tmp}/binary"], "is not UTF-8 text"),
        (["eval", "{decoder}", "--dtype", "q4", "--labelled", "{tmp}/text"], "line 1 has no tab"),
        (["convert", "{checkpoint}", "{tmp}"], "something else than a model directory"),
        (["convert", "{checkpoint}", "{tmp}/text"], "is a file"),
        (["convert", "{checkpoint}", "{tmp}/out", "--task", "juggling"], "juggling"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(
    checkpoint: Path, decoder: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "text").write_text(TEXT)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    names = {"tmp": tmp_path, "decoder": decoder, "checkpoint": checkpoint}
    assert said.format(**names) in fail(1, *(argument.format(**names) for argument in arguments))
    assert {path.name for path in tmp_path.iterdir()} == {"text", "binary"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["convert", "only-a-source"], "OUT_DIR"),
        (["convert", "a", "b", "--dtype", "q5"], "'q5'"),
        (["convert", "a", "b", "--dtype", "q4,"], "--dtype"),
        (["convert", "a", "b", "--block-size", "33"], "33"),
        (["convert", "a", "b c"], "'b c' cannot be the name of a model"),
        (["convert", "a", "b", "--bogus"], "--bogus"),
        (["convert", "a", "b", "--method", "awq"], "'awq'"),
        (["convert", "a", "b", "--target-size", "70"], "'70' is no size"),
        (["convert", "a", "b", "--calibration", "x"], "--calibration is for --method gptq"),
        (["eval", "x", "--dtype", "q4"], "either --text FILE or --labelled"),
        (["eval", "x", "--dtype", "q4", "--labelled", "x", "--against", "q8"], "--source need --text"),
        (["eval", "x", "--text", "x"], "--dtype"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], said: str) -> None:
    message = fail(2, *arguments)
    assert said in message
    assert "--help" in message


def test_messages_carry_no_control_characters(tmp_path: Path) -> None:
    assert "\x1b" not in fail(1, "inspect", f"{tmp_path}/\x1b[31mred\nline")


def test_help_teaches_with_examples() -> None:
    for name in ("convert", "inspect", "verify", "eval"):
        shown = run(name, "--help")
        assert shown.returncode == 0
        assert f"featherweight {name} " in shown.stdout.partition("Examples:")[2]
    shown = run("--help")
    assert shown.returncode == 0
    for word in ("convert", "eval", "inspect", "serve", "verify", "Exit codes: 0 done, 1", "130"):
        assert word in shown.stdout


def test_no_command_shows_the_help() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


def test_version() -> None:
    assert run("--version").stdout == f"featherweight, version {__version__}\n"


def test_a_command_of_another_package_is_found_and_a_broken_one_breaks_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "added.py").write_text("import click\n@click.command()\ndef hello():\n    click.echo('hello there')\n")
    info = tmp_path / "added-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[featherweight.commands]\nhello = added:hello\nlost = nowhere.at_all:lost\n"
    )
    options = {"env": os.environ | {"PYTHONPATH": str(tmp_path)}}
    assert run("hello", **options).stdout == "hello there\n"
    assert "lost" in run("--help", **options).stdout
    broken = run("lost", **options)
    assert broken.returncode == 1
    assert broken.stderr.startswith(
        "featherweight: error: the command 'lost' cannot be loaded: No module named 'nowhere'"
    )


def test_help_is_quick_to_come() -> None:
    code = "import sys, convert.cli; print(*sorted({'numpy', 'onnx', 'onnxruntime', 'tokenizers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def test_a_defect_of_ours_is_one_line_with_a_traceback_on_demand(decoder: Path) -> None:
    code = (
        "import sys; from convert import inspection; from convert.cli import main\n"
        "def broken(*a, **k): raise KeyError('oh')\n"
        "inspection.inspect_model = broken; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "inspect", str(decoder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("featherweight: error: unexpected KeyError: 'oh'; this is a defect")
    assert done.stderr.count("\n") == 1
    debug = os.environ | {"FEATHERWEIGHT_DEBUG": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=debug)
    assert "Traceback" in done.stderr
