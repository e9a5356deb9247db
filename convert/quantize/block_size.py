"""Owns how many weights share a scale where nobody says: what the bits ask for, and what fills the rows."""

USUAL = 32
"""As in GGUF files, whose blocks are then taken over."""
WIDEST = 256
"""Of a product; MatMulNBits has kernels up to here."""
TABLE_WIDEST = 2048
"""Of a table that is only looked up; the native quantizer takes no more."""


def compact_block_size(bits: int, width: int, *, looked_up: bool) -> int:
    """The block size for rows of ``width`` where each byte counts: wide for 8 bits, which hardly lose by it.

    Products need a power of two, and get the largest that pads no more than USUAL; a row of a table that is only
    ``looked_up`` is one block.
    """
    padded = _round_up(width, USUAL)
    if bits != 8:
        return USUAL
    if looked_up and padded <= TABLE_WIDEST:
        return padded
    size = WIDEST
    while _round_up(width, size) > padded:
        size //= 2
    return size


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
