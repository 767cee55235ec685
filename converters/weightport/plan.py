"""Plans: every move of a conversion, grouped by target tensor. Plain data, without a single array."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from .checkpoint import DType
from .notation import Block

EXACT, FOLDED, REFUSED = "exact", "folded", "refused"


@dataclass(frozen=True)
class SourceBlock:
    """A block of a source tensor, and the sign it enters with."""

    tensor: str
    block: Block
    sign: int = 1


@dataclass(frozen=True)
class Move:
    """One block of a target tensor: target = sum of sign x source block, plus a constant.

    No source: the block is filled with the constant. One source and no constant: a bit-exact copy through an axis
    permutation (axes pair by name). ``what`` says which role and labels the block holds.
    """

    what: str
    target: Block
    sources: tuple[SourceBlock, ...] = ()
    constant: float = 0.0

    @property
    def folds(self) -> bool:
        """Whether the block is computed rather than copied or filled."""
        return len(self.sources) > 1 or bool(self.sources and self.constant)


@dataclass(frozen=True)
class Requirement:
    """A source block that the target has no place for: every element must be ``value``, or the layer is refused."""

    what: str
    tensor: str
    block: Block
    value: float
    reason: str


@dataclass(frozen=True)
class TensorPlan:
    """All the moves that fill one target tensor, carried out in order; together they write every element."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    moves: tuple[Move, ...]


def carried(name: str, shape: tuple[int, ...], dtype: DType) -> TensorPlan:
    """The plan of a tensor that has the values of the source's tensor of its name, in the same places."""
    whole = Block(0, (("element", prod(shape), 1),))
    return TensorPlan(name, shape, dtype, (Move("as it was", whole, (SourceBlock(name, whole),)),))


@dataclass(frozen=True)
class LayerPlan:
    """One pair of layers (or of stacks of layers): its target tensors, and what must hold for it to be right."""

    kind: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    tensors: tuple[TensorPlan, ...]
    requirements: tuple[Requirement, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``exact`` or ``folded``. Sums whose other terms prove to be zero are settled to copies before this is
        final."""
        return FOLDED if any(move.folds for tensor in self.tensors for move in tensor.moves) else EXACT


@dataclass(frozen=True)
class Plan:
    """A whole conversion."""

    layers: tuple[LayerPlan, ...]

    @property
    def tensors(self) -> tuple[TensorPlan, ...]:
        """Every target tensor, in order."""
        return tuple(tensor for layer in self.layers for tensor in layer.tensors)

    def to_json(self) -> list[dict[str, Any]]:
        """The plan as JSON data."""
        return [
            {**asdict(layer), "tensors": [_tensor_json(tensor) for tensor in layer.tensors], "verdict": layer.verdict}
            for layer in self.layers
        ]


def _tensor_json(tensor: TensorPlan) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype),
        "moves": [asdict(move) for move in tensor.moves],
    }
