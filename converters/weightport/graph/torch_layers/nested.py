"""Models in the model: modules of their own, with a class each or one for all that are alike."""

from __future__ import annotations

import re

from ..nesting import MODEL
from ..operations import Operation
from ..torch_code import Call, statement
from ..torch_context import Context
from ..torch_module import body_of, emit
from ..torch_nesting import CallsDifferError, NestedModule
from ..torch_outputs import renamed
from ..torch_registry import emits

_COMMENT = re.compile(r"^ *#.*\n|  #.*$", re.MULTILINE)


@emits(MODEL)
def model(c: Context, operation: Operation) -> None:
    """A call of a nested model, and the module itself with the first call."""
    known = c.modules.get(operation.layer)
    orders = known.orders if known else tuple(c.order(operation, index) for index in range(len(operation.inputs)))
    if len(orders) != len(operation.inputs):
        raise CallsDifferError(operation.layer)
    inner = Context(operation.settings["graph"], c.checkpoint, c.channels_last, orders, c.file)
    emit(inner)
    results = [inner.order_of(result.value) for result in inner.graph.results]
    body = "\n".join(body_of(inner, results))
    code = _COMMENT.sub("", body)
    if known is None:
        known = NestedModule(c.name(operation.name), code, orders)
        c.modules[operation.layer] = known
        c.layers += statement(
            f"self.{known.attribute}", Call(c.file.classes.of(operation.layer, operation.name, body), ()), 2
        )
        c.tensors += [renamed(output, f"{known.attribute}.{output.name}") for output in inner.tensors]
    if known.code != code:
        raise CallsDifferError(operation.layer)
    given = tuple(c.get(operation, index, order) for index, order in enumerate(orders))
    made = Call(f"self.{known.attribute}", given)
    if len(results) == 1:
        c.put(operation, made, results[0])
        return
    variables = []
    for index, order in enumerate(results):
        variables.append(c.target(operation, index))
        c.hold(operation, variables[-1], order, index)
    c.line(", ".join(variables), made)
