"""Bars: what a benchmark must reach."""

from dataclasses import asdict, dataclass

__all__ = ["Bar"]


@dataclass(frozen=True)
class Bar:
    """One figure against its bar; ``at_most`` turns the comparison round."""

    name: str
    value: float
    bar: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure reaches its bar."""
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    def report(self) -> dict:
        """Fields for the JSON report."""
        return {**asdict(self), "met": self.met}
