"""Files of a model: what is served, under which validators, and everything that is not."""

import os
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from convert import manifest
from tests.webapp.conftest import Tiny
from tests.webapp.model_directory import SHARD, write_model
from webapp import create_app


def test_roundtrip_of_every_listed_file(client: FlaskClient, models: Tiny) -> None:
    for path, entry in manifest.load(models.root / "tiny").files.items():
        response = client.get(models.url(path))
        assert response.status_code == 200
        assert response.data == (models.root / "tiny" / path).read_bytes()
        assert response.headers["ETag"] == f'"{entry.sha256}"'
        assert response.content_length == entry.size_bytes
        assert response.headers["Accept-Ranges"] == "bytes"
        assert "Content-Encoding" not in response.headers


def test_manifest_is_served_under_its_own_hash(client: FlaskClient, models: Tiny) -> None:
    response = client.get(models.url("manifest.json", models.revision))
    assert response.data == (models.root / "tiny" / "manifest.json").read_bytes()
    assert response.headers["ETag"] == f'"{models.revision}"'
    assert response.mimetype == "application/json"


def test_content_hash_is_immutable_and_main_is_revalidated(client: FlaskClient, models: Tiny) -> None:
    for path in ("manifest.json", SHARD):
        immutable = client.get(models.url(path, models.revision))
        assert immutable.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert client.get(models.url(path)).headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("config.json", "application/json"),
        ("chat_template.jinja", "text/plain; charset=utf-8"),
        ("onnx/model_q4.onnx", "application/octet-stream"),
        (SHARD, "application/octet-stream"),
    ],
)
def test_content_types(client: FlaskClient, models: Tiny, path: str, content_type: str) -> None:
    assert client.get(models.url(path)).headers["Content-Type"] == content_type


@pytest.mark.parametrize("revision", ["0" * 64, "dev", "Main", "", "main ", "refs/pr/1"])
def test_rejects_unknown_revision(client: FlaskClient, models: Tiny, revision: str) -> None:
    response = client.get(models.url(SHARD, revision))
    assert response.status_code == 404
    assert response.headers["Cache-Control"] == "no-store"


def test_serves_a_model_with_a_slash_in_its_name(client: FlaskClient, models: Tiny) -> None:
    response = client.get(f"/org/nested.model/resolve/main/{SHARD}")
    assert response.data == (models.root / "org" / "nested.model" / SHARD).read_bytes()


def test_serves_a_models_dir_that_is_one_model(models: Tiny) -> None:
    client = create_app({"MODELS_DIR": models.root / "tiny"}).test_client()
    assert [row["id"] for row in client.get("/api/models").get_json()] == ["tiny"]
    assert client.get(models.url(SHARD)).data == models.shard
    assert client.get(f"/other/resolve/main/{SHARD}").status_code == 404


def test_a_new_conversion_ends_the_old_revision(client: FlaskClient, models: Tiny) -> None:
    assert client.get(models.url(SHARD, models.revision)).status_code == 200
    shard = write_model(models.root / "tiny", shard_bytes=50, seed=9)
    assert client.get(models.url(SHARD, models.revision)).status_code == 404
    assert client.get(models.url(SHARD)).data == shard


@pytest.mark.parametrize("size", [b"short", b"x" * (2 << 20)])
def test_rejects_a_file_that_does_not_match_its_manifest(client: FlaskClient, models: Tiny, size: bytes) -> None:
    (models.root / "tiny" / SHARD).write_bytes(size)
    response = client.get(models.url(SHARD))
    assert response.status_code == 500
    assert "does not match its manifest" in response.get_json()["error"]["message"]
    assert "ETag" not in response.headers


def test_a_listed_file_that_is_missing_is_not_found(client: FlaskClient, models: Tiny) -> None:
    (models.root / "tiny" / SHARD).unlink()
    assert client.get(models.url(SHARD)).status_code == 404


def test_rejects_files_that_the_manifest_does_not_list(client: FlaskClient, models: Tiny) -> None:
    (models.root / "tiny" / "secret.txt").write_text("secret")
    for path in ("secret.txt", "onnx", "onnx/", "config.json/", "CONFIG.JSON", ".manifest.json.1.tmp"):
        assert client.get(models.url(path)).status_code == 404, path


def test_rejects_symlink_escape(client: FlaskClient, models: Tiny, tmp_path: Path) -> None:
    config = models.root / "tiny" / "config.json"
    outside = tmp_path / "outside.json"
    outside.write_bytes(config.read_bytes())  # same bytes, same length: only the place is wrong
    config.unlink()
    config.symlink_to(outside)
    assert client.get(models.url("config.json")).status_code == 404


def test_rejects_symlinked_folder_escape(client: FlaskClient, models: Tiny, tmp_path: Path) -> None:
    (models.root / "tiny" / "onnx").rename(tmp_path / "onnx")
    (models.root / "tiny" / "onnx").symlink_to(tmp_path / "onnx")
    assert client.get(models.url(SHARD)).status_code == 404


def test_rejects_a_loop_of_symlinks(client: FlaskClient, models: Tiny) -> None:
    config = models.root / "tiny" / "config.json"
    config.unlink()
    config.symlink_to(config)
    assert client.get(models.url("config.json")).status_code == 404


def test_follows_a_model_directory_that_is_a_link(client: FlaskClient, models: Tiny, tmp_path: Path) -> None:
    write_model(tmp_path / "elsewhere", shard_bytes=10)
    (models.root / "linked").symlink_to(tmp_path / "elsewhere")
    assert client.get(f"/linked/resolve/main/{SHARD}").status_code == 200


def test_head_tells_the_size_and_sends_nothing(client: FlaskClient, models: Tiny) -> None:
    response = client.head(models.url(SHARD), headers={"Range": "bytes=0-0"})
    assert response.status_code == 200
    assert response.content_length == len(models.shard)
    assert response.data == b""


def test_ranges(client: FlaskClient, models: Tiny) -> None:
    size = len(models.shard)
    cases = {
        "bytes=0-0": (0, 1),
        "bytes=0-1048575": (0, 1 << 20),
        "bytes=1048576-2097151": (1 << 20, size),
        "bytes=-17": (size - 17, size),
        "bytes=5-": (5, size),
        f"bytes=-{size + 9}": (0, size),
    }
    for header, (start, stop) in cases.items():
        response = client.get(models.url(SHARD, models.revision), headers={"Range": header})
        assert response.status_code == 206
        assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
        assert response.content_length == stop - start
        assert response.headers["ETag"] == models.etag(SHARD)
        assert response.data == models.shard[start:stop]


@pytest.mark.parametrize("start", ["{size}-", "{size}-{size}", "99999999999999-", "-0"])
def test_rejects_a_range_beyond_the_end(client: FlaskClient, models: Tiny, start: str) -> None:
    header = "bytes=" + start.format(size=len(models.shard))
    response = client.get(models.url(SHARD), headers={"Range": header})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{len(models.shard)}"
    assert response.get_json()["error"]["status"] == 416


@pytest.mark.parametrize("header", ["bytes=0-0,5-9", "bytes=9-1", "lines=0-1", "bytes=x"])
def test_answers_other_ranges_with_the_whole(client: FlaskClient, models: Tiny, header: str) -> None:
    response = client.get(models.url(SHARD), headers={"Range": header})
    assert response.status_code == 200
    assert "Content-Range" not in response.headers
    assert response.data == models.shard


def test_if_none_match(client: FlaskClient, models: Tiny) -> None:
    etag = models.etag(SHARD)
    for value in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        headers = {"If-None-Match": value, "Range": "bytes=0-0"}
        response = client.get(models.url(SHARD), headers=headers)
        assert (response.status_code, response.data) == (304, b""), value
        assert response.headers["ETag"] == etag
        assert response.headers["Cache-Control"] == "no-cache"
    assert client.get(models.url(SHARD), headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.head(models.url(SHARD), headers={"If-None-Match": etag}).status_code == 304


def test_if_range(client: FlaskClient, models: Tiny) -> None:
    etag = models.etag(SHARD)
    for value, status in {
        etag: 206,
        f"W/{etag}": 200,
        '"other"': 200,
        etag.strip('"'): 200,
        "Wed, 21 Oct 2015 07:28:00 GMT": 200,
    }.items():
        headers = {"Range": "bytes=0-3", "If-Range": value}
        assert client.get(models.url(SHARD), headers=headers).status_code == status, value


def test_if_match(client: FlaskClient, models: Tiny) -> None:
    for value, status in {models.etag(SHARD): 200, "*": 200, '"other"': 412}.items():
        assert client.get(models.url(SHARD), headers={"If-Match": value}).status_code == status, value


def test_is_never_encoded(client: FlaskClient, models: Tiny) -> None:
    response = client.get(models.url(SHARD), headers={"Accept-Encoding": "gzip, br, zstd, *"})
    assert "Content-Encoding" not in response.headers
    assert response.data == models.shard


def test_serves_an_empty_file(client: FlaskClient, models: Tiny) -> None:
    write_model(models.root / "tiny", shard_bytes=0)
    assert client.get(models.url(SHARD)).data == b""
    assert client.get(models.url(SHARD), headers={"Range": "bytes=0-0"}).status_code == 416


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a file that this user may not read")
def test_an_unreadable_manifest_hides_the_model(client: FlaskClient, models: Tiny) -> None:
    (models.root / "tiny" / "manifest.json").chmod(0)
    assert client.get(models.url(SHARD)).status_code == 404
