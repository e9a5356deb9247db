"""Owns the files of a model directory: graphs, shards, what was copied, and the manifest, which comes last."""

from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from convert import manifest
from convert.checkpoint.checkpoint import Checkpoint
from convert.graph.cost import FLOAT_BYTES, GraphCost, graph_cost
from convert.graph.serialize import to_bytes, to_model
from convert.planning import BuiltGraph, Plan, config_bytes
from convert.progress import Progress
from convert.quantize.nbits import Import
from convert.resume import Journal
from convert.shards import FileEntry, hash_file, write_shards

GRAPH_FOLDER = "onnx"


def write_model(
    directory: Path,
    checkpoint: Checkpoint,
    plans: Sequence[Plan],
    model_id: str,
    task: str,
    journal: Journal,
    progress: Progress,
) -> manifest.Manifest:
    """Write every file of the model directory; the manifest comes last.

    Raises:
        BadCheckpoint: a weight cannot be read, or is not finite.
        UnsupportedModel: a tensor is too long.
        OutputFailed: a tensor or file cannot be written.
    """
    graphs = directory / GRAPH_FOLDER
    graphs.mkdir(exist_ok=True)
    written = [[_write_graph(graphs, plan, each, journal, progress) for each in plan.graphs] for plan in plans]
    journal.forget()
    every = [pair for pairs in written for pair in pairs]
    for name, data in checkpoint.files.items():
        (directory / name).write_bytes(data)
    shard_counts = {graph.path.split("/")[-1]: len(shards) for graph, shards in every}
    (directory / "config.json").write_bytes(config_bytes(checkpoint.config, shard_counts))
    small = [hash_file(directory / name, name) for name in sorted({"config.json", *checkpoint.files})]
    content = manifest.build(
        model=_model(checkpoint, plans[0], model_id, task),
        source=checkpoint.provenance,
        files=[*small, *(entry for graph, shards in every for entry in (graph, *shards))],
        variants=[_variant(plan, pairs) for plan, pairs in zip(plans, written, strict=True)],
    )
    manifest.write(content, directory)
    return content


def _write_graph(
    folder: Path, plan: Plan, built: BuiltGraph, journal: Journal, progress: Progress
) -> tuple[FileEntry, list[FileEntry]]:
    """The ``.onnx`` file and its shards."""
    graph, begun = built.context.graph, count(1)

    def on_tensor() -> None:
        progress.message(f"{plan.dtype}: tensor {next(begun)} of {len(graph.initializers)}")

    tensors = graph.initializers.values()
    shards = write_shards(
        tensors,
        folder,
        built.stem,
        first=plan.shared,
        on_bytes=progress.advance,
        on_tensor=on_tensor,
        finished=journal,
    )
    path = folder / f"{built.stem}.onnx"
    path.write_bytes(to_bytes(to_model(graph, shards.locations)))
    return hash_file(path, f"{GRAPH_FOLDER}/{path.name}"), shards.files


def _variant(plan: Plan, written: Sequence[tuple[FileEntry, Sequence[FileEntry]]]) -> manifest.VariantSpec:
    context = plan.last.context
    imports = sum((each.context.imports for each in plan.graphs), Counter[str]())
    costs = [graph_cost(built.context.graph) for built in plan.graphs]
    if costs[-1].text:  # what a decoder does once for a text goes with its encoder
        costs[0] += costs[-1].text
    *before, own = [
        manifest.GraphSpec(graph=graph.path, shards=tuple(entry.path for entry in shards), cost=_cost(built, cost))
        for built, cost, (graph, shards) in zip(plan.graphs, costs, written, strict=True)
    ]
    return manifest.VariantSpec(
        dtype=plan.dtype,
        block_size=plan.block_size,
        embedding_bits=context.embedding_bits if plan.dtype.linear_bits else None,
        lossless_import=set(imports) == {Import.LOSSLESS},
        imports={str(kind): count for kind, count in sorted(imports.items())},
        graph=own.graph,
        shards=own.shards,
        weight_bytes=plan.weight_bytes,
        largest_tensor_bytes=plan.largest_tensor_bytes,
        cost=own.cost,
        encoder=before[0] if before else None,
    )


def _cost(built: BuiltGraph, cost: GraphCost) -> manifest.Cost:
    seen = sum(item.bytes for name, item in cost.classes.items() if name.startswith("attention"))
    return manifest.Cost(
        per_token={
            name: manifest.OperatorCost(bytes=item.bytes, macs=item.macs) for name, item in cost.classes.items()
        },
        steps=cost.steps,
        kv_bytes_per_token=seen if built.facts.kv_cache else 0,
        activation_bytes_per_token=built.facts.activation_width * FLOAT_BYTES,
    )


def _model(checkpoint: Checkpoint, plan: Plan, model_id: str, task: str) -> manifest.Model:
    facts, pooling = plan.last.facts, checkpoint.pooling
    return manifest.Model(
        id=model_id,
        name=checkpoint.name,
        family=checkpoint.config["model_type"],
        task=task,
        parameters=plan.parameters,
        license=checkpoint.license,
        context_length=facts.context_length,
        vocab_size=facts.vocab_size,
        pooling=manifest.Pooling(**pooling) if pooling and task == "feature-extraction" else None,
        labels=facts.labels,
        kv_cache=facts.kv_cache,
    )
