"""Which tensors of a Keras checkpoint belong to which layer, whether a kind covers the layer or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..checkpoint import Checkpoint


@dataclass(frozen=True)
class LayerWeights:
    """Tensors and layouts by the dotted name of the layer; ``reasons`` are sentences that begin with that name, of
    layers of which it is not known what their tensors are."""

    tensors: Mapping[str, Mapping[str, str]]
    layouts: Mapping[str, str]
    dtypes: Mapping[str, str]
    reasons: Sequence[str] = ()

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> LayerWeights:
        """From the structure that the framework found."""
        structure = checkpoint.structure
        tensors = {**structure.kindless, **{layer.name: layer.tensors for layer in structure.layers}}
        layouts = {layer.name: layer.layout for layer in structure.layers}
        dtypes = {name: str(tensor.dtype) for name, tensor in checkpoint.tensors.items()}
        return cls(tensors, layouts, dtypes, tuple(structure.unknown.values()))

    def of(self, name: str) -> Mapping[str, str]:
        """The tensors of a layer by its own names for them; none for one that has none.

        A layer that several models share is stored with the first of them: it is found by its own name then."""
        return self.tensors.get(self._stored(name), {})

    def layout(self, name: str, kind: str) -> str:
        """The layout that they are stored in: Keras 3's, if the file does not say another."""
        return self.layouts.get(self._stored(name)) or f"keras.{kind}"

    def reason(self, name: str) -> str:
        """Why it is not known what a layer's tensors are, as far as the file tells."""
        found = [reason.removeprefix(f"{name}: ") for reason in self.reasons if reason.startswith(f"{name}: ")]
        return found[0] if found else "the file does not tell"

    def dtype(self, tensor: str) -> str:
        """The dtype that a tensor is stored in."""
        return self.dtypes[tensor]

    def _stored(self, name: str) -> str:
        if name in self.tensors:
            return name
        own = name.rpartition(".")[2]
        others = [known for known in self.tensors if known.rpartition(".")[2] == own]
        return others[0] if len(others) == 1 and "." in name else name
