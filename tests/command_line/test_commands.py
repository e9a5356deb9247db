"""What each command says and makes."""

import hashlib
import json
from pathlib import Path

import pytest

from convert import manifest
from convert.dtypes import Dtype
from tests import model_directories
from tests.command_line.command import COMMAND, ROOT, fail, one_object, run, succeed
from tests.terminal import run_on_terminal

TEXT = " ".join(model_directories.WORDS)


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
