"""The tolerance is what rounding does: above it for every order of summation, and not far above."""

from __future__ import annotations

import numpy as np
import pytest

import weightport as wp
from weightport.parity.measure import unit_roundoff
from weightport.parity.tolerance import FUNCTION_ROUNDINGS

torch = pytest.importorskip("torch")
tensorflow = pytest.importorskip("tensorflow")
onnxruntime = pytest.importorskip("onnxruntime")

EXACT = {"Tanh": np.tanh, "Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Exp": np.exp}


def in_onnx_runtime(name, x):
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(value, TensorProto.FLOAT, [None]) for value in "xy"]
    graph = helper.make_graph([helper.make_node(name, ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize("name", list(EXACT))
def test_no_framework_rounds_an_elementary_function_by_more_than_is_allowed_for(name):
    generator = np.random.default_rng(0)
    x = np.concatenate([generator.normal(size=20_000) * scale for scale in (0.01, 0.3, 1, 3)]).astype(np.float32)
    exact = EXACT[name](x.astype(np.float64))
    found = {
        "torch": getattr(torch, name.lower())(torch.from_numpy(x)).numpy(),
        "tensorflow": getattr(tensorflow.math, name.lower())(x).numpy(),
        "onnxruntime": in_onnx_runtime(name, x),
    }
    unit = unit_roundoff(np.dtype(np.float32))
    for framework, values in found.items():
        assert np.abs(values - exact).max() / np.abs(exact).max() / unit <= FUNCTION_ROUNDINGS, framework


class Classifier(torch.nn.Module):
    """Recurrent, deep and long: each step and each layer adds its own rounding."""

    def __init__(self, hidden, order=None):
        super().__init__()
        torch.manual_seed(3)
        self.rnn = torch.nn.LSTM(8, hidden, num_layers=2, batch_first=True)
        self.head = torch.nn.Linear(hidden, 5)
        if order is not None:
            self.reorder(hidden, order)

    def reorder(self, hidden, order):
        """The hidden units in another order: the same function exactly, summed in another order."""
        gates = torch.cat([order + gate * hidden for gate in range(4)])
        with torch.no_grad():
            for name, tensor in self.rnn.named_parameters():
                turned = tensor[gates]
                comes_from_units = name.startswith("weight") and name != "weight_ih_l0"
                tensor.copy_(turned[:, order] if comes_from_units else turned)
            self.head.weight.copy_(self.head.weight[:, order])

    def forward(self, x):
        return self.head(self.rnn(x)[0])


@pytest.mark.parametrize("hidden", [6, 96])
def test_the_tolerance_bounds_a_rerun_in_another_order_of_summation_and_no_more_than_it_must(hidden):
    model = Classifier(hidden).eval()
    inputs = np.random.default_rng(1).normal(size=(3, 40, 8)).astype(np.float32)
    found = wp.verify(model, Classifier(hidden).eval(), inputs).outputs[0].difference
    assert found.maximum == 0
    x = torch.from_numpy(inputs)
    with torch.no_grad():
        exact = Classifier(hidden).double().eval()(x.double()).numpy()
        orders = [torch.randperm(hidden, generator=torch.Generator().manual_seed(seed)) for seed in range(10)]
        reruns = [Classifier(hidden, order).eval()(x).numpy() for order in orders]
    worst = max(float(np.abs(rerun - exact).max()) for rerun in reruns)
    assert 0 < worst < found.tolerance
    assert found.tolerance < 1000 * worst


def test_a_coarser_dtype_and_a_longer_sequence_allow_more():
    model, half = Classifier(6).eval(), Classifier(6).half().eval()
    inputs = np.random.default_rng(1).normal(size=(3, 10, 8)).astype(np.float32)
    single = wp.verify(model, Classifier(6).eval(), inputs)
    mixed = wp.verify(model, half, inputs)
    assert single.passed
    assert mixed.passed
    assert mixed.outputs[0].difference.tolerance > 1000 * single.outputs[0].difference.tolerance
