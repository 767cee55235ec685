"""What a writer writes when it is given a template: the template's tensors, with the new ones in their places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..checkpoint import Contents, LazyTensor, Output
from ..errors import RefusedError


def with_template(tensors: Sequence[Output], template: Contents | None) -> list[Output]:
    """The template's tensors in the template's order, each replaced by the new one of its name; then the tensors
    whose names the template does not have, in their own order. Raises RefusedError where two have one name."""
    new = {tensor.name: tensor for tensor in tensors}
    if len(new) != len(tensors):
        (twice, _), *_ = Counter(tensor.name for tensor in tensors).most_common(1)
        raise RefusedError(f"two tensors are to be written as {twice!r}: a file has one place for each name")
    kept = {} if template is None else template.tensors
    carried = [new.pop(name, LazyTensor(name, old.shape, old.dtype, old.locate)) for name, old in kept.items()]
    return [*carried, *new.values()]
