"""The command line as scripts see it: exit codes, one line per error, one JSON object, nothing left behind."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import __version__, manifest
from convert.dtypes import Dtype
from tests import model_directories
from tests.families import tiny
from tests.terminal import run_on_terminal
from tests.test_publish import small_disk

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "convert"]
TEXT = " ".join(model_directories.WORDS)


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, **options)


def succeed(*arguments: object) -> dict[str, Any]:
    """Run with --json; stdout must be one JSON object."""
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return one_object(done.stdout)


def one_object(text: str) -> dict[str, Any]:
    assert text.count("\n") == 1
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def fail(code: int, *arguments: object) -> str:
    """Run without and with --json; the message, which must be the same one line in both."""
    plain, as_json = run(*arguments), run(*arguments, "--json")
    assert plain.returncode == as_json.returncode == code, plain.stderr
    assert plain.stdout == ""
    (line,) = [line for line in plain.stderr.splitlines() if line.startswith("featherweight: ")]
    assert plain.stderr.endswith(line + "\n")
    assert "Traceback" not in plain.stderr
    error = one_object(as_json.stdout)["error"]
    assert line == f"featherweight: error: {error['message']}"
    return str(error["message"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "llama"
    tiny.save_checkpoint(folder, tiny.LLAMA, tiny.random_weights(tiny.llama_shapes(tiny.LLAMA)))
    model_directories.save_tokenizer(folder, marks=False)
    return folder


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directories.decoder(tmp_path_factory.mktemp("cli"), Dtype.FP32, Dtype.Q4)


def test_convert_says_what_it_made(checkpoint: Path, tmp_path: Path) -> None:
    report = succeed("convert", checkpoint, tmp_path / "mine", "--dtype", "q4", "--dtype", "fp32")
    content = manifest.load(tmp_path / "mine")
    assert report["id"] == content.model.id == "mine"
    assert report["revision"] == manifest.revision(tmp_path / "mine")
    assert [item["dtype"] for item in report["variants"]] == [item.dtype for item in content.variants] == ["q4", "fp32"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "dtypes", [["--dtype", "q8,fp32"], ["--dtype", "q8", "--dtype", "fp32"], ["--dtype", "q8", "fp32"]]
)
def test_dtypes_may_be_repeated_joined_or_listed(checkpoint: Path, tmp_path: Path, dtypes: list[str]) -> None:
    report = succeed("convert", checkpoint, *dtypes, "--id", "other", tmp_path / "mine")
    assert [item["dtype"] for item in report["variants"]] == ["q8", "fp32"]
    assert report["id"] == "other"


def test_decoders_become_q4_by_default(checkpoint: Path, tmp_path: Path) -> None:
    report = succeed("convert", checkpoint, tmp_path / "mine", "--block-size", "16")
    assert [(item["dtype"], item["block_size"]) for item in report["variants"]] == [("q4", 16)]


def test_conversion_is_the_same_to_the_byte(checkpoint: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "model", tmp_path / "b" / "model"]
    for folder in folders:
        succeed("convert", checkpoint, folder, "--dtype", "fp32,fp16,q8,q4,q4f16")
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in folders
    )
    assert first == second
    assert len(first) == 3 + 1 + 5 * 2


def test_progress_goes_to_stderr_and_results_to_stdout(checkpoint: Path, tmp_path: Path) -> None:
    done = run("convert", checkpoint, tmp_path / "mine")
    assert done.returncode == 0
    assert "convert (" in done.stderr
    assert "convert (" not in done.stdout
    assert "q4" in done.stdout


def test_a_terminal_sees_bars_while_stdout_stays_one_object(checkpoint: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "convert", str(checkpoint), str(tmp_path / "mine"), "--json"]
    said, shown = run_on_terminal(command, ROOT)
    assert one_object(said)["id"] == "mine"
    assert "convert" in shown
    assert "\x1b[" in shown


def test_inspect(decoder: Path) -> None:
    report = succeed("inspect", decoder, "--context", "77")
    assert report["parameters"] > 0
    assert [item["context_length"] for item in report["variants"]] == [77, 77]
    shown = run("inspect", decoder).stdout
    assert "MatMulNBits" in shown
    assert "fp32" in shown


def test_verify_tells_every_problem(decoder: Path, tmp_path: Path) -> None:
    assert succeed("verify", decoder)["ok"] is True
    broken = model_directories.decoder(tmp_path, Dtype.FP32)
    (broken / "config.json").unlink()
    (broken / "stray\x1b[31m\n").write_text("")
    done = run("verify", broken, "--json")
    assert done.returncode == 1
    report = one_object(done.stdout)
    assert report["ok"] is False
    assert len(report["problems"]) == 2
    assert done.stderr.splitlines()[-1].startswith("featherweight: error: ")
    plain = run("verify", broken)
    assert plain.returncode == 1
    assert len(plain.stdout.splitlines()) == 2
    assert "\x1b" not in plain.stdout + plain.stderr
    assert "2 problems" in plain.stderr.splitlines()[-1]


def test_the_recipe_of_a_target_size_can_be_given_again(checkpoint: Path, tmp_path: Path) -> None:
    convert = ("convert", checkpoint, tmp_path / "mine", "--dtype", "q4")
    first = succeed(*convert, "--target-size", "0.5MB")
    assert first["variants"][0]["download_bytes"] <= 500_000
    (tmp_path / "recipe.json").write_text(json.dumps(first["recipe"]))
    assert succeed(*convert, "--recipe", tmp_path / "recipe.json")["revision"] == first["revision"]
    (tmp_path / "recipe.json").write_text('{"*": {"bitz": 4}}')
    assert "unknown key 'bitz'" in fail(1, *convert, "--recipe", tmp_path / "recipe.json")


def test_eval(decoder: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(TEXT)
    report = succeed("eval", decoder, "--dtype", "q4", "--text", tmp_path / "text", "--against", "fp32", "--window", 64)
    assert report["dtype"] == "q4"
    assert report["perplexity"] > 1
    assert report["against"]["dtype"] == "fp32"
    assert 0 <= report["against"]["top1_agreement"] <= 1
    shown = run("eval", decoder, "--dtype", "q4", "--text", tmp_path / "text", "--against", "fp32").stdout
    assert shown.startswith("q4: perplexity ")
    assert "q4 against fp32: top1 agreement " in shown


def test_eval_against_the_source_writes_the_manifest(checkpoint: Path, tmp_path: Path) -> None:
    model_dir = model_directories.decoder(tmp_path, Dtype.FP32)
    (tmp_path / "text").write_text(TEXT)
    arguments = ("eval", model_dir, "--dtype", "fp32", "--text", tmp_path / "text", "--source", checkpoint, "--write")
    report = succeed(*arguments)
    assert report["against"]["dtype"] == "source"
    written = json.loads((model_dir / "manifest.json").read_bytes())["quality"]["fp32"]
    digest = hashlib.sha256(TEXT.encode()).hexdigest()[:12]
    assert (written["against"], written["text"]) == ("source", f"text sha256:{digest}")
    assert written["perplexity"] == pytest.approx(report["perplexity"], rel=1e-3)
    assert succeed("verify", model_dir)["ok"] is True


def test_eval_of_labels_and_of_embeddings(tmp_path: Path) -> None:
    classifier = model_directories.classifier(tmp_path, Dtype.FP32)
    (tmp_path / "labels.tsv").write_text("w1 w2\tPOSITIVE\nw3\tNEGATIVE\n")
    report = succeed("eval", classifier, "--dtype", "fp32", "--labelled", tmp_path / "labels.tsv")
    assert report["examples"] == 2
    encoder = model_directories.encoder(tmp_path, Dtype.FP32, Dtype.Q8)
    (tmp_path / "lines").write_text("w1 w2\n\nw3\n")
    report = succeed("eval", encoder, "--dtype", "q8", "--text", tmp_path / "lines", "--against", "fp32")
    assert report["against"]["texts"] == 2
    assert "--against" in fail(2, "eval", encoder, "--dtype", "q8", "--text", tmp_path / "lines")


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


@pytest.fixture(scope="module")
def large_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that a signal arrives while it is being converted."""
    config = tiny.LLAMA | {"vocab_size": 200_003, "tie_word_embeddings": True}
    weights = tiny.random_weights(tiny.llama_shapes(config | {"vocab_size": 301}))
    weights["model.embed_tokens.weight"] = np.ones((config["vocab_size"], config["hidden_size"]), np.float32)
    return tiny.save_checkpoint(tmp_path_factory.mktemp("large") / "llama", config, weights)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("there", ["nothing", "old model"])
def test_interrupted_conversion_leaves_everything_as_it_was(
    large_checkpoint: Path, checkpoint: Path, tmp_path: Path, number: signal.Signals, there: str
) -> None:
    out = tmp_path / "parent" / "mine"
    if there == "old model":
        succeed("convert", checkpoint, out, "--dtype", "fp32")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    command = [*COMMAND, "convert", str(large_checkpoint), str(out), "--dtype", ",".join(Dtype), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        while not list(tmp_path.glob("parent/.mine.partial-*/onnx/*")):
            assert process.poll() is None, "it was over before it could be interrupted"
            time.sleep(0.002)
        process.send_signal(number)
        said, errors = process.communicate()
    assert process.returncode == 130, errors
    assert one_object(said)["error"]["kind"] == "Interrupted"
    assert errors.splitlines()[-1] == "featherweight: error: interrupted; nothing half-written was left"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.glob("parent/*")] == (["mine"] if there == "old model" else [])
    assert not list(tmp_path.glob("parent/.*"))


def test_conversion_to_a_full_disk_is_one_error_and_leaves_nothing(large_checkpoint: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        assert "disk full: needed" in fail(1, "convert", large_checkpoint, disk / "mine", "--dtype", "fp32")
        assert list(disk.iterdir()) == []
