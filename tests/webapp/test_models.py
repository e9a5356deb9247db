"""The list of models: rows, discovery, changes on disk, damaged neighbours."""

import logging
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from convert import manifest
from tests.webapp.conftest import Tiny
from tests.webapp.model_directory import write_model
from webapp.catalog import Catalog


def test_rows_say_what_the_manifest_says(client: FlaskClient, models: Tiny) -> None:
    nested, tiny = client.get("/api/models").get_json()
    assert nested["id"] == "org/nested.model"
    assert tiny == {
        "id": "tiny",
        "name": "Tiny",
        "task": "text-generation",
        "parameters": 123,
        "license": "apache-2.0",
        "family": "llama",
        "context_length": 64,
        "source": {"kind": "bundled", "name": "tiny", "revision": "sha256:0"},
        "variants": [
            {
                "dtype": "q4",
                "block_size": 32,
                "download_bytes": manifest.load(models.root / "tiny").variants[0].download_bytes,
                "weight_bytes": len(models.shard),
            }
        ],
        "manifest_url": f"/tiny/resolve/{models.revision}/manifest.json",
    }


def test_manifest_urls_lead_to_immutable_manifests(client: FlaskClient) -> None:
    for row in client.get("/api/models").get_json():
        response = client.get(row["manifest_url"])
        assert response.get_json()["format"] == manifest.FORMAT
        assert "immutable" in response.headers["Cache-Control"]


def test_list_is_revalidated(client: FlaskClient, models: Tiny) -> None:
    first = client.get("/api/models")
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get("/api/models", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    write_model(models.root / "another", shard_bytes=1)
    assert client.get("/api/models", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_models_come_and_go_while_running(client: FlaskClient, models: Tiny) -> None:
    def ids() -> list[str]:
        return [row["id"] for row in client.get("/api/models").get_json()]

    assert ids() == ["org/nested.model", "tiny"]
    (models.root / "tiny" / "manifest.json").unlink()
    assert ids() == ["org/nested.model"]
    assert client.get(models.url("config.json")).status_code == 404
    write_model(models.root / "tiny", shard_bytes=1)
    assert ids() == ["org/nested.model", "tiny"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": "featherweight-manifest"}', b"[" * 9999]
)
def test_rejects_damaged_manifest_and_serves_the_rest(
    client: FlaskClient, models: Tiny, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (models.root / "tiny" / "manifest.json").write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert [row["id"] for row in client.get("/api/models").get_json()] == ["org/nested.model"]
    assert len([record for record in caplog.records if "tiny is not served" in record.message]) == 1
    assert client.get(models.url("config.json")).status_code == 404


def test_staging_and_reserved_names_are_not_served(models: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    for name in (".tiny.staging", "static", "api", "org/resolve", "my model", "a/b/c"):
        write_model(models.root / name, shard_bytes=1)
    catalog = Catalog(models.root)
    with caplog.at_level(logging.WARNING):
        assert [model.name for model in catalog.models()] == ["org/nested.model", "tiny"]
        catalog.models()
    told = sorted(Path(record.args[0]).name for record in caplog.records)  # type: ignore[index,arg-type]
    assert told == ["api", "my model", "resolve", "static"]


def test_an_unchanged_manifest_is_read_once(models: Tiny) -> None:
    catalog = Catalog(models.root)
    assert catalog.find("tiny") is catalog.find("tiny")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../models/tiny", "tiny/.", "./tiny", "/tiny", "tiny/", "a//b", "t\0y", "TINY"]
)
def test_rejects_names_that_are_no_model(models: Tiny, name: str) -> None:
    assert Catalog(models.root).find(name) is None


def test_a_missing_models_dir_lists_nothing(tmp_path: Path) -> None:
    assert Catalog(tmp_path / "nowhere").models() == []
