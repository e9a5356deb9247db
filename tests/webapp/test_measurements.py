"""Receipts over HTTP: honest ones are stored once and come back in every form, hostile ones change nothing."""

import csv
import io
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pyarrow import parquet

from tests.webapp.conftest import Tiny
from tests.webapp.databases import postgresql
from tests.webapp.receipts import honest_receipt
from webapp import create_app


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/measurements.sqlite3"
    import sqlalchemy as sql

    url: str = request.getfixturevalue("postgresql_url")
    name = f"test_{uuid.uuid4().hex}"
    engine = sql.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sql.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.replace("/postgres?", f"/{name}?")


@pytest.fixture
def collecting(models: Tiny, static_dir: Path, database: str) -> Iterator[Flask]:
    app = create_app({"MODELS_DIR": models.root, "STATIC_DIR": static_dir, "MEASUREMENTS_URL": database})
    yield app
    app.extensions["featherweight.measurements"].store.close()


@pytest.fixture
def client(collecting: Flask) -> FlaskClient:
    return collecting.test_client()


def honest(models: Tiny, **changes: Any) -> dict[str, Any]:
    model = {"id": "tiny", "revision": models.revision, "dtype": "q4"}
    receipt = honest_receipt(model, [100, 120.0, 140], {"decode_tokens_per_s": 123.456, "load_s": 1.5})
    for path, value in changes.items():
        target = receipt
        *parents, last = path.split("__")
        for parent in parents:
            target = target[parent]
        target[last] = value
    return receipt


def stored(client: FlaskClient) -> list[dict[str, str]]:
    response = client.get("/api/measurements.csv")
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(response.text)))


def test_receipt_comes_back_in_every_form(client: FlaskClient, models: Tiny) -> None:
    receipt = honest(models)
    response = client.post("/api/measurements", json=receipt)
    assert (response.status_code, response.get_json()) == (201, {"id": receipt["id"], "status": "stored"})
    [line] = stored(client)
    assert (line["id"], line["model"], line["cores"], line["isolated"]) == (receipt["id"], "tiny", "2", "True")
    assert (line["measured_decode_tokens_per_s"], line["predicted_low_decode_tokens_per_s"]) == ("123.0", "100.0")
    assert line["measured_peak_memory_bytes"] == ""
    [row] = parquet.read_table(io.BytesIO(client.get("/api/measurements.parquet").data)).to_pylist()
    assert {name: "" if value is None else str(value) for name, value in row.items()} == line
    digest = client.get("/api/measurements").get_json()
    assert digest["count"] == 1
    assert digest["groups"][0]["decode_tokens_per_s"] == {"p10": 123.0, "p50": 123.0, "p90": 123.0}
    accuracy = digest["accuracy"]["decode_tokens_per_s"]
    assert (accuracy["count"], accuracy["inside_interval"]) == (1, 1.0)
    assert accuracy["median_error"] == pytest.approx(3 / 123)
    assert digest["accuracy"]["load_s"] is None
    assert digest["points"] == [{"model": "tiny", "dtype": "q4", "predicted": 120.0, "measured": 123.0}]


def test_no_receipts_are_a_sound_answer(client: FlaskClient) -> None:
    assert stored(client) == []
    assert parquet.read_table(io.BytesIO(client.get("/api/measurements.parquet").data)).num_rows == 0
    assert client.get("/api/measurements").get_json()["groups"] == []


def test_same_receipt_is_stored_once(client: FlaskClient, models: Tiny) -> None:
    receipt = honest(models)
    assert [client.post("/api/measurements", json=receipt).status_code for _ in range(3)] == [201, 200, 200]
    other = honest(models, id=receipt["id"], run__threads=1)
    assert client.post("/api/measurements", json=other).status_code == 409
    assert [line["threads"] for line in stored(client)] == ["2"]


def test_thousand_at_once_are_stored_exactly_once(collecting: Flask, models: Tiny) -> None:
    receipts = [honest(models) for _ in range(1000)]

    def post(receipt: dict[str, Any]) -> int:
        return collecting.test_client().post("/api/measurements", json=receipt).status_code

    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(post, receipts)) == {201}
    assert {line["id"] for line in stored(collecting.test_client())} == {receipt["id"] for receipt in receipts}
    assert len(stored(collecting.test_client())) == 1000


HOSTILE = {
    "no JSON": b"{",
    "nothing": b"",
    "no object": b"[]",
    "NaN": b'{"format": NaN}',
    "deep": b"[" * 4000,
    "no text": b"\xff\xfe\x00",
    "key twice": b'{"version": 1, "version": 1}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_refuses_what_is_no_receipt(client: FlaskClient, body: bytes) -> None:
    response = client.post("/api/measurements", data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.get_json()["error"]["message"]
    assert stored(client) == []


CHANGES: dict[str, dict[str, Any]] = {
    "script in a name": {"device__platform": "<script>alert(1)</script>"},
    "unknown field": {"device__user_agent": "Mozilla/5.0"},
    "wrong type": {"run__threads": "2"},
    "boolean for a number": {"measured__load_s": True},
    "no integer": {"run__threads": 1.5},
    "zero": {"measured__load_s": 0},
    "negative": {"measured__decode_tokens_per_s": -1},
    "beyond a float": {"measured__decode_tokens_per_s": 10**400},
    "descending interval": {"predicted__load_s": [3, 2, 1]},
    "half an interval": {"predicted__load_s": [1, 2]},
    "other version": {"version": 2},
    "no UUID": {"id": "1"},
    "null": {"device": None},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_refuses_bad_fields(client: FlaskClient, models: Tiny, changes: dict[str, Any]) -> None:
    response = client.post("/api/measurements", json=honest(models, **changes))
    assert response.status_code == 400
    assert "<script>" not in response.headers["Content-Type"]
    assert stored(client) == []


@pytest.mark.parametrize("missing", ["id", "model", "run", "device", "predicted", "measured"])
def test_refuses_missing_fields(client: FlaskClient, models: Tiny, missing: str) -> None:
    receipt = honest(models)
    del receipt[missing]
    response = client.post("/api/measurements", json=receipt)
    assert response.status_code == 400
    assert missing in response.get_json()["error"]["message"]


def test_refuses_models_that_are_not_served(client: FlaskClient, models: Tiny) -> None:
    for changes in ({"model__id": "other"}, {"model__revision": "0" * 64}, {"model__dtype": "fp32"}):
        assert client.post("/api/measurements", json=honest(models, **changes)).status_code == 422
    assert stored(client) == []


def test_refuses_large_bodies_and_other_types(client: FlaskClient, models: Tiny) -> None:
    large = json.dumps(honest(models)).encode() + b" " * 5000
    assert client.post("/api/measurements", data=large, content_type="application/json").status_code == 413
    body = json.dumps(honest(models))
    assert client.post("/api/measurements", data=body, content_type="text/plain").status_code == 415
    assert client.put("/api/measurements", json=honest(models)).status_code == 405
    assert stored(client) == []


def test_floods_are_refused_and_change_nothing(models: Tiny, static_dir: Path, database: str) -> None:
    settings = {"MODELS_DIR": models.root, "STATIC_DIR": static_dir, "MEASUREMENTS_URL": database}
    app = create_app({**settings, "MEASUREMENTS_RATE": "5 per minute"})
    client = app.test_client()
    answers = [client.post("/api/measurements", json=honest(models)) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [201] * 5 + [429] * 15
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert len(stored(client)) == 5
    app.extensions["featherweight.measurements"].store.close()


def test_database_that_does_not_answer_is_one_clear_error(models: Tiny, static_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    url = f"sqlite:///{tmp_path}/file/measurements.sqlite3"
    app = create_app({"MODELS_DIR": models.root, "STATIC_DIR": static_dir, "MEASUREMENTS_URL": url})
    response = app.test_client().post("/api/measurements", json=honest(models))
    assert response.status_code == 503
    assert str(tmp_path) not in response.text
    assert app.test_client().get("/api/models").status_code == 200
