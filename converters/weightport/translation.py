"""One layer's arrays from one layout into another: what a migration script calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from .checkpoint import Array, Setting
from .engine import execute, settle
from .errors import RefusedError, UsageError
from .layouts import Layout, layout_named
from .plan import Plan
from .planner import Part, plan_layer
from .settings import unsupported
from .views import view_for, view_of


def translate(
    tensors: Mapping[str, Array],
    source: str,
    target: str,
    *,
    sizes: Mapping[str, int] = MappingProxyType({}),
    storage: Mapping[str, Setting] = MappingProxyType({}),
    allow: Iterable[str] = (),
    **settings: Setting,
) -> dict[str, Array]:
    """Translate one layer's tensors from the layout ``source`` to the layout ``target``.

    ``tensors`` are under the source layout's own names, e.g. ``{"kernel": (in, 4*unit), ...}`` for ``keras.lstm``;
    the result is under the target's. Biases that the target does not hold apart are summed.

    :param sizes: what no shape tells: ``{"unit": 6, "layer": 2}`` of one flat buffer.
    :param storage: which of the source layout's forms it is: ``{"transB": 1}`` of an ONNX Gemm. A target that has
        several forms gets its first.
    :param allow: settings that the target cannot run and that are carried all the same.
    :param settings: settings of the kind that the tensors do not show: ``reset="before"`` of a GRU without bias.

    Raises RefusedError where the target cannot express the layer, LayoutError where the tensors do not fit
    ``source``, UsageError where there is no such layout.

    >>> translate({"kernel": k, "recurrent_kernel": r, "bias": b}, "keras.lstm", "torch.lstm")
    """
    from_layout, to_layout = _layouts(source, target)
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    view = view_of(from_layout, {name: array.shape for name, array in arrays.items()}, settings, storage, sizes)
    refuse_unsupported(to_layout, {**view.settings, **settings}, source, allow)
    goal = view_for(to_layout, target_roles(to_layout, view.roles), view.counts, view.sizes, view.settings)
    layer = plan_layer(
        [Part(source, view, {name: name for name in view.shapes})],
        [Part(target, goal, {name: name for name in goal.shapes})],
        {**view.settings, **goal.settings},
        lambda name: arrays[name].dtype,
    )
    plan = settle(Plan((layer,)), arrays.__getitem__)
    result = {}
    for tensor in plan.tensors:
        result[tensor.name] = np.empty(tensor.shape, tensor.dtype)
        execute(tensor, arrays.__getitem__, result[tensor.name])
    return result


def target_roles(layout: Layout, roles: tuple[str, ...]) -> list[str]:
    """The roles that a fresh layer in ``layout`` has: the source's, and bookkeeping that starts from nothing."""
    incidental = [role.name for role in layout.kind.roles.values() if role.incidental]
    return [*roles, *incidental]


def refuse_unsupported(layout: Layout, settings: Mapping[str, Setting], name: str, allow: Iterable[str] = ()) -> None:
    """Raise RefusedError where the layout's framework cannot express a setting that ``allow`` does not name."""
    problems = unsupported(layout, settings, allow)
    if problems:
        raise RefusedError(f"{name} does not fit {layout.name}", problems)


def _layouts(source: str, target: str) -> tuple[Layout, Layout]:
    layouts = layout_named(source), layout_named(target)
    if layouts[0].kind.name != layouts[1].kind.name:
        raise UsageError(f"{source} and {target} are of two kinds; only layouts of one kind translate")
    return layouts
