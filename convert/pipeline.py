"""Runs a conversion from source to published model directory: read, plan, stage, write, publish."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path

from convert import __version__, manifest
from convert.budget import choices, weight_of, within
from convert.calibration import Calibration, calibrated
from convert.checkpoint.checkpoint import Checkpoint
from convert.checkpoint.finite import finite_view
from convert.dtypes import BLOCK_SIZES, EMBEDDING_BITS, Dtype
from convert.errors import UnsupportedModel
from convert.families import FAMILIES, find_family
from convert.families.exported import TASKS as EXPORTED_TASKS
from convert.families.exported import exported_family
from convert.families.family import Family
from convert.model_directory import write_model
from convert.planning import Plan, plan_variant
from convert.progress import Progress
from convert.publish import staging
from convert.quantize.native import quantizer_name
from convert.quantize.recipe import Formats, Method, Recipe
from convert.resume import Journal, conversion_key
from convert.sources import resolve
from convert.sources.exporter import exported

# Architectures end in the task they were trained for, as in "DistilBertForSequenceClassification".
TASK_ENDINGS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForPreTraining": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
}


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion made; ``peak_memory_bytes`` is that of the whole process."""

    out_dir: Path
    manifest: manifest.Manifest
    wall_s: float
    peak_memory_bytes: int
    quantizer: str
    """What rounded the weights: "native" or "numpy", to the same bytes."""
    nonfinite: tuple[str, ...]
    """Tensors that had weights which are NaN or infinite, taken as 0."""
    recipe: Recipe
    """The one that was given, and the rules that a target size added."""


def convert(
    source: str,
    out_dir: Path,
    *,
    dtypes: Sequence[Dtype] = (),
    block_size: int | None = None,
    embedding_bits: int = EMBEDDING_BITS[0],
    task: str | None = None,
    revision: str | None = None,
    model_id: str | None = None,
    allow_nonfinite: bool = False,
    method: Method = Method.RTN,
    recipe: Recipe | None = None,
    calibration_text: str | None = None,
    target_bytes: int | None = None,
    progress: Progress,
) -> ConversionReport:
    """Convert ``source`` into the model directory ``out_dir``, which appears complete or not at all.

    Args:
        source: directory, ``.gguf`` file, hub id or ``bundled:NAME``.
        dtypes: variants to make; none asks for the family's default.
        block_size: weights that share one scale; left to the family and the bits when absent.
        embedding_bits: of embedding tables and output heads in quantized variants, 8 or 4.
        task: overrides the task that the architecture implies.
        revision: of a hub source.
        model_id: name under which the model is served; the directory's name when absent.
        allow_nonfinite: take weights that are NaN or infinite as 0, instead of refusing them.
        method: how weights are rounded that are not taken over as they are.
        recipe: other formats for some matrices of the quantized variants.
        calibration_text: what the model reads so that GPTQ and ``target_bytes`` see the inputs of the matrices.
        target_bytes: of the download at most, for the one variant that is made; gives more bits where they save most.

    Raises:
        FeatherweightError: the source is bad, unsupported or missing, or the output cannot be written.
    """
    started = time.monotonic()
    if block_size is not None and block_size not in BLOCK_SIZES:
        raise UnsupportedModel(f"block size {block_size} is not supported; choose one of {BLOCK_SIZES}")
    if embedding_bits not in EMBEDDING_BITS:
        raise UnsupportedModel(f"embeddings of {embedding_bits} bits are not supported; choose one of {EMBEDDING_BITS}")
    checkpoint = resolve(source, revision=revision, progress=progress)
    nonfinite: set[str] = set()
    if allow_nonfinite:
        checkpoint = replace(checkpoint, tensors=finite_view(checkpoint.tensors, nonfinite))
    with ExitStack() as stack:
        stack.callback(checkpoint.close)
        family, task = _open_family(checkpoint, task, progress, stack)
        wanted = tuple(dict.fromkeys(dtypes or family.default_dtypes))
        formats = Formats(block_size, embedding_bits, method, recipe or Recipe())
        build = partial(plan_variant, family, checkpoint, task)
        plans = [build(dtype, formats) for dtype in wanted]
        calibration = None
        sized = target_bytes is not None and calibration_text is not None
        if sized or any(Method.GPTQ in plan.methods for plan in plans):
            exact = build(Dtype.FP32, formats)
            calibration = stack.enter_context(_calibrated(exact, calibration_text, progress))
        if target_bytes is not None:
            formats = _formats_within(target_bytes, plans, partial(build, wanted[0]), formats, calibration, progress)
            plans = [build(wanted[0], formats)]
        for plan in plans:
            plan.compensate(calibration)
        total_bytes = sum(plan.written_bytes for plan in plans)
        # What was replaced in files that are not read again would go unsaid.
        key = "" if allow_nonfinite else _key(checkpoint, plans, task, [repr(formats), calibration_text])
        with staging(out_dir, needed_bytes=total_bytes, key=key) as directory:
            progress.start("convert", total_bytes)
            name = model_id or out_dir.resolve().name
            content = write_model(directory, checkpoint, plans, name, task, Journal(directory), progress)
    return ConversionReport(
        out_dir,
        content,
        time.monotonic() - started,
        _peak_memory_bytes(),
        quantizer_name(),
        tuple(sorted(nonfinite)),
        formats.recipe,
    )


def _peak_memory_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _open_family(checkpoint: Checkpoint, task: str | None, progress: Progress, stack: ExitStack) -> tuple[Family, str]:
    """The family that builds the model, and the task; an architecture without one is exported by optimum first."""
    model_type = str(checkpoint.config.get("model_type"))
    if model_type in FAMILIES or checkpoint.directory is None:
        family = find_family(model_type)
        return family, _choose_task(family.tasks, checkpoint, task)
    task = _choose_task(EXPORTED_TASKS, checkpoint, task)
    graph = stack.enter_context(exported(checkpoint.directory, model_type, task, progress))
    return exported_family(graph), task


def _choose_task(tasks: Sequence[str], checkpoint: Checkpoint, task: str | None) -> str:
    if task is None:
        architecture = str((checkpoint.config.get("architectures") or [""])[0])
        endings = (name for ending, name in TASK_ENDINGS.items() if architecture.endswith(ending))
        task = next(endings, tasks[0])
    if task not in tasks:
        raise UnsupportedModel(
            f"task {task!r} is not supported for {checkpoint.config['model_type']}; choose {' or '.join(tasks)}"
        )
    return task


def _calibrated(exact: Plan, text: str | None, progress: Progress) -> AbstractContextManager[Calibration]:
    if text is None:
        raise UnsupportedModel("the method gptq needs a text to calibrate on; give --calibration FILE")
    if len(exact.graphs) > 1:
        raise UnsupportedModel("the method gptq knows models of one graph only; use --method mse")
    return calibrated(exact.last.context, exact.last.facts.context_length, text, progress)


def _key(checkpoint: Checkpoint, plans: Sequence[Plan], task: str, options: Sequence[str | None]) -> str:
    """Stands for the bytes of all shards: what the weights are from, and what becomes of them."""
    graphs = [
        [each.stem, *((item.name, item.shape, item.onnx_dtype) for item in each.context.graph.initializers.values())]
        for plan in plans
        for each in plan.graphs
    ]
    return conversion_key([__version__, checkpoint.provenance, checkpoint.config, task, options, graphs])


def _formats_within(
    target_bytes: int,
    plans: Sequence[Plan],
    build: Callable[[Formats], Plan],
    formats: Formats,
    calibration: Calibration | None,
    progress: Progress,
) -> Formats:
    """``formats`` with rules for the matrices that no rule speaks of yet, so that the download fits."""
    if len(plans) != 1 or plans[0].dtype.linear_bits is None:
        raise UnsupportedModel("a target size is for one quantized variant; give one --dtype of q4, q4f16 and q8")
    matrices = {name: item for name, item in plans[0].matrices.items() if not formats.recipe.speaks_of(name)}
    progress.start("measure", sum(4 * prod(item.tensor.shape) for item in matrices.values()))
    inner = sum(not item.direct for item in plans[0].matrices.values())
    table = {}
    for name, matrix in matrices.items():
        moments = calibration.moments(name) if calibration and name in calibration else None
        table[name] = choices(matrix, moments, weight_of(matrix, inner))
        progress.advance(4 * prod(matrix.tensor.shape))
    rules = formats.recipe.rules

    def with_rules(chosen: Recipe) -> Formats:
        return replace(formats, recipe=Recipe((*rules, *chosen.rules)))

    return with_rules(within(table, lambda chosen: build(with_rules(chosen)).download_bytes(), target_bytes))
