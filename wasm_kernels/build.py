"""Builds the kernels with the pinned zig toolchain: three WebAssembly modules and a native library for the tests."""

import argparse
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

SOURCES = (
    "append_kv.c",
    "attention.c",
    "elementwise.c",
    "gather_rows.c",
    "matmul_q4.c",
    "matmul_q8.c",
    "normalize.c",
    "plan_run.c",
    "plan_step.c",
    "quantize_rows.c",
    "read_bandwidth.c",
    "repack_weights.c",
)
# The native library also holds the converter's quantizer, and the scalar reference that the tests compare with.
NATIVE_SOURCES = (*SOURCES, "quantize_weights.c", "reference.c")
EXPORTS = (
    "fw_activation_block_bytes",
    "fw_append_kv",
    "fw_attend",
    "fw_attend_ranges",
    "fw_combine_ranges",
    "fw_elementwise",
    "fw_gather_f32",
    "fw_gather_q4",
    "fw_gather_q8",
    "fw_kv_head_bytes",
    "fw_matmul_q16",
    "fw_matmul_q4",
    "fw_matmul_q8",
    "fw_normalize",
    "fw_packed_block_bytes",
    "fw_plan_run",
    "fw_quantize_rows",
    "fw_read_sum",
    "fw_repack_codes",
    "fw_repack_floats",
    "fw_repack_scales",
    "fw_repack_zero_points",
    "fw_widen_f16",
    "fw_worker_loop",
)
# What JavaScript needs to place its own data and the stacks of worker threads.
GLOBALS = ("__heap_base", "__stack_pointer")

FEATURES = "generic+simd128+bulk_memory+mutable_globals+nontrapping_fptoint+sign_ext"
STACK_BYTES = 65536
# Pages of 64 KiB; zig's linker refuses the full 65536.
MAX_MEMORY_BYTES = 65535 * 65536


@dataclass(frozen=True)
class WasmBuild:
    """One WebAssembly module."""

    name: str
    features: str
    threads: bool


WASM_BUILDS = (
    WasmBuild("kernels_relaxed_simd_threads", f"{FEATURES}+relaxed_simd+atomics", threads=True),
    WasmBuild("kernels_simd_threads", f"{FEATURES}+atomics", threads=True),
    WasmBuild("kernels_simd", FEATURES, threads=False),
)
COMMON_FLAGS = ("-std=c11", "-O3", "-ffreestanding", "-fno-sanitize=undefined", "-Wall", "-Wextra", "-Werror")


def wasm_command(build: WasmBuild, target: Path) -> list[str]:
    """Arguments of the compiler for one WebAssembly module."""
    linker = ["--no-entry", "--import-memory", f"--max-memory={MAX_MEMORY_BYTES}", "--strip-all"]
    linker += ["-z", f"stack-size={STACK_BYTES}"]
    if build.threads:
        linker.append("--shared-memory")
    linker += [f"--export={name}" for name in (*EXPORTS, *GLOBALS)]
    return [
        "-target",
        "wasm32-freestanding",
        f"-mcpu={build.features}",
        *COMMON_FLAGS,
        "-nostdlib",
        *(f"-Wl,{flag}" for flag in linker),
        *(str(HERE / name) for name in SOURCES),
        "-o",
        str(target),
    ]


def native_command(target: Path) -> list[str]:
    """Arguments of the compiler for the native library: x86-64 needs AVX2, other machines their baseline."""
    cpu = ["-mcpu=x86_64_v3"] if platform.machine().lower() in ("x86_64", "amd64") else []
    return [
        *cpu,
        *COMMON_FLAGS,
        "-ffp-contract=fast",
        "-fvisibility=hidden",
        "-fPIC",
        "-shared",
        "-s",
        *(str(HERE / name) for name in NATIVE_SOURCES),
        "-o",
        str(target),
    ]


def native_library(directory: Path = ROOT / "build" / "kernels") -> Path:
    """Where the native library lies."""
    ending = {"Darwin": ".dylib", "Windows": ".dll"}.get(platform.system(), ".so")
    return directory / f"kernels{ending}"


def compile_with(arguments: list[str]) -> None:
    """Run the pinned compiler.

    Raises:
        subprocess.CalledProcessError: it found an error, which it has printed.
    """
    subprocess.run([sys.executable, "-m", "ziglang", "cc", *arguments], check=True)


def build_wasm(directory: Path) -> list[Path]:
    """Build every WebAssembly module into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    targets = []
    for build in WASM_BUILDS:
        target = directory / f"{build.name}.wasm"
        compile_with(wasm_command(build, target))
        targets.append(target)
    return targets


def build_native(directory: Path) -> Path:
    """Build the native library into ``directory``."""
    target = native_library(directory)
    directory.mkdir(parents=True, exist_ok=True)
    compile_with(native_command(target))
    return target


def main() -> None:
    """Build everything, or with ``--only`` one half."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("wasm", "native"))
    only = parser.parse_args().only
    built = []
    if only != "native":
        built += build_wasm(ROOT / "static" / "wasm")
    if only != "wasm":
        built.append(build_native(native_library().parent))
    for path in built:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
