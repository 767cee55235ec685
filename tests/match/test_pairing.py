"""Pairing with a model that someone wrote by hand: kinds, sizes, words, numbers and order together, never a guess."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from weightport import RefusedError
from weightport.checkpoint import Checkpoint, Contents, Layer, LazyTensor, Structure
from weightport.match import Side, match, propose
from weightport.matching.names import Name

DENSE = {"keras": lambda i, o: {"kernel": (i, o), "bias": (o,)}, "torch": lambda i, o: {"weight": (o, i), "bias": (o,)}}


def lstm(framework: str, width: int, unit: int, layers: int = 1) -> dict[str, tuple[int, ...]]:
    if framework == "keras":
        return {"kernel": (width, 4 * unit), "recurrent_kernel": (unit, 4 * unit), "bias": (4 * unit,)}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        sizes = {"ih": (4 * unit, unit if layer else width), "hh": (4 * unit, unit)}
        shapes |= {f"weight_{side}_l{layer}": size for side, size in sizes.items()}
        shapes |= {f"bias_{side}_l{layer}": (4 * unit,) for side in sizes}
    return shapes


def side(framework: str, layers: Sequence[Any], *, ordered: bool = True) -> Side:
    """A checkpoint of dense layers, each a name (of 4 to 4) or a name and its sizes; or LSTMs, with their number."""
    tensors: dict[str, LazyTensor] = {}
    found = []
    for layer in layers:
        name, *sizes = (layer, 4, 4) if isinstance(layer, str) else layer
        kind = sizes.pop(0) if isinstance(sizes[0], str) else "dense"
        shapes = lstm(framework, *sizes) if kind == "lstm" else DENSE[framework](*sizes)
        found.append(Layer(name, (kind,), {key: f"{name}.{key}" for key in shapes}))
        for key, shape in shapes.items():
            tensors[f"{name}.{key}"] = LazyTensor(
                f"{name}.{key}", shape, np.dtype("float32"), partial(np.zeros, shape, "float32")
            )
    contents = Contents(f"{framework}.file", "test", framework, tensors, ordered=ordered)
    return Side(Checkpoint(contents, Structure(tuple(found))))


def paired(ours: Sequence[Any], theirs: Sequence[Any], *, ordered: bool = True) -> dict[str, str]:
    pairs = match(side("keras", ours, ordered=ordered), side("torch", theirs, ordered=ordered), {})
    return {" + ".join(s.name for s in pair.sources): " + ".join(t.name for t in pair.targets) for pair in pairs}


def refused(ours: Sequence[Any], theirs: Sequence[Any], *, ordered: bool = True) -> str:
    with pytest.raises(RefusedError) as caught:
        paired(ours, theirs, ordered=ordered)
    return str(caught.value)


@pytest.mark.parametrize("ordered", [True, False])
def test_words_tell_what_order_would_get_wrong(ordered: bool) -> None:
    found = paired(["encoder_dense", "decoder_dense"], ["decoder.proj", "encoder.proj"], ordered=ordered)
    assert found == {"encoder_dense": "encoder.proj", "decoder_dense": "decoder.proj"}


def test_one_word_may_begin_the_other() -> None:
    found = paired(["enc_dense", "dec_dense"], ["net.decoder.fc", "net.encoder.fc"])
    assert found == {"enc_dense": "net.encoder.fc", "dec_dense": "net.decoder.fc"}


def test_initials_tell_the_parts_of_an_attention_apart() -> None:
    ours = [f"block_{block}_{part}" for block in range(3) for part in ("query", "key", "value")]
    theirs = [f"layers.{block}.attn.{part}_proj" for part in "vqk" for block in range(3)]
    found = paired(ours, theirs, ordered=False)
    assert found["block_1_query"] == "layers.1.attn.q_proj"
    assert found["block_2_value"] == "layers.2.attn.v_proj"
    assert len(found) == 9


def test_camel_case_and_digits_of_ranks_are_no_words_of_their_own() -> None:
    assert Name.of("myEncoder.Conv2D_3") == Name(("my", "encoder", "conv2d"), (3,))
    assert Name.of("block_2_conv1") == Name(("block", "#", "conv"), (2, 1))
    assert Name.of("dense") == Name(("dense",), (-1,))


def test_names_that_say_nothing_leave_it_to_the_order() -> None:
    assert paired(["dense", "dense_1", "dense_2"], ["0", "2", "4"]) == {"dense": "0", "dense_1": "2", "dense_2": "4"}
    assert paired(["first", "last"], ["hidden", "head"]) == {"first": "hidden", "last": "head"}


def test_numbers_tell_where_a_file_has_no_order() -> None:
    ours = [f"layer_{index}" for index in (10, 2, 1)]
    assert paired(ours, ["fc3", "fc1", "fc2"], ordered=False) == {"layer_1": "fc1", "layer_2": "fc2", "layer_10": "fc3"}


def test_numbers_that_go_against_the_order_are_not_settled() -> None:
    message = refused(["dense_1", "dense_2"], ["fc2", "fc1"])
    assert "their numbers do not go with their order" in message
    for name in ("dense_1", "dense_2", "fc1", "fc2"):
        assert name in message


def test_words_that_go_against_the_order_are_not_settled() -> None:
    message = refused(["left_1", "left_2", "right"], ["right.a", "right.b", "left.c"])
    assert "their names point another way than their order" in message


def test_as_many_candidates_as_are_alike_are_named_and_none_is_chosen() -> None:
    message = refused(["encoder", "decoder"], ["encoder_a", "encoder_b", "decoder"], ordered=False)
    assert "encoder of the source could each go into any of encoder_a, encoder_b" in message


def test_layers_between_others_of_certain_pairs_have_to_stand_alike() -> None:
    """Two towers, whose second layers cannot be told apart but by the ones before them, that stand the other way."""
    ours = [("x", 3, 7), "p", ("y", 5, 7), "q"]
    assert paired(ours, [("one", 3, 7), "r", ("two", 5, 7), "s"])["p"] == "r"
    message = refused(ours, [("two", 5, 7), "r", ("one", 3, 7), "s"])
    assert "the layers around them stand in another order" in message


def test_stacks_whose_names_go_against_their_order_are_not_settled() -> None:
    singles = [(f"{part}_{level}", "lstm", 4, 4) for part in ("encoder", "decoder") for level in ("low", "high")]
    stacks = [(f"{part}.rnn", "lstm", 4, 4, 2) for part in ("encoder", "decoder")]
    assert paired(singles, stacks) == {
        "encoder_low + encoder_high": "encoder.rnn",
        "decoder_low + decoder_high": "decoder.rnn",
    }
    assert "their names point another way than their order" in refused(singles, stacks[::-1])


def test_every_pair_says_why_it_is_one() -> None:
    ours = ["same", ("only", 4, 9), "left_a", "right_a", ("dense", 7, 7), ("dense_1", 7, 7)]
    theirs = ["same", ("other", 4, 9), "b.right", "b.left", ("0", 7, 7), ("1", 7, 7)]
    found = {pair.sources[0].name: pair.how for pair in match(side("keras", ours), side("torch", theirs), {})}
    assert found == {
        "same": "name",
        "only": "kind and shape",
        "left_a": "kind, shape and words of the name",
        "right_a": "kind, shape and words of the name",
        "dense": "kind and order",
        "dense_1": "kind and order",
    }


def test_a_proposal_has_the_pairs_and_the_open_ends_beside_one_another() -> None:
    source, target = side("keras", ["p", "q", ("a", 3, 9)], ordered=False), side("torch", ["r", "s", ("b", 3, 9)])
    found = propose(source, target, {})
    assert [pair.names for pair in found.pairs] == ["a -> b"]
    (open_end,) = found.ambiguities
    assert ([x.name for x in open_end.sources], [x.name for x in open_end.targets]) == (["p", "q"], ["r", "s"])


def test_several_ambiguities_are_all_told_at_once() -> None:
    sizes = [(4, 4), (5, 5)]
    ours = [(f"{name}{i}", *size) for i, size in zip("xy", sizes, strict=True) for name in ("p", "q")]
    theirs = [(f"{name}{i}", *size) for i, size in zip("xy", sizes, strict=True) for name in ("r", "s")]
    message = refused(ours, theirs, ordered=False)
    assert message.startswith("keras.file and torch.file could be paired in several ways\n")
    assert "px, qx" in message
    assert "py, qy" in message


def test_a_long_list_of_candidates_is_cut() -> None:
    message = refused([f"a{'b' * i}" for i in range(30)], [f"c{'d' * i}" for i in range(31)])
    assert "and 18 more of the source" in message


def test_thousands_of_layers_in_blocks_are_paired_by_words_and_order() -> None:
    parts = {
        "attention_query": "attn.q",
        "attention_output": "attn.out",
        "dense_up": "mlp.up",
        "dense_down": "mlp.down",
    }
    ours = [f"block_{block}_{part}" for block in range(500) for part in parts]
    theirs = [f"layers.{block}.{part}" for block in range(500) for part in reversed(parts.values())]
    found = paired(ours, theirs)
    assert all(found[f"block_{b}_{one}"] == f"layers.{b}.{other}" for b in range(500) for one, other in parts.items())
