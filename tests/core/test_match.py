"""Pairing the layers of two checkpoints: by mapping, by name, by kind and order; never by guess."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from weightport import LayoutError, RefusedError, UsageError
from weightport.checkpoint import Checkpoint, Contents, Layer, LazyTensor, Structure
from weightport.match import Pair, Side, match

Shapes = Mapping[str, tuple[int, ...]]


def keras_lstm(width: int = 3, unit: int = 5) -> Shapes:
    return {"kernel": (width, 4 * unit), "recurrent_kernel": (unit, 4 * unit), "bias": (4 * unit,)}


def torch_lstm(width: int = 3, unit: int = 5, layers: int = 1) -> Shapes:
    shapes = {}
    for layer in range(layers):
        shapes |= {
            f"weight_ih_l{layer}": (4 * unit, unit if layer else width),
            f"weight_hh_l{layer}": (4 * unit, unit),
            f"bias_ih_l{layer}": (4 * unit,),
            f"bias_hh_l{layer}": (4 * unit,),
        }
    return shapes


def keras_dense(width: int, out: int) -> Shapes:
    return {"kernel": (width, out), "bias": (out,)}


def torch_linear(width: int, out: int) -> Shapes:
    return {"weight": (out, width), "bias": (out,)}


def side(framework: str, layers: Sequence[tuple[str, Any, Shapes]], *, ordered: bool = True) -> Side:
    """A checkpoint with these layers: name, kind (or the kinds that it can be), and shapes by the layout's names."""
    tensors, found = {}, []
    for name, kinds, shapes in layers:
        found.append(
            Layer(name, (kinds,) if isinstance(kinds, str) else kinds, {key: f"{name}.{key}" for key in shapes})
        )
        for key, shape in shapes.items():
            tensors[f"{name}.{key}"] = LazyTensor(
                f"{name}.{key}", shape, np.dtype("float32"), partial(np.zeros, shape, "float32")
            )
    contents = Contents(f"{framework}.file", "test", framework, tensors, ordered=ordered)
    return Side(Checkpoint(contents, Structure(tuple(found))))


def described(pairs: Sequence[Pair]) -> list[tuple[str, str, str]]:
    return [(" + ".join(o.name for o in p.sources), " + ".join(t.name for t in p.targets), p.how) for p in pairs]


def test_equal_names_of_equal_kinds_are_partners_whatever_the_order() -> None:
    source = side("keras", [("a", "dense", keras_dense(3, 4)), ("b", "dense", keras_dense(3, 4))], ordered=False)
    target = side("torch", [("b", "dense", torch_linear(3, 4)), ("a", "dense", torch_linear(3, 4))], ordered=False)
    assert described(match(source, target, {})) == [("b", "b", "name"), ("a", "a", "name")]
    assert not source.free
    assert not target.free


def test_an_equal_name_of_another_kind_is_no_partner() -> None:
    source = side("keras", [("a", "lstm", keras_lstm()), ("b", "dense", keras_dense(5, 4))])
    target = side("torch", [("b", "lstm", torch_lstm()), ("a", "dense", torch_linear(5, 4))])
    assert [pair[:2] for pair in described(match(source, target, {}))] == [("a", "b"), ("b", "a")]


def test_shapes_tell_what_order_does_not() -> None:
    sizes = {"x": (3, 4), "y": (4, 5), "z": (5, 6)}
    source = side("keras", [(name, "dense", keras_dense(*size)) for name, size in sizes.items()], ordered=False)
    target = side("torch", [(name * 2, "dense", torch_linear(*sizes[name])) for name in "zxy"], ordered=False)
    expected = [(name, name * 2, "kind and shape") for name in "zxy"]
    assert described(match(source, target, {})) == expected


def test_layers_of_equal_sizes_go_by_order_where_both_sides_have_one() -> None:
    source = side("keras", [(name, "dense", keras_dense(4, 4)) for name in ("dense", "dense_1")])
    target = side("torch", [(name, "dense", torch_linear(4, 4)) for name in ("0", "2")])
    assert described(match(source, target, {})) == [
        ("dense", "0", "kind and order"),
        ("dense_1", "2", "kind and order"),
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "count", "why"),
    [
        (False, True, 2, "one of the files has no order"),
        (True, False, 2, "one of the files has no order"),
        (True, True, 3, "there are 2 of them and 3 of the others"),
    ],
)
def test_an_ambiguity_lists_the_candidates_and_the_way_out(ours: bool, theirs: bool, count: int, why: str) -> None:
    source = side("keras", [(name, "dense", keras_dense(4, 4)) for name in ("p", "q")], ordered=ours)
    target = side("torch", [(name, "dense", torch_linear(4, 4)) for name in ("r", "s", "t")[:count]], ordered=theirs)
    listed = ", ".join(("r", "s", "t")[:count])
    message = f"dense: p, q of the source could each go into any of {listed} of the target ({why}); say which in a"
    with pytest.raises(RefusedError, match=re.escape(message)) as caught:
        match(source, target, {})
    assert '"p" = "r"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mapping_settles_an_ambiguity_and_comes_before_names() -> None:
    source = side("keras", [(name, "dense", keras_dense(4, 4)) for name in ("p", "q")], ordered=False)
    target = side("torch", [(name, "dense", torch_linear(4, 4)) for name in ("p", "q")], ordered=False)
    assert described(match(source, target, {"p": "q"})) == [("q", "p", "kind and shape"), ("p", "q", "mapping file")]


def test_what_has_no_partner_stays_free() -> None:
    source = side("keras", [("a", "dense", keras_dense(3, 4)), ("only_here", "lstm", keras_lstm())])
    target = side("torch", [("a", "dense", torch_linear(3, 4)), ("only_there", "dense", torch_linear(9, 9))])
    assert described(match(source, target, {})) == [("a", "a", "name")]
    assert list(source.free) == ["only_here"]
    assert list(target.free) == ["only_there"]


def test_a_stack_is_filled_by_single_layers_and_the_other_way_round() -> None:
    singles = [("first", "lstm", keras_lstm(3)), ("second", "lstm", keras_lstm(5)), ("third", "lstm", keras_lstm(5))]
    stack = [("rnn", "lstm", torch_lstm(layers=3))]
    for source, target in (
        (side("keras", singles), side("torch", stack)),
        (side("torch", stack), side("keras", singles)),
    ):
        (pair,) = match(source, target, {})
        names = {tuple(layer.name for layer in layers) for layers in (pair.sources, pair.targets)}
        assert names == {("first", "second", "third"), ("rnn",)}
        assert pair.how == "kind and order, as a stack"
        assert not source.free
        assert not target.free


def test_layers_whose_sizes_make_no_such_stack_stay_free() -> None:
    source = side("keras", [("first", "lstm", keras_lstm(3)), ("second", "lstm", keras_lstm(5))])
    target = side("torch", [("stack", "lstm", torch_lstm(3, unit=6, layers=2))])
    assert match(source, target, {}) == []
    assert list(source.free) == ["first", "second"]


def test_two_stacks_are_cut_where_both_have_an_end() -> None:
    source = side("keras", [(name, "lstm", keras_lstm(3 if name == "a" else 5)) for name in "abc"])
    target = side("torch", [("two", "lstm", torch_lstm(layers=2)), ("one", "lstm", torch_lstm(5))])
    assert [pair[:2] for pair in described(match(source, target, {}))] == [("a + b", "two"), ("c", "one")]


def test_parts_of_a_stack_know_where_they_stand() -> None:
    source = side("keras", [("first", "lstm", keras_lstm(3)), ("second", "lstm", keras_lstm(5))])
    parts = source.parts(source.checkpoint.layers, "lstm")
    assert [(part.name, part.first_layer) for part in parts] == [("first", 0), ("second", 1)]


def test_a_stack_without_an_order_is_not_guessed() -> None:
    source = side("keras", [(name, "lstm", keras_lstm(3 if name == "a" else 5)) for name in "abc"], ordered=False)
    target = side("torch", [("stack", "lstm", torch_lstm(layers=3))])
    assert match(source, target, {}) == []
    assert list(source.free) == ["a", "b", "c"]
    assert list(target.free) == ["stack"]


def test_a_stack_in_a_mapping() -> None:
    source = side("keras", [(name, "lstm", keras_lstm(3 if name == "a" else 5)) for name in "ab"], ordered=False)
    target = side("torch", [("stack", "lstm", torch_lstm(layers=2))])
    assert described(match(source, target, {"a": "stack", "b": "stack"})) == [("a + b", "stack", "mapping file")]


def test_a_matrix_that_could_be_two_kinds_is_what_its_partner_is() -> None:
    source = side("torch", [("one", ("dense", "embedding", "layer_norm"), {"weight": (7, 4)})])
    target = side("keras", [("words", "embedding", {"embeddings": (7, 4)})])
    (pair,) = match(source, target, {})
    assert (pair.kind, pair.how) == ("embedding", "kind and shape")


@pytest.mark.parametrize(
    ("mapping", "error", "message"),
    [
        ({"x": "a"}, UsageError, "keras.file: no layer 'x'; it has a, b"),
        ({"a": "x"}, UsageError, "torch.file: no layer 'x'; it has a, b"),
        ({"a": "b"}, RefusedError, "the mapping file pairs a (dense) with b (lstm)"),
    ],
)
def test_a_mapping_that_makes_no_sense(mapping: Any, error: type[Exception], message: str) -> None:
    source = side("keras", [("a", "dense", keras_dense(3, 4)), ("b", "lstm", keras_lstm())])
    target = side("torch", [("a", "dense", torch_linear(3, 4)), ("b", "lstm", torch_lstm())])
    with pytest.raises(error, match=re.escape(message)):
        match(source, target, mapping)


def test_a_layer_that_does_not_fit_its_kind_is_named_with_its_file() -> None:
    source = side("keras", [("a", "dense", {"kernel": (3, 4), "bias": (5,)})])
    with pytest.raises(LayoutError, match=re.escape("keras.file: layer 'a': tensor 'bias' of shape [5]")):
        match(source, side("torch", [("a", "dense", torch_linear(3, 4))]), {})
