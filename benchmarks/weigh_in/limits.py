"""Owns what makes a lesser device of this one: slower cores, network, less storage and memory, fewer features."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is taken from the browser; nothing by default."""

    name: str
    told: str = ""
    """For the table's reader."""
    busy: bool = False
    """One process per core beside it that does nothing but use it."""
    cores: float | None = None
    """What all of its processes get together, by a cgroup."""
    cpu_rate: float | None = None
    """How many times slower, by the browser's protocol."""
    bytes_per_s: float | None = None
    latency_ms: float = 0
    isolated: bool = True
    relaxed_simd: bool = True
    private: bool = False
    quota_bytes: int | None = None
    memory_gib: float | None = None
    """What `navigator.deviceMemory` says; half of it is what the page can really take (RLIMIT_DATA)."""
    viewport: tuple[int, int] | None = None


NONE = Limits("none")
MBIT = 1e6 / 8
LIMITS = {
    limits.name: limits
    for limits in (
        NONE,
        Limits("busy cores", "one process per core beside it that does nothing but use it", busy=True),
        Limits("half a core", "a cgroup gives all of the browser's processes half a core together", cores=0.5),
        Limits("phone", "CPU slowed four times and a small viewport, by the protocol", cpu_rate=4, viewport=(390, 844)),
        Limits("not isolated", "the server sends no COOP and COEP headers", isolated=False),
        Limits("no relaxed SIMD", "modules with its instructions are refused", relaxed_simd=False),
        Limits("3G", "1.6 Mbit/s, 150 ms, by the protocol", bytes_per_s=1.6 * MBIT, latency_ms=150),
        Limits("4G", "9 Mbit/s, 60 ms, by the protocol", bytes_per_s=9 * MBIT, latency_ms=60),
        Limits("long context", "nothing is taken: a cache of 1 MB for each token reaches WebAssembly's 4 GiB"),
        Limits("private window", "an incognito profile, whose storage is small", private=True),
        Limits("little storage", "a quota of 60 MB, by the protocol", quota_bytes=60_000_000),
        Limits("little memory", "the browser reports 0.25 GiB, and a tab gets half of that", memory_gib=0.25),
    )
}
