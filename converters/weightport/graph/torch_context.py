"""What an emitter writes PyTorch source with: the model's layers, the lines of ``forward`` and their variables.

A value is held in whatever order of axes it was made in, convolutions' with the channels first, and turned only where
another one is asked for. A variable is used again as soon as its value is not needed any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..checkpoint import Array, Checkpoint, Output
from ..errors import RefusedError
from ..plan import LayerPlan
from .operations import Graph, Operation, Shape, Value
from .torch_code import Call, Code, identifier, statement
from .torch_nesting import NestedClasses, NestedModule
from .torch_outputs import Made, renamed
from .weights import planned

Order = tuple[int, ...]
_SHORT = ("x", "y", "z")


@dataclass(frozen=True)
class Held:
    """A value in ``forward``: its variable, and which of its axes stands where."""

    variable: str
    order: Order


@dataclass
class File:
    """What the modules of one file share: the parts that it needs, the plans of all layers, the classes of nested
    models, and whether any value is held in another order than its natural one."""

    parts: dict[str, None] = field(default_factory=dict)
    plans: dict[str, LayerPlan] = field(default_factory=dict)
    classes: NestedClasses = field(default_factory=NestedClasses)
    turns: bool = False


@dataclass
class Context:
    """A module while it is being written. ``channels_last`` keeps every value as Keras has it; ``orders`` are those in
    which its inputs are given to it."""

    graph: Graph
    checkpoint: Checkpoint
    channels_last: bool
    orders: Sequence[Order]
    file: File = field(default_factory=File)
    layers: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    tensors: list[Output] = field(default_factory=list)
    flattened: dict[str, tuple[tuple[int, ...], Order]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = self.graph.values
        self.modules: dict[str, NestedModule] = {}
        self.arguments: list[str] = []
        self._held: dict[str, Held] = {}
        self._modules: dict[object, str] = {}
        self._names: set[str] = set()
        self._left = Counter(name for one in self.graph.operations for name in one.inputs if name)
        self._left.update(result.value for result in self.graph.results)
        for value, order in zip(self.graph.inputs, self.orders, strict=True):
            name = identifier(value.name, self.arguments)
            self.arguments.append(name)
            self._held[value.name] = Held(name, order)

    # Values.

    def value(self, operation: Operation, index: int = 0) -> Value:
        """An input of an operation."""
        return self.values[operation.inputs[index]]

    def has(self, operation: Operation, index: int) -> bool:
        """Whether an input is there."""
        return index < len(operation.inputs) and bool(operation.inputs[index])

    def order(self, operation: Operation, index: int = 0) -> Order:
        """The order in which an input is held."""
        return self.order_of(operation.inputs[index])

    def order_of(self, name: str) -> Order:
        """The order in which a value is held."""
        return self._held[name].order

    def get(self, operation: Operation, index: int = 0, order: Order | None = None) -> str:
        """An input in an order, by default its natural one."""
        return self.held(operation.inputs[index], order)

    def held(self, name: str, order: Order | None = None) -> str:
        """A value in an order, by default its natural one."""
        held = self._held[name]
        wanted = natural(len(held.order)) if order is None else order
        if held.order == wanted:
            return held.variable
        return f"{held.variable}{turn(held.order, wanted)}"

    def every(self, operation: Operation) -> tuple[list[str], Order]:
        """All inputs in one order, that of the first which is not in its natural one, where they have as many axes."""
        ranks = {self.values[name].rank for name in operation.inputs if name}
        orders = [self._held[name].order for name in operation.inputs if name]
        rank = max(ranks)
        turned = [order for order in orders if order != natural(len(order))]
        order = turned[0] if turned and len(ranks) == 1 else natural(rank)
        wanted = [order if len(order) == self.values[name].rank else None for name in operation.inputs]
        return [self.held(name, one) for name, one in zip(operation.inputs, wanted, strict=True)], order

    def kept(self, order: Order) -> Order:
        """The order in which what a layer computes in ``order`` is held: that one, or as Keras has it."""
        return natural(len(order)) if self.channels_last else order

    @property
    def place_of_channels(self) -> str:
        """A sentence for the model's own description; empty where every value is in its natural order anyway."""
        if "channels.channels_last" in self.file.parts:
            return "The channels are last throughout, as in Keras."
        if self.file.turns:
            return "The channels are first inside; what goes in and comes out is as in Keras."
        return ""

    def run(self, layer: str, x: str, order: Order) -> Code:
        """A layer's call on a value that is held as :meth:`kept` says; the layer itself wants it in ``order``."""
        if order == self.kept(order):
            return Call(layer, (x,))
        return Call(self.part("channels.channels_last"), (layer, x))

    def folds_into_dense(self, name: str) -> bool:
        """Whether a value goes into dense layers only that read nothing else, so that their columns may be turned."""
        users = [one for one in self.graph.operations if name in one.inputs]
        own = Counter(tuple(one.weights.values()) for one in self.graph.operations)
        return self.only_used_by(name, "dense") and all(own[tuple(one.weights.values())] == 1 for one in users)

    def only_used_by(self, name: str, kind: str) -> bool:
        """Whether a value goes into operations of one kind only."""
        users = [one.kind for one in self.graph.operations if name in one.inputs]
        return bool(users) and set(users) == {kind} and name not in {result.value for result in self.graph.results}

    # Lines of forward.

    def put(self, operation: Operation, code: Code, order: Order | None = None, index: int = 0) -> None:
        """Let the next line compute an output, and remember in which order it is."""
        value = operation.outputs[index]
        order = natural(value.rank) if order is None else order
        variable = self.target(operation, index)
        is_kept = order == self.kept(order)
        self.line(variable, code, self._told(operation, shape_text(value.shape, order)) if is_kept else "")
        self.keep(operation, variable, order, index)

    def keep(self, operation: Operation, variable: str, order: Order, index: int = 0) -> None:
        """Say that a variable has an output in an order; it is turned if all values are to be as Keras has them."""
        kept = self.kept(order)
        if kept != order:
            shape = operation.outputs[index].shape
            self.line(variable, f"{variable}{turn(order, kept)}", shape_text(shape, kept))
        self.hold(operation, variable, kept, index)

    def hold(self, operation: Operation, variable: str, order: Order | None = None, index: int = 0) -> None:
        """Say that a variable, or what can be said of one (``states[0]``), has an output."""
        value = operation.outputs[index]
        order = natural(value.rank) if order is None else order
        self._held[value.name] = Held(variable, order)
        self.file.turns |= order != natural(value.rank)

    def target(self, operation: Operation, index: int = 0) -> str:
        """The variable for an output: that of an input that nothing else needs, else a free one."""
        value = operation.outputs[index]
        dying = [name for name, count in Counter(operation.inputs).items() if name and self._left[name] <= count]
        busy = {
            base_of(held.variable)
            for name, held in self._held.items()
            if name != value.name and self._left[name] > 0 and name not in dying
        } | {base_of(self._held[one.name].variable) for one in operation.outputs[:index] if one.name in self._held}
        is_mask = value.dtype == "bool"
        usual = ("mask",) if is_mask else _SHORT
        mine = [base_of(self._held[name].variable) for name in dying if is_mask == (self.values[name].dtype == "bool")]
        choices = [*(name for name in mine if is_mask or name in _SHORT), *usual]
        kept = {*self.arguments}.difference((*_SHORT, "mask"))  # an argument of a longer name keeps its value
        free = next((name for name in choices if name not in {*busy, *kept}), None)
        return free or identifier(operation.name, {*busy, *kept})

    def beside(self, name: str) -> str:
        """A free variable of that name or one like it."""
        busy = {base_of(held.variable) for key, held in self._held.items() if self._left[key] > 0}
        return identifier(name, {*busy, *self.arguments})

    def is_used(self, name: str) -> bool:
        """Whether anything takes a value."""
        return self._left[name] > 0

    def is_used_once(self, name: str) -> bool:
        """Whether one operation takes a value, once."""
        return self._left[name] == 1

    def shape_comment(self, operation: Operation, index: int, *, steps: bool = False) -> str:
        """An output's shape; ``steps`` for that of every step where only the last is given."""
        shape = operation.outputs[index].shape
        if steps and not operation.settings["return_sequences"]:
            shape = (shape[0], self.value(operation).shape[1], *shape[1:])
        return self._told(operation, shape_text(shape, natural(len(shape))))

    def _told(self, operation: Operation, shape: str) -> str:
        """A shape, or nothing where it is that of an input: it has been told already."""
        known = [shape_text(self.values[name].shape, self.order_of(name)) for name in operation.inputs if name]
        return "" if shape in known else shape

    def both_ways_comment(self, operation: Operation) -> str:
        """The shape of both directions' steps side by side."""
        batch, time, _ = self.value(operation).shape
        return shape_text((batch, time, 2 * operation.settings["units"]), natural(3))

    def line(self, target: str, code: Code, comment: str = "") -> None:
        """Add a line, or as many as it takes."""
        self.lines += statement(target, code, 2, comment)

    def finish(self, operation: Operation) -> None:
        """Note that an operation has taken its inputs."""
        self._left.subtract(name for name in operation.inputs if name)

    # Layers and their tensors.

    def layer(self, operation: Operation, made: Code, weights: Mapping[str, Output]) -> str:
        """A submodule, once for each layer of the source: ``self.dense``. ``weights`` are by its parameters' names."""
        key = (operation.layer, operation.kind, tuple(sorted(operation.weights.values())), str(made))
        if key not in self._modules:
            name = self.name(operation.name)
            self._modules[key] = name
            self.layers += statement(f"self.{name}", made, 2)
            self.tensors += [renamed(output, f"{name}.{local}") for local, output in weights.items()]
        return f"self.{self._modules[key]}"

    def parameter(self, operation: Operation, suffix: str, output: Output) -> str:
        """A parameter of the model itself."""
        key = (operation.layer, suffix, "parameter")
        if key not in self._modules:
            name = self.name(f"{operation.name}_{suffix}")
            self._modules[key] = name
            sizes = ", ".join(map(str, output.shape)) or "()"
            made = Call("nn.Parameter", (f"torch.empty({sizes})",))
            self.layers += statement(f"self.{name}", made, 2)
            self.tensors.append(renamed(output, name))
        return f"self.{self._modules[key]}"

    def name(self, name: str) -> str:
        """A free name for an attribute of the model."""
        found = identifier(name, self._names)
        self._names.add(found)
        return found

    def part(self, name: str) -> str:
        """Have a definition of ``torch_parts`` in the file: ``lstm.LSTM``. Gives what it is called."""
        self.file.parts[name] = None
        return name.partition(".")[2]

    def planned(self, operation: Operation, target: str) -> dict[str, Output]:
        """An operation's weights in another layout of their kind."""
        found = planned(self.checkpoint, operation, target)
        self.file.plans[operation.layer] = found.plan
        return dict(found.tensors)

    def stored(self, operation: Operation, local: str, arrange: Callable[[Array], Array] = lambda array: array) -> Made:
        """A weight as it is stored, rearranged when it is written."""
        name = operation.weights.get(local)
        if name is None:
            raise RefusedError(f"{operation.layer}: the checkpoint has no {local} of it")
        tensor = self.checkpoint.tensors[name]
        shape = arrange(np.broadcast_to(np.empty((), np.bool_), tensor.shape)).shape
        return Made(local, shape, tensor.dtype, lambda: arrange(tensor.read()))

    def shape_of(self, operation: Operation, local: str) -> tuple[int, ...]:
        """The stored shape of a weight."""
        return self.checkpoint.tensors[operation.weights[local]].shape


def natural(rank: int) -> Order:
    """The axes as the graph has them."""
    return tuple(range(rank))


def channels_first(rank: int) -> Order:
    """Batch, channels, and the rest."""
    return (0, rank - 1, *range(1, rank - 1))


def turn(order: Order, wanted: Order) -> str:
    """What follows a value in one order to give it in another: ``.permute(0, 3, 1, 2)``, or nothing."""
    places = [order.index(axis) for axis in wanted]
    if places == list(range(len(places))):
        return ""
    if places == [*range(len(places) - 2), len(places) - 1, len(places) - 2]:
        return ".mT"
    return f".permute({', '.join(map(str, places))})"


def base_of(variable: str) -> str:
    """The variable in an expression such as ``states[0]``."""
    return variable.partition("[")[0].partition(".")[0]


def shape_text(shape: Shape, order: Order) -> str:
    """A shape for a comment, in the order in which the value is held."""
    sizes = [_size_text(shape, axis) for axis in order]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _size_text(shape: Shape, axis: int) -> str:
    size = shape[axis]
    if size is not None:
        return str(size)
    if axis == 0:
        return "batch"
    return "time" if axis == 1 and len(shape) <= 3 else f"size{axis}"
