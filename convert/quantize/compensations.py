"""Owns how a matrix finds the calibration of its inputs, which is made after the graph was built."""

from dataclasses import dataclass
from typing import Protocol

from convert.quantize.gptq import Compensation


class Calibrated(Protocol):
    """A calibration, as far as quantizers need it."""

    def __contains__(self, tensor: object) -> bool:
        """Whether the inputs of that matrix were seen."""

    def compensation(self, tensor: str) -> Compensation:
        """What those inputs ask of the rounding."""


@dataclass
class Compensations:
    """Empty until a calibration is put in."""

    source: Calibrated | None = None

    def of(self, tensor: str) -> Compensation | None:
        """None where the inputs of ``tensor`` were not seen, as those of an embedding table."""
        return self.source.compensation(tensor) if self.source is not None and tensor in self.source else None
