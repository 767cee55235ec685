"""Normalisation in Keras and in PyTorch, both ways, with and without scale and centre: what is converted computes what
the original does, and what a side does not have is one and zero there."""

from __future__ import annotations

import numpy as np
import pytest

import weightport as wp
from live_cases import Case, channels_first, channels_last, keras_model, run_keras, run_torch, tolerance, torch_module
from weightport.errors import RefusedError

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")


def channels(name, make_keras, make_torch, shape=(5, 3, 4)):
    return Case(name, make_keras, make_torch, shape, channels_first, channels_last)


CASES = [
    channels(
        "batch-plain",
        lambda k: k.BatchNormalization(scale=False, center=False, epsilon=1e-4),
        lambda n: n.BatchNorm2d(4, eps=1e-4, affine=False),
    ),
    channels("batch-sync", lambda k: k.BatchNormalization(epsilon=1e-4), lambda n: n.SyncBatchNorm(4, eps=1e-4)),
    channels(
        "instance-running",
        lambda k: k.BatchNormalization(epsilon=1e-4),
        lambda n: n.InstanceNorm2d(4, eps=1e-4, affine=True, track_running_stats=True),
    ),
    channels("group", lambda k: k.GroupNormalization(2, epsilon=1e-4), lambda n: n.GroupNorm(2, 4, eps=1e-4)),
    channels("group-one", lambda k: k.GroupNormalization(1, epsilon=1e-4), lambda n: n.GroupNorm(1, 4, eps=1e-4)),
    channels(
        "instance",
        lambda k: k.GroupNormalization(-1, epsilon=1e-4),
        lambda n: n.InstanceNorm2d(4, eps=1e-4, affine=True),
    ),
    channels(
        "instance-1d",
        lambda k: k.GroupNormalization(4, epsilon=1e-4),
        lambda n: n.InstanceNorm1d(4, eps=1e-4, affine=True),
        (5, 4),
    ),
    Case(
        "layer-axes",
        lambda k: k.LayerNormalization(axis=(-2, -1), epsilon=1e-4),
        lambda n: n.LayerNorm((3, 4), eps=1e-4),
        (5, 3, 4),
    ),
    Case(
        "layer-no-center",
        lambda k: k.LayerNormalization(center=False, epsilon=1e-4),
        lambda n: n.LayerNorm(4, bias=False, eps=1e-4),
        (5, 4),
    ),
    Case("rms", lambda k: k.RMSNormalization(epsilon=1e-4), lambda n: n.RMSNorm(4, eps=1e-4), (5, 4)),
    Case(
        "rms-axes",
        lambda k: k.RMSNormalization(axis=(-2, -1), epsilon=1e-4),
        lambda n: n.RMSNorm((3, 4), eps=1e-4),
        (5, 3, 4),
    ),
]
case_of = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def save(model, path):
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)


def assert_same(case, model, twin, dtype="float32"):
    inputs = case.input(dtype)
    found, expected = run_torch(case, twin, inputs), run_keras(model, inputs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(dtype))


@case_of
@pytest.mark.parametrize(
    ("source", "target", "dtype"), [("m.keras", "m.safetensors", "float32"), ("m.h5", "m.pt", "float64")]
)
def test_keras_becomes_torch_without_a_template(case, source, target, dtype, tmp_path, weightport):
    model, twin = keras_model(case, dtype), torch_module(case, dtype)
    save(model, tmp_path / source)
    weightport("convert", tmp_path / source, tmp_path / target)
    if target.endswith("pt"):
        state = torch.load(tmp_path / target, weights_only=True)
    else:
        from safetensors.torch import load_file

        state = load_file(tmp_path / target)
    twin.load_state_dict(state)
    assert_same(case, model, twin, dtype)


@case_of
@pytest.mark.parametrize(
    ("target", "dtype"), [("m.keras", "float64"), ("m.weights.h5", "float32"), ("m.h5", "float32")]
)
def test_torch_becomes_keras_into_an_untrained_model(case, target, dtype, tmp_path, weightport):
    model, twin = keras_model(case, dtype), torch_module(case, dtype)
    torch.save(twin.state_dict(), tmp_path / "m.pt")
    template = tmp_path / f"untrained.{target.partition('.')[2]}"
    save(model, template)
    if (case.name, target) == ("layer-no-center", "m.weights.h5"):  # nothing says whether its one tensor is a scale
        output = weightport("convert", tmp_path / "m.pt", tmp_path / target, "--into", template, status=1)
        assert "unfilled: layers/layer_normalization/vars/0" in output
        return
    weightport("convert", tmp_path / "m.pt", tmp_path / target, "--into", template)
    model.load_weights(tmp_path / target)
    assert_same(case, model, twin, dtype)


@case_of
def test_live_models_both_ways(case):
    model, twin = keras_model(case), torch_module(case)
    assert wp.convert(model, twin).verdict == "exact"
    assert_same(case, model, twin)
    other = keras_model(case, seed=11)
    wp.convert(twin, other)
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes(), ours.path


HALVES = {
    "batch": (lambda k, **own: k.BatchNormalization(epsilon=1e-4, **own), lambda n: n.BatchNorm1d(4, eps=1e-4)),
    "group": (lambda k, **own: k.GroupNormalization(2, epsilon=1e-4, **own), lambda n: n.GroupNorm(2, 4, eps=1e-4)),
    "layer": (lambda k, **own: k.LayerNormalization(epsilon=1e-4, **own), lambda n: n.LayerNorm(4, eps=1e-4)),
}


def half(name, **own):
    make_keras, make_torch = HALVES[name]
    turned = (lambda array: array, lambda array: array) if name == "layer" else (channels_first, channels_last)
    return Case(name, lambda k: make_keras(k, **own), make_torch, (5, 4), *turned)


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize(("absent", "tensor", "value"), [("scale", "weight", 1), ("center", "bias", 0)])
def test_what_keras_does_not_have_is_one_or_zero_in_torch(name, absent, tensor, value):
    case = half(name, **{absent: False})
    model, twin = keras_model(case), torch_module(case)
    assert wp.convert(model, twin).verdict == "exact"
    assert (twin.state_dict()[f"layer.{tensor}"] == value).all()
    assert_same(case, model, twin)


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize(("absent", "tensor", "value"), [("scale", "weight", 1), ("center", "bias", 0)])
def test_what_keras_has_no_place_for_must_be_one_or_zero_in_torch(name, absent, tensor, value):
    case = half(name, **{absent: False})
    model, twin = keras_model(case), torch_module(case)
    role = {"weight": "scale", "bias": "bias"}[tensor]
    with pytest.raises(RefusedError, match=f"no place for {role}, so it must be {value} everywhere"):
        wp.convert(twin, model)
    with torch.no_grad():
        twin.state_dict()[f"layer.{tensor}"].fill_(value)
    assert wp.convert(twin, model).verdict == "exact"
    assert_same(case, model, twin)


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`")
def test_a_layer_norm_that_leaves_the_mean_in_is_refused_by_torch(tmp_path):
    case = half("layer", rms_scaling=True)
    keras_model(case).save(tmp_path / "m.keras")
    with pytest.raises(RefusedError, match=r"rms_scaling is True, and torch\.layer_norm can only be False"):
        wp.convert(tmp_path / "m.keras", tmp_path / "m.pt")


def test_keras_normalization_is_a_batch_norm_without_epsilon(tmp_path):
    """The number of elements that its mean was taken of is bookkeeping."""
    layer = keras.layers.Normalization(name="layer")
    data = np.random.default_rng(3).normal(2.0, 3.0, (50, 4)).astype("float32")
    layer.adapt(data)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.save(tmp_path / "m.keras")
    report = wp.convert(tmp_path / "m.keras", tmp_path / "m.pt")
    assert "element_count is bookkeeping and is not carried" in report.layers[0].notes
    twin = torch.nn.ModuleDict({"layer": torch.nn.BatchNorm1d(4, eps=0.0, affine=False)}).eval()
    twin.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    expected = np.asarray(model(data))
    np.testing.assert_allclose(twin["layer"](torch.from_numpy(data)).numpy(), expected, rtol=0, atol=1e-5)
    model.layers[0].adapt(data * 7)
    model.save(tmp_path / "other.keras")
    wp.convert(tmp_path / "m.pt", tmp_path / "back.keras", into=tmp_path / "other.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    np.testing.assert_allclose(np.asarray(back(data)), expected, rtol=0, atol=1e-5)


def test_an_inverse_normalization_and_one_over_two_axes_are_refused(tmp_path):
    inverse = keras.Sequential([keras.Input((4,)), keras.layers.Normalization(invert=True)])
    inverse.save(tmp_path / "inverse.keras")
    with pytest.raises(RefusedError, match=r"invert is True, and torch\.batch_norm can only be False"):
        wp.convert(tmp_path / "inverse.keras", tmp_path / "m.pt")
    two = keras.Sequential([keras.Input((5, 4)), keras.layers.Normalization(axis=(1, 2))])
    two.save(tmp_path / "two.keras")
    with pytest.raises(RefusedError, match="a Normalization over axis 1 and 2 has no layout"):
        wp.convert(tmp_path / "two.keras", tmp_path / "m.pt")


@pytest.mark.parametrize("suffix", ["keras", "h5", "weights.h5"])
def test_a_spectral_normalization_is_the_layer_inside_it(suffix, tmp_path):
    """Its vector is the state of an iteration in training; a unit norm has no weights at all."""
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            keras.layers.SpectralNormalization(keras.layers.Dense(6), name="spectral"),
            keras.layers.UnitNormalization(),
            keras.layers.Dense(3, name="last"),
        ]
    )
    x = np.random.default_rng(7).normal(size=(3, 5, 4)).astype("float32")
    model(x, training=True)
    save(model, tmp_path / f"m.{suffix}")
    report = wp.convert(tmp_path / f"m.{suffix}", tmp_path / "m.pt", into=_spectral_twin(tmp_path))
    assert "state of the spectral normalisation" in " ".join(report.skipped.values())
    twin = torch.nn.ModuleDict({"spectral": torch.nn.Linear(4, 6), "last": torch.nn.Linear(6, 3)})
    twin.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    expected = np.asarray(model(x, training=False))
    with torch.no_grad():
        y = torch.nn.functional.normalize(twin["spectral"](torch.from_numpy(x)), dim=-1)
        np.testing.assert_allclose(twin["last"](y).numpy(), expected, rtol=0, atol=1e-5)
    for weight in model.weights:
        weight.assign(np.asarray(weight) * 0.5)
    save(model, tmp_path / f"untrained.{suffix}")
    wp.convert(tmp_path / "m.pt", tmp_path / f"back.{suffix}", into=tmp_path / f"untrained.{suffix}")
    model.load_weights(tmp_path / f"back.{suffix}")
    np.testing.assert_allclose(np.asarray(model(x, training=False)), expected, rtol=0, atol=1e-5)


def _spectral_twin(folder):
    twin = torch.nn.ModuleDict({"spectral": torch.nn.Linear(4, 6), "last": torch.nn.Linear(6, 3)})
    torch.save(twin.state_dict(), folder / "twin.pt")
    return folder / "twin.pt"


def test_live_spectral_normalization(tmp_path):
    layer = keras.layers.SpectralNormalization(keras.layers.Dense(6), name="spectral")
    model = keras.Sequential([keras.Input((4,)), layer])
    twin = torch.nn.ModuleDict({"spectral": torch.nn.Linear(4, 6)})
    wp.convert(model, twin)
    x = np.random.default_rng(7).normal(size=(3, 4)).astype("float32")
    with torch.no_grad():
        found = twin["spectral"](torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, np.asarray(model(x)), rtol=0, atol=1e-5)


# ONNX: the operators, and the graphs that PyTorch's exporter writes.


def run_onnx(path, x):
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def channels_first_input(case):
    return case.turn_in(torch.from_numpy(case.input("float32"))).contiguous()


# The exporter writes a root mean square as single steps, and repeats the tensors of running instances with Tile.
EXPORTED = [case for case in CASES if not case.name.startswith(("rms", "instance-running"))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", EXPORTED, ids=lambda case: case.name)
def test_an_exported_graph_both_ways(case, tmp_path):
    twin, x = torch_module(case, seed=3), channels_first_input(case)
    torch.onnx.export(twin, (x,), tmp_path / "m.onnx", dynamo=False, input_names=["x"], output_names=["y"])
    model = keras_model(case)
    model.save(tmp_path / "m.keras")
    missing = ["*num_batches_tracked"]
    wp.convert(tmp_path / "m.keras", tmp_path / "from_keras.onnx", into=tmp_path / "m.onnx")
    found = case.turn_out(torch.from_numpy(run_onnx(tmp_path / "from_keras.onnx", x.numpy()))).numpy()
    np.testing.assert_allclose(found, run_keras(model, case.input("float32")), rtol=0, atol=1e-5)
    other = torch_module(case, seed=8)
    torch.save(other.state_dict(), tmp_path / "other.pt")
    report = wp.convert(
        tmp_path / "from_keras.onnx", tmp_path / "back.pt", into=tmp_path / "other.pt", allow_missing=missing
    )
    assert report.verdict == "exact"
    other.load_state_dict(torch.load(tmp_path / "back.pt", weights_only=True))
    assert_same(case, model, other)


OPERATORS = {
    "instance-6": (
        "InstanceNormalization",
        ("scale", "B"),
        6,
        {},
        lambda n: n.InstanceNorm1d(4, eps=1e-4, affine=True),
    ),
    "instance-22": (
        "InstanceNormalization",
        ("scale", "B"),
        22,
        {},
        lambda n: n.InstanceNorm1d(4, eps=1e-4, affine=True),
    ),
    "group-21": ("GroupNormalization", ("scale", "bias"), 21, {"num_groups": 2}, lambda n: n.GroupNorm(2, 4, eps=1e-4)),
    "rms-23": ("RMSNormalization", ("scale",), 23, {"axis": -1}, lambda n: n.RMSNorm(4, eps=1e-4)),
    "layer-17": ("LayerNormalization", ("Scale", "B"), 17, {"axis": -1}, lambda n: n.LayerNorm(4, eps=1e-4)),
    "batch-9": ("BatchNormalization", ("a", "b", "mean", "var"), 9, {}, lambda n: n.BatchNorm1d(4, eps=1e-4)),
    "batch-15": ("BatchNormalization", ("a", "b", "mean", "var"), 15, {}, lambda n: n.BatchNorm1d(4, eps=1e-4)),
}


def one_operator(path, operator, names, opset, attributes, size=4):
    """A file of one node whose weights are called ``layer.<name>``."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    generator = np.random.default_rng(3)
    tensors = {f"layer.{name}": generator.uniform(0.2, 0.6, size).astype("float32") for name in names}
    node = helper.make_node(operator, ["x", *tensors], ["y"], epsilon=1e-4, **attributes)
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 4, 4))]
    held = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = helper.make_graph([node], "one", given, [helper.make_empty_tensor_value_info("y")], held)
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return tensors


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_of_old_and_new_opsets_both_ways(name, tmp_path):
    operator, names, opset, attributes, make = OPERATORS[name]
    one_operator(tmp_path / "m.onnx", operator, names, opset, attributes)
    twin = torch.nn.ModuleDict({"layer": make(torch.nn)}).eval()
    wp.convert(tmp_path / "m.onnx", twin)
    x = np.random.default_rng(7).normal(size=(3, 4, 4)).astype("float32")
    expected = run_onnx(tmp_path / "m.onnx", x)
    with torch.no_grad():
        np.testing.assert_allclose(twin["layer"](torch.from_numpy(x)).numpy(), expected, rtol=0, atol=1e-5)
    one_operator(tmp_path / "other.onnx", operator, names, opset, {**attributes}, size=4)
    wp.convert(twin, tmp_path / "back.onnx", into=tmp_path / "other.onnx")
    np.testing.assert_array_equal(run_onnx(tmp_path / "back.onnx", x), expected)


def test_a_scale_for_each_group_is_not_one_for_each_channel(tmp_path):
    """GroupNormalization before opset 21; refused by what has no such scale, unless it is one and the bias zero."""
    one_operator(tmp_path / "m.onnx", "GroupNormalization", ("scale", "bias"), 18, {"num_groups": 2}, size=2)
    assert wp.open(tmp_path / "m.onnx").layers[0].layout == "onnx.group_norm_18"
    twin = torch.nn.ModuleDict({"layer": torch.nn.GroupNorm(2, 4)})
    with pytest.raises(RefusedError, match="no place for group_scale"):
        wp.convert(tmp_path / "m.onnx", twin)


def test_a_batch_normalization_with_a_scale_for_every_place_is_refused(tmp_path):
    one_operator(tmp_path / "m.onnx", "BatchNormalization", ("a", "b", "mean", "var"), 8, {"spatial": 0})
    reasons = wp.open(tmp_path / "m.onnx").structure.unknown
    assert "has one for every place (spatial = 0)" in reasons["layer.a"]
