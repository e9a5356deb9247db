"""Publishing: a model directory appears whole or not at all, and nothing is lost or left behind on the way."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from convert.errors import OutputFailed
from convert.publish import staging

ROOT = Path(__file__).parent.parent
MANIFEST = '{"format": "featherweight-manifest"}'


def snapshot(root: Path) -> dict[str, bytes | None]:
    """Everything below ``root``, hidden files included."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def publish(out: Path, text: str = "new") -> None:
    with staging(out) as directory:
        (directory / "manifest.json").write_text(MANIFEST)
        (directory / "content").write_text(text)


def test_directory_appears_complete_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er" / "model"
    with staging(out) as directory:
        assert directory.parent == out.parent
        (directory / "manifest.json").write_text(MANIFEST)
        assert not out.exists()
    assert snapshot(out.parent) == {"model": None, "model/manifest.json": MANIFEST.encode()}


def test_published_directory_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    publish(tmp_path / "model")
    (tmp_path / "other").mkdir()
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_model_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    publish(tmp_path / "model", "old")
    (tmp_path / "model" / "stale").write_text("stale")
    publish(tmp_path / "model", "new")
    assert snapshot(tmp_path) == {
        "model": None,
        "model/manifest.json": MANIFEST.encode(),
        "model/content": b"new",
    }


def test_empty_directory_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    publish(tmp_path / "model")
    assert (tmp_path / "model" / "content").exists()


def test_link_to_a_model_directory_stays_a_link(tmp_path: Path) -> None:
    publish(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    publish(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "content").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("there", ["nothing", "old model"])
def test_any_exception_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException], there: str) -> None:
    out = tmp_path / "new parent" / "model"
    if there == "old model":
        publish(out, "old")
    before = snapshot(tmp_path)

    def fail_half_way() -> None:
        with staging(out) as directory:
            (directory / "half").write_bytes(bytes(100))
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert snapshot(tmp_path) == before


def test_rejects_a_directory_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    before = snapshot(tmp_path)
    with pytest.raises(OutputFailed, match="something else than a model directory"):
        publish(tmp_path)
    assert snapshot(tmp_path) == before


def test_rejects_what_came_into_the_way_meanwhile(tmp_path: Path) -> None:
    out = tmp_path / "model"

    def publish_too_late() -> None:
        with staging(out) as directory:
            (directory / "manifest.json").write_text(MANIFEST)
            out.mkdir()
            (out / "thesis.txt").write_text("years of work")

    with pytest.raises(OutputFailed, match="something else"):
        publish_too_late()
    assert snapshot(tmp_path) == {"model": None, "model/thesis.txt": b"years of work"}


def test_rejects_a_file_a_parent_that_is_a_file_and_a_mount(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out, said in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "model", "cannot be"),
        (Path("/"), "root"),
    ):
        with pytest.raises(OutputFailed, match=said):
            publish(out)


def test_rejects_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path / "model")
    with pytest.raises(OutputFailed, match="current directory"):
        publish(Path())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_rejects_a_parent_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputFailed, match="Permission denied"):
        publish(tmp_path / "model")


def test_errors_of_the_source_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staging(tmp_path / "model"):
        (tmp_path / "source").read_bytes()


def test_rejects_more_than_the_disk_holds_before_writing(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match=r"disk full: needed .* left"), staging(tmp_path / "m", needed_bytes=1 << 60):
        pytest.fail("the body must not run")
    assert snapshot(tmp_path) == {}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command to make a small disk with")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def write_without_end(out: Path) -> None:
    with staging(out) as directory, (directory / "shard").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


def test_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        publish(disk / "old")
        before = snapshot(disk)
        with pytest.raises(
            OutputFailed, match=r"disk full: needed more than the 4\.0 MiB written so far, left"
        ) as raised:
            write_without_end(disk / "old")
        assert isinstance(raised.value.__cause__, OSError)
        assert raised.value.__cause__.errno == errno.ENOSPC
        assert snapshot(disk) == before


FILL = """
import sys, time
from pathlib import Path
from convert.publish import staging
with staging(Path(sys.argv[1])) as directory:
    (directory / "half").write_bytes(bytes(1 << 20))
    print("ready", flush=True)
    time.sleep(600)
"""


@contextmanager
def filling(out: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of filling ``out``."""
    command = [sys.executable, "-c", FILL, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_interrupt_of_a_process_leaves_nothing(tmp_path: Path) -> None:
    with filling(tmp_path / "model") as process:
        assert len(snapshot(tmp_path)) == 2
        process.send_signal(signal.SIGINT)
        process.wait()
    assert snapshot(tmp_path) == {}


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with filling(tmp_path / "model") as process:
        process.kill()
        process.wait()
    assert len(snapshot(tmp_path)) == 2
    publish(tmp_path / "model")
    assert set(snapshot(tmp_path)) == {"model", "model/manifest.json", "model/content"}


def test_what_a_living_process_makes_is_left_alone(tmp_path: Path) -> None:
    with filling(tmp_path / "model"):
        publish(tmp_path / "model")
        assert len([path for path in tmp_path.iterdir() if ".partial-" in path.name]) == 1


def test_other_hidden_files_are_left_alone(tmp_path: Path) -> None:
    for name in (".model.partial-notes", ".other.partial-0123abcd", ".model.partial"):
        (tmp_path / name).mkdir()
    publish(tmp_path / "model")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("arrived", [False, True])
def test_death_between_the_two_renames_loses_nothing(tmp_path: Path, arrived: bool) -> None:
    out = tmp_path / "model"
    publish(out, "old")
    out.rename(tmp_path / ".model.replaced-0123abcd")
    if arrived:
        publish(tmp_path / "elsewhere", "newer")
        (tmp_path / "elsewhere").rename(out)
    with pytest.raises(ValueError, match="stop"), staging(out):
        raise ValueError("stop")
    assert (out / "content").read_text() == ("newer" if arrived else "old")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


EXCHANGE = """
import os, signal, sys
from pathlib import Path
from convert import publish
rename = Path.rename
def interrupted(self, target):
    os.kill(os.getpid(), signal.SIGINT)
    return rename(self, target)
Path.rename = interrupted
try:
    with publish.staging(Path(sys.argv[1])) as directory:
        (directory / "content").write_text("new")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_interrupt_waits_until_the_exchange_is_over(tmp_path: Path) -> None:
    publish(tmp_path / "model", "old")
    command = [sys.executable, "-c", EXCHANGE, str(tmp_path / "model")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "interrupted\n"
    assert snapshot(tmp_path) == {"model": None, "model/content": b"new"}
