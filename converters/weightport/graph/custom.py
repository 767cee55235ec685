"""Classes that users teach weightport: ``weightport.register_layer``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .operations import Shape

ShapeOf = Callable[[Mapping[str, Any], Sequence[Shape]], Shape]


@dataclass(frozen=True)
class CustomLayer:
    """What a user says of a class: an emitter for each target, and the shape that it makes."""

    emitters: Mapping[str, Callable[..., Any]]
    shape: ShapeOf | None


_REGISTERED: dict[str, CustomLayer] = {}


def register_layer(
    class_name: str, emitter: Callable[..., Any], *, target: str = "onnx", shape: ShapeOf | None = None
) -> None:
    """Teach what a custom Keras class computes.

    ``emitter(context, operation)`` writes it for one target; for ``"onnx"`` the context is a
    :class:`weightport.graph.onnx_context.Context`, and ``operation.settings`` is the class' own config.

    :param shape: ``shape(config, input_shapes)`` gives the output's shape, batch included (None: that of the input).

    Raises UsageError where the class has an emitter for that target already."""
    known = _REGISTERED.get(class_name)
    emitters = dict(known.emitters) if known else {}
    if target in emitters:
        raise UsageError(f"{class_name} has an emitter for {target} already")
    emitters[target] = emitter
    _REGISTERED[class_name] = CustomLayer(emitters, shape or (known.shape if known else None))


def registered_classes() -> Mapping[str, CustomLayer]:
    """The classes that users registered."""
    return _REGISTERED
