"""Names that an exporter lost: found again in the graph, and where it has none, by the values themselves."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest

import weightport as wp
from weightport import RefusedError

torch = pytest.importorskip("torch")
nn = torch.nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return x + self.linear2(torch.relu(self.linear1(x)))


class Encoder(nn.Module):
    """Every layer has the same size: only names or values tell them apart."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList([Block() for _ in range(3)])})
        self.rnn = nn.LSTM(6, 6, batch_first=True)
        self.other_rnn = nn.LSTM(6, 6, batch_first=True)

    def forward(self, x):
        for layer in self.encoder["layers"]:
            x = layer(x)
        return self.other_rnn(self.rnn(x)[0])[0]


def encoder(seed=1):
    torch.manual_seed(seed)
    return Encoder().eval()


def export(module, path):
    """By tracing, which renames what it transposes, as onnx::MatMul_64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.rand(3, 5, 6),), path, dynamo=False)


def nameless(path, to):
    """The same graph with its nodes' names gone, the initializers' made up and its nodes' order kept."""
    model = onnx.load(path)
    renamed = {tensor.name: f"onnx::{index}" for index, tensor in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = renamed[tensor.name]
    for node in model.graph.node:
        node.name = ""
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    onnx.save(model, to)


def test_a_traced_graph_tells_the_modules_by_its_scopes(tmp_path):
    module = encoder()
    export(module, tmp_path / "m.onnx")
    assert any(name.startswith("onnx::MatMul") for name in wp.open(tmp_path / "m.onnx").tensors)
    expected = {name for name, child in module.named_modules() if isinstance(child, nn.Linear | nn.LSTM)}
    assert {layer.name for layer in wp.open(tmp_path / "m.onnx").layers} == expected

    other = encoder(seed=9)
    report = wp.convert(tmp_path / "m.onnx", other)
    assert {layer.paired_by for layer in report.layers} == {"name"}
    for name, tensor in module.state_dict().items():
        if "bias_hh" not in name and "bias_ih" not in name:
            assert torch.equal(other.state_dict()[name], tensor), name


def shuffled(module):
    """The state dict in the alphabet's order of made-up names, so that neither names nor order tell."""
    names = [name for name, child in module.named_modules() if isinstance(child, nn.Linear | nn.LSTM)]
    made_up = {name: f"m{chr(ord('z') - index)}x" for index, name in enumerate(names)}
    state = module.state_dict()
    return {f"{made_up[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": state[key] for key in state}, made_up


def test_without_any_name_equal_values_tell(tmp_path):
    from safetensors.torch import save_file

    module = encoder()
    export(module, tmp_path / "named.onnx")
    nameless(tmp_path / "named.onnx", tmp_path / "m.onnx")
    state, made_up = shuffled(module)
    save_file(state, tmp_path / "trained.safetensors")
    found = wp.propose_mapping(tmp_path / "m.onnx", tmp_path / "trained.safetensors")
    assert found.unsettled == 0
    pairs = {pair.sources[0].name: pair.targets[0].name for pair in found.pairs}
    named = wp.open(tmp_path / "named.onnx").layers
    graph = wp.open(tmp_path / "m.onnx").layers
    assert len(graph) == len(named) == len(pairs) == 8
    assert pairs == {ours.name: made_up[one.name] for ours, one in zip(graph, named, strict=True)}
    assert {pair.how for pair in found.pairs} == {"equal values"}


def test_values_of_another_training_tell_nothing(tmp_path):
    from safetensors.torch import save_file

    export(encoder(), tmp_path / "named.onnx")
    nameless(tmp_path / "named.onnx", tmp_path / "m.onnx")
    save_file(shuffled(encoder(seed=2))[0], tmp_path / "other.safetensors")
    with pytest.raises(RefusedError, match="could each go into any of"):
        wp.convert(tmp_path / "m.onnx", tmp_path / "out.pt", into=tmp_path / "other.safetensors")


def test_two_layers_of_the_same_values_are_not_chosen_between(tmp_path):
    from safetensors.torch import save_file

    one = np.random.default_rng(1).normal(size=(3, 4, 4)).astype("float32")
    save_file({f"{n}.weight": torch.from_numpy(one[i]) for i, n in enumerate("abc")}, tmp_path / "a.safetensors")
    twice = {"x": one[2], "y": one[0], "z": one[0]}
    save_file({f"{n}.weight": torch.from_numpy(array.copy()) for n, array in twice.items()}, tmp_path / "b.safetensors")
    found = wp.propose_mapping(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert [pair.names for pair in found.pairs] == ["c -> x"]
    (left,) = found.ambiguities
    assert ([layer.name for layer in left.sources], [layer.name for layer in left.targets]) == (["a", "b"], ["y", "z"])
