"""Graphs: a model as a list of operations that no framework owns.

A reader makes a :class:`Graph` from what a framework says of a model (``keras_reader``), an emitter writes one out
(``onnx_emitter``). A new source or a new target is one more module; see ``operations`` for what they meet on.
"""

from __future__ import annotations

from .operations import Graph, Operation, Result, Shape, Value

__all__ = ["Graph", "Operation", "Result", "Shape", "Value"]
