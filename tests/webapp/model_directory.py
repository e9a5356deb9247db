"""Writes tiny model directories with sound manifests; their graphs are bytes that only a server ever sees."""

import json
import random
from pathlib import Path

from convert import manifest
from convert.dtypes import Dtype
from convert.shards import hash_file

SHARD = "onnx/model_q4.onnx_data"


def write_model(directory: Path, shard_bytes: int = (1 << 20) + 17, seed: int = 0) -> bytes:
    """Write a one-variant model into ``directory`` and give back the content of its shard."""
    shard = random.Random(seed).randbytes(shard_bytes)
    contents = {
        "config.json": json.dumps({"model_type": "llama", "seed": seed}).encode(),
        "chat_template.jinja": b"{{ messages[0].content }}",
        "onnx/model_q4.onnx": b"graph of nothing",
        SHARD: shard,
    }
    for path, content in contents.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    cost = manifest.Cost(per_token={}, steps=1, kv_bytes_per_token=0, activation_bytes_per_token=0)
    variant = manifest.VariantSpec(
        dtype=Dtype.Q4,
        block_size=32,
        lossless_import=False,
        graph="onnx/model_q4.onnx",
        shards=(SHARD,),
        weight_bytes=shard_bytes,
        largest_tensor_bytes=shard_bytes,
        cost=cost,
    )
    model = manifest.Model(
        id="tiny",
        name="Tiny",
        family="llama",
        task="text-generation",
        parameters=123,
        license="apache-2.0",
        context_length=64,
        vocab_size=7,
    )
    built = manifest.build(
        model=model,
        source={"kind": "bundled", "name": "tiny", "revision": "sha256:0"},
        files=[hash_file(directory / path, path) for path in contents],
        variants=[variant],
    )
    manifest.write(built, directory)
    return shard
