"""Attention in Keras and in PyTorch, both ways: what is converted computes what the original does."""

from __future__ import annotations

import numpy as np
import pytest

import weightport as wp
from live_cases import randomise, tolerance
from weightport.errors import RefusedError

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
layers, nn = keras.layers, torch.nn

BATCH, TIME, STEPS = 3, 5, 7


class Scaled(nn.Module):
    """keras.layers.Attention with a scale, as one writes it in PyTorch."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, query, key, value):
        return (self.scale * query @ key.mT).softmax(-1) @ value


class Additive(nn.Module):
    """keras.layers.AdditiveAttention, as one writes it in PyTorch."""

    def __init__(self, features):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))

    def forward(self, query, key, value):
        return (self.scale * torch.tanh(query[:, :, None] + key[:, None])).sum(-1).softmax(-1) @ value


def heads(features, count, **options):
    return nn.MultiheadAttention(features, count, batch_first=True, **options)


# name: the Keras layer, the PyTorch module, the features of queries, keys and values
CASES = {
    "one size": (lambda: layers.MultiHeadAttention(3, 4), lambda: heads(12, 3), (12, 12, 12)),
    "square": (lambda: layers.MultiHeadAttention(4, 4), lambda: heads(16, 4), (16, 16, 16)),
    "no bias": (lambda: layers.MultiHeadAttention(2, 5, use_bias=False), lambda: heads(10, 2, bias=False), (10,) * 3),
    "kdim": (lambda: layers.MultiHeadAttention(3, 2), lambda: heads(6, 3, kdim=4, vdim=6), (6, 4, 6)),
    "kdim and vdim": (lambda: layers.MultiHeadAttention(2, 4), lambda: heads(8, 2, kdim=6, vdim=5), (8, 6, 5)),
    "one query a head": (lambda: layers.GroupQueryAttention(4, 2, 2), lambda: heads(8, 2), (8, 8, 8)),
    "scaled": (lambda: layers.Attention(use_scale=True), Scaled, (6, 6, 6)),
    "additive": (layers.AdditiveAttention, lambda: Additive(6), (6, 6, 6)),
}
case_of = pytest.mark.parametrize("case", CASES)
dtype_of = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def make(dtype):
    """The two sides of a case, with random values: a Keras model and a module, whose layer is called ``attention``."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)

    def both(case):
        make_layer, make_module, (query, key, value) = CASES[case]
        shapes = ((TIME, query), (STEPS, value), (STEPS, key))
        inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
        layer = make_layer()
        layer.name = "attention"
        called = layer(*inputs) if "heads" in str(layer.get_config()) else layer(inputs)
        model = keras.Model(inputs, called)
        randomise(model.weights, 1)
        holder = nn.Module()
        holder.attention = make_module()
        generator = torch.Generator().manual_seed(2)
        for tensor in holder.state_dict().values():
            tensor.uniform_(-0.6, 0.6, generator=generator)
        return model, holder.to(getattr(torch, dtype)).eval()

    yield both
    keras.config.set_dtype_policy(before)


def inputs_of(case, dtype):
    """Random queries, keys and values."""
    generator = np.random.default_rng(7)
    query, key, value = CASES[case][2]
    shapes = ((BATCH, TIME, query), (BATCH, STEPS, key), (BATCH, STEPS, value))
    return [generator.normal(size=shape).astype(dtype) for shape in shapes]


def assert_same(case, model, holder, dtype):
    query, key, value = inputs_of(case, dtype)
    with torch.no_grad():
        theirs = holder.attention(*map(torch.from_numpy, (query, key, value)))
    theirs = (theirs[0] if isinstance(theirs, tuple) else theirs).numpy()
    ours = np.asarray(model([query, value, key], training=False))
    # Keras rounds the root of the number of key features to float32, whatever the layer's dtype is.
    limit = max(tolerance(dtype), 1e-7) if case in {"no bias", "kdim"} else tolerance(dtype)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=limit)


@case_of
@pytest.mark.parametrize(
    ("source", "target", "dtype"), [("m.keras", "m.safetensors", "float32"), ("m.h5", "m.pt", "float64")]
)
def test_keras_becomes_torch_without_a_template(case, dtype, source, target, make, tmp_path, weightport):
    model, holder = make(case)
    model.save(tmp_path / source)
    weightport("convert", tmp_path / source, tmp_path / target)
    if target.endswith("pt"):
        holder.load_state_dict(torch.load(tmp_path / target, weights_only=True))
    else:
        from safetensors.torch import load_file

        holder.load_state_dict(load_file(tmp_path / target))
    assert_same(case, model, holder, dtype)


@case_of
@pytest.mark.parametrize(
    ("target", "dtype"), [("m.keras", "float64"), ("m.weights.h5", "float32"), ("m.h5", "float32")]
)
def test_torch_becomes_keras_which_tells_the_number_of_heads(case, target, dtype, make, tmp_path, weightport):
    model, holder = make(case)
    torch.save(holder.state_dict(), tmp_path / "m.pt")
    save = model.save_weights if target.endswith(".weights.h5") else model.save
    save(tmp_path / f"untrained.{target.partition('.')[2]}")
    template = tmp_path / f"untrained.{target.partition('.')[2]}"
    if (case, target) == ("scaled", "m.weights.h5"):  # one scalar, and nothing that says which of two it is
        assert "unfilled: layers/attention/vars/0" in weightport(
            "convert", tmp_path / "m.pt", tmp_path / target, "--into", template, status=1
        )
        return
    weightport("convert", tmp_path / "m.pt", tmp_path / target, "--into", template)
    model.load_weights(tmp_path / target)
    assert_same(case, model, holder, dtype)


@case_of
@dtype_of
def test_live_models_both_ways(case, dtype, make):
    model, holder = make(case)
    assert wp.convert(model, holder).verdict == "exact"
    assert_same(case, model, holder, dtype)
    randomise(model.weights, 3)
    before = {name: tensor.clone() for name, tensor in holder.state_dict().items()}
    wp.convert(holder, model)
    assert_same(case, model, holder, dtype)
    randomise(model.weights, 4)
    wp.convert(holder, model)
    wp.convert(model, holder)
    assert all(torch.equal(tensor, holder.state_dict()[name]) for name, tensor in before.items())


def test_the_heads_come_from_the_partner_of_that_name_where_layers_have_different_ones(tmp_path):
    inputs = keras.Input((TIME, 12))
    x = layers.MultiHeadAttention(3, 4, name="first")(inputs, inputs)
    x = layers.MultiHeadAttention(2, 6, name="second")(x, x)
    model = keras.Model(inputs, x)
    randomise(model.weights, 1)
    twin = nn.ModuleDict({"first": heads(12, 3), "second": heads(12, 2)}).eval()
    torch.save(twin.state_dict(), tmp_path / "m.pt")
    model.save(tmp_path / "m.keras")
    wp.convert(tmp_path / "m.pt", tmp_path / "back.keras", into=tmp_path / "m.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    x = np.random.default_rng(7).normal(size=(BATCH, TIME, 12)).astype("float32")
    with torch.no_grad():
        first, _ = twin["first"](*[torch.from_numpy(x)] * 3)
        second, _ = twin["second"](first, first, first)
    np.testing.assert_allclose(np.asarray(back(x)), second.numpy(), rtol=0, atol=1e-5)


def test_a_state_dict_alone_does_not_tell_its_heads(tmp_path):
    """Renamed into a template of the same framework it is carried, as no head is taken apart."""
    torch.save({f"a.{name}": tensor for name, tensor in heads(12, 3).state_dict().items()}, tmp_path / "a.pt")
    torch.save({f"b.{name}": tensor for name, tensor in heads(12, 3).state_dict().items()}, tmp_path / "b.pt")
    wp.convert(tmp_path / "a.pt", tmp_path / "c.pt", into=tmp_path / "b.pt")
    source, target = (torch.load(tmp_path / name, weights_only=True) for name in ("a.pt", "c.pt"))
    assert all(torch.equal(tensor, target[f"b.{name[2:]}"]) for name, tensor in source.items())
    with pytest.raises(wp.LayoutError, match="the shapes do not tell the size of 'head'; a template may"):
        wp.translate(
            {k: v.numpy() for k, v in heads(12, 3).state_dict().items()},
            "torch.multi_head_attention",
            "keras.multi_head_attention",
        )


@pytest.mark.parametrize(
    ("make_layer", "reason"),
    [
        (lambda: layers.GroupQueryAttention(4, 4, 2), "has one size for repeat and 1, not"),
        (lambda: layers.MultiHeadAttention(3, 4, value_dim=2), "has one size for value and key"),
        (lambda: layers.MultiHeadAttention(3, 5), "has one size for query_in and head x key"),
        (lambda: layers.MultiHeadAttention(4, 4, output_shape=7), "has one size for output and query_in"),
        (lambda: layers.MultiHeadAttention(4, 4, use_gate=True), "has no place for gate_weight"),
    ],
)
def test_what_nn_multihead_attention_cannot_hold_is_refused(make_layer, reason, tmp_path):
    inputs = keras.Input((TIME, 16))
    model = keras.Model(inputs, make_layer()(inputs, inputs))
    model.save(tmp_path / "m.keras")
    with pytest.raises(RefusedError, match=reason):
        wp.convert(tmp_path / "m.keras", tmp_path / "m.pt")


def test_a_learned_place_to_attend_to_is_refused_by_keras():
    module = nn.ModuleDict({"attention": heads(12, 3, add_bias_kv=True)})
    inputs = keras.Input((TIME, 12))
    model = keras.Model(inputs, layers.MultiHeadAttention(3, 4, name="attention")(inputs, inputs))
    with pytest.raises(RefusedError, match="has no place for extra_key"):
        wp.convert(module, model)


def test_attention_in_a_model_that_a_user_wrote_as_a_class(tmp_path):
    """A file of weights has neither a config nor class names: the names of the dense layers tell."""

    class Encoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.attend = layers.MultiHeadAttention(3, 4)
            self.grouped = layers.GroupQueryAttention(6, 2, 2)

        def call(self, x):
            return self.grouped(self.attend(x, x), x)

    model, x = Encoder(), np.random.default_rng(7).normal(size=(BATCH, TIME, 12)).astype("float32")
    model(x)
    randomise(model.weights, 1)
    model.save_weights(tmp_path / "m.weights.h5")
    twin = nn.ModuleDict({"attend": heads(12, 3), "grouped": heads(12, 2)}).eval()
    torch.save(twin.state_dict(), tmp_path / "twin.pt")
    names = {layer.name: goal for layer, goal in zip(wp.open(tmp_path / "m.weights.h5").layers, twin, strict=True)}
    wp.convert(tmp_path / "m.weights.h5", tmp_path / "m.pt", into=tmp_path / "twin.pt", mapping=names)
    twin.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    with torch.no_grad():
        first, _ = twin["attend"](*[torch.from_numpy(x)] * 3)
        second, _ = twin["grouped"](first, torch.from_numpy(x), torch.from_numpy(x))
    np.testing.assert_allclose(second.numpy(), np.asarray(model(x)), rtol=0, atol=1e-5)


def test_a_transformer_encoder_layer(tmp_path):
    """Its attention, norms and dense layers, from Keras and back, by the order of the layers and their kinds."""
    inputs = keras.Input((TIME, 12))
    attended = layers.MultiHeadAttention(3, 4, name="self_attn")(inputs, inputs)
    x = layers.LayerNormalization(epsilon=1e-5, name="norm1")(inputs + attended)
    inner = layers.Dense(20, activation="relu", name="linear1")(x)
    x = layers.LayerNormalization(epsilon=1e-5, name="norm2")(x + layers.Dense(12, name="linear2")(inner))
    model = keras.Model(inputs, x)
    randomise(model.weights, 1)
    twin = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True).eval()
    assert wp.convert(model, twin).verdict == "exact"
    x = np.random.default_rng(7).normal(size=(BATCH, TIME, 12)).astype("float32")
    with torch.no_grad():
        np.testing.assert_allclose(twin(torch.from_numpy(x)).numpy(), np.asarray(model(x)), rtol=0, atol=1e-5)
    model.save(tmp_path / "m.keras")
    wp.convert(tmp_path / "m.keras", tmp_path / "m.pt")
    nn.TransformerEncoderLayer(12, 3, 20).load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))


# ONNX: the Attention operator between the dense layers that hold its weights.


def attention_graph(path, features, heads, sizes, seed):
    """Gemm or MatMul around Attention, with random weights; ``sizes`` are those of queries, keys, values and result."""
    onnx = pytest.importorskip("onnx")
    helper, generator = onnx.helper, np.random.default_rng(seed)
    names = ("query", "key", "value", "output")
    wide = (*features, heads[0] * sizes[2] // heads[1])
    held, nodes = {}, []
    for name, given, rows, size in zip(names, ("q", "k", "v", "attended"), wide, sizes, strict=True):
        held[f"{name}.weight"] = generator.uniform(-0.6, 0.6, (rows, size)).astype("float32")
        held[f"{name}.bias"] = generator.uniform(-0.6, 0.6, size).astype("float32")
        nodes.append(helper.make_node("MatMul", [given, f"{name}.weight"], [f"{name} product"]))
        nodes.append(helper.make_node("Add", [f"{name} product", f"{name}.bias"], [f"{name} made"]))
        if name == "value":
            made = [f"{part} made" for part in names[:3]]
            counts = {"q_num_heads": heads[0], "kv_num_heads": heads[1]}
            nodes.append(helper.make_node("Attention", made, ["attended"], **counts))
    shapes = zip("qkv", (TIME, STEPS, STEPS), features, strict=True)
    inputs = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, (BATCH, t, size)) for n, t, size in shapes]
    outputs = [helper.make_empty_tensor_value_info("output made")]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "attention", inputs, outputs, tensors)
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), path)


def run_attention_graph(path, query, key, value):
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"q": query, "k": key, "v": value})[0]


# name: the Keras layer; the features; the query and the key heads; the sizes of queries, keys, values and the result
GRAPHS = {
    "heads": (lambda: layers.MultiHeadAttention(3, 4, value_dim=2, output_shape=7), (8, 6, 5), (3, 3), (12, 12, 6, 7)),
    "square": (lambda: layers.MultiHeadAttention(2, 4), (8, 8, 8), (2, 2), (8, 8, 8, 8)),
    "grouped": (lambda: layers.GroupQueryAttention(4, 6, 2), (8, 7, 8), (6, 2), (24, 8, 8, 8)),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_keras_and_an_onnx_graph_with_attention_both_ways(name, tmp_path):
    make_layer, features, counts, sizes = GRAPHS[name]
    inputs = [keras.Input((TIME, features[0])), keras.Input((STEPS, features[2])), keras.Input((STEPS, features[1]))]
    model = keras.Model(inputs, make_layer()(*inputs))
    randomise(model.weights, 1)
    model.save(tmp_path / "m.keras")
    attention_graph(tmp_path / "untrained.onnx", features, counts, sizes, 3)
    (layer,) = wp.open(tmp_path / "untrained.onnx").layers
    assert dict(layer.sizes) == {"head": counts[1], "repeat": counts[0] // counts[1]}
    wp.convert(tmp_path / "m.keras", tmp_path / "m.onnx", into=tmp_path / "untrained.onnx")
    generator = np.random.default_rng(7)
    shapes = zip((TIME, STEPS, STEPS), features, strict=True)
    query, key, value = (generator.normal(size=(BATCH, *shape)).astype("float32") for shape in shapes)
    expected = np.asarray(model([query, value, key]))
    found = run_attention_graph(tmp_path / "m.onnx", query, key, value)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    randomise(model.weights, 2)
    model.save(tmp_path / "other.keras")
    wp.convert(tmp_path / "m.onnx", tmp_path / "back.keras", into=tmp_path / "other.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    np.testing.assert_allclose(np.asarray(back([query, value, key])), expected, rtol=0, atol=1e-5)


def test_torch_and_an_onnx_graph_with_attention_both_ways(tmp_path):
    """The graph has the heads that the state dict does not tell."""
    module = heads(12, 3).eval()
    torch.save({f"attention.{name}": tensor for name, tensor in module.state_dict().items()}, tmp_path / "m.pt")
    attention_graph(tmp_path / "untrained.onnx", (12, 12, 12), (3, 3), (12, 12, 12, 12), 3)
    wp.convert(tmp_path / "m.pt", tmp_path / "m.onnx", into=tmp_path / "untrained.onnx")
    generator = np.random.default_rng(7)
    query, key, value = (generator.normal(size=(BATCH, t, 12)).astype("float32") for t in (TIME, STEPS, STEPS))
    with torch.no_grad():
        expected = module(*map(torch.from_numpy, (query, key, value)))[0].numpy()
    found = run_attention_graph(tmp_path / "m.onnx", query, key, value)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    wp.convert(tmp_path / "m.onnx", tmp_path / "back.pt", into=tmp_path / "m.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert all(torch.equal(tensor, back[f"attention.{name}"]) for name, tensor in module.state_dict().items())
