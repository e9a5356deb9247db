"""The direction in which data flows: who may import whom, in Python and in JavaScript, and who reads the manifest."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A stage may import what stands before it, never what stands after it.
CONVERT_LAYERS = [
    "errors",
    "dtypes",
    "kv_cache",
    "progress",
    "runtime",
    "checkpoint",
    "sources",
    "graph",
    "quantize",
    "families",
    "shards",
    "resume",
    "manifest",
    "publish",
    "planning",
    "model_directory",
    "calibration",
    "budget",
    "pipeline",
    "inspection",
    "trial_run",
    "verification",
    "evaluation",
    "fit",
    "commands",
    "cli",
    "__main__",
]
STATIC_LAYERS = [
    "errors.js",
    "sha256.js",
    "local_storage.js",
    "manifest",
    "delivery",
    "text",
    "engine",
    "backends",
    "tasks",
    "device",
    "worker",
    "weigh_in.js",
    "model.js",
    "featherweight.js",
    "app",
]
WEBAPP_READS = {"convert", "convert.manifest", "convert.errors"}
JS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)  # JSDoc names types with import("./file.js")
JS_IMPORT = re.compile(
    r"""(?:^|[;}\s])(?:import|export)\s[^;'"]*?from\s*["'](\.[^"']+)["']|\bimport\(\s*["'](\.[^"']+)["']"""
)


def python_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def python_modules(package: str) -> dict[str, Path]:
    files = (path for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def js_modules() -> dict[str, Path]:
    files = (path for path in (ROOT / "static").rglob("*.js") if "vendor" not in path.parts)
    return {str(path.relative_to(ROOT / "static")): path for path in files}


def js_imports(path: Path) -> set[str]:
    found = set()
    code = JS_COMMENT.sub("", path.read_text())
    for static, dynamic in JS_IMPORT.findall(code):
        target = (path.parent / (static or dynamic)).resolve()
        if "vendor" not in target.parts:
            found.add(str(target.relative_to(ROOT / "static")))
    return found


def assert_no_cycle(edges: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join((*trail, name))}"
        if name not in done:
            for target in edges.get(name, ()):
                visit(target, (*trail, name))
            done.add(name)

    for name in edges:
        visit(name, ())


@pytest.mark.parametrize("package", ["convert", "webapp"])
def test_python_has_no_import_cycle(package: str) -> None:
    modules = python_modules(package)
    assert modules
    edges = {name: {item for item in python_imports(path) if item in modules} for name, path in modules.items()}
    # `from package import name` also imports the package itself; only its __init__ could close a cycle.
    assert_no_cycle({name: {target for target in targets if target != name} for name, targets in edges.items()})


def test_convert_imports_only_earlier_stages() -> None:
    for name, path in python_modules("convert").items():
        if name == "convert":
            continue
        stage = name.split(".")[1]
        for target in python_imports(path):
            assert not target.startswith("webapp"), f"{name} imports {target}"
            parts = target.split(".")
            if parts[0] != "convert" or len(parts) == 1 or parts[1] not in CONVERT_LAYERS:
                continue
            assert CONVERT_LAYERS.index(parts[1]) <= CONVERT_LAYERS.index(stage), f"{name} imports {target}"


def test_every_convert_module_has_its_place() -> None:
    stages = {name.split(".")[1] for name in python_modules("convert") if "." in name}
    assert stages == set(CONVERT_LAYERS)


def test_webapp_reads_only_the_manifest_of_convert() -> None:
    for name, path in python_modules("webapp").items():
        targets = {target for target in python_imports(path) if target.split(".")[0] == "convert"}
        owners = {target if target in WEBAPP_READS else target.rpartition(".")[0] for target in targets}
        assert owners <= WEBAPP_READS, f"{name} imports {targets}"


def test_javascript_imports_only_earlier_layers() -> None:
    modules = js_modules()
    for name, path in modules.items():
        layer = name.split("/")[0]
        assert layer in STATIC_LAYERS, f"static/{name} has no layer"
        for target in js_imports(path):
            assert target in modules, f"static/{name} imports {target}, which does not exist"
            assert STATIC_LAYERS.index(target.split("/")[0]) <= STATIC_LAYERS.index(layer), f"{name} imports {target}"


def test_javascript_has_no_import_cycle() -> None:
    assert_no_cycle({name: js_imports(path) for name, path in js_modules().items()})


def test_one_javascript_module_reads_the_manifest() -> None:
    readers = {name for name, path in js_modules().items() if "featherweight-manifest" in path.read_text()}
    assert readers == {"manifest/manifest.js"}


def test_one_python_module_writes_and_reads_the_manifest() -> None:
    owners = {
        name
        for package in ("convert", "webapp")
        for name, path in python_modules(package).items()
        if "featherweight-manifest" in path.read_text()
    }
    assert owners == {"convert.manifest.records"}


def test_core_needs_no_torch() -> None:
    for package in ("convert", "webapp"):
        for name, path in python_modules(package).items():
            roots = {target.split(".")[0] for target in python_imports(path)}
            assert not roots & {"torch", "transformers", "pickle"}, name
