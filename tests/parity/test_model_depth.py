"""Whole models run side by side: right conversions agree, and what no tolerance excuses fails."""

from __future__ import annotations

import numpy as np
import pytest

import weightport as wp
from live_cases import CASES, keras_model, torch_module
from weightport.parity import assert_parity

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

case_of = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def export(module, inputs, path):
    """The module as an ONNX file."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.from_numpy(np.ascontiguousarray(inputs)),), path, dynamo=False)


@case_of
def test_a_right_conversion_agrees_between_every_two_frameworks(case, tmp_path):
    model, module = keras_model(case), torch_module(case)
    wp.convert(model, module)
    inputs = case.turn_in(torch.from_numpy(case.input("float32"))).numpy()
    export(module, inputs, tmp_path / "m.onnx")
    for one, other in ((model, module), (model, tmp_path / "m.onnx"), (module, tmp_path / "m.onnx")):
        parity = assert_parity(one, other)
        assert parity.outputs
        assert all(layer.verdict != "differs" for layer in parity.layers)


@case_of
def test_a_wrong_weight_is_found_and_its_layer_named(case):
    model, module = keras_model(case), torch_module(case)
    wp.convert(model, module)
    with torch.no_grad():
        next(iter(module.parameters())).mul_(1.001)
    parity = wp.verify(model, module)
    assert not parity
    assert parity.first == parity.layers[0].name
    assert any(not output.difference.agrees for output in parity.outputs)


class Chain(torch.nn.Module):
    """Two layers, and what is done to the output."""

    def __init__(self, after=lambda y: y):
        super().__init__()
        torch.manual_seed(1)
        self.rnn = torch.nn.GRU(4, 6, batch_first=True)
        self.head = torch.nn.Linear(6, 3)
        self.after = after

    def forward(self, x):
        return self.after(self.head(self.rnn(x)[0]))


def with_nan(y):
    """The last element of the output is no number."""
    y = y.clone()
    y.view(-1)[-1] = float("nan")
    return y


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (with_nan, "NaN"),
        (lambda y: y[:, :-1], "shape"),
        (lambda y: [], "without outputs"),
        (lambda y: (y, y), "different numbers of outputs"),
        (lambda y: y[:, :0], "nothing to compare|shape"),
    ],
    ids=["nan", "shape", "no output", "two outputs", "empty"],
)
def test_outputs_that_cannot_be_compared_fail_whatever_the_tolerance(after, reason):
    with pytest.raises(AssertionError, match=reason):
        assert_parity(Chain().eval(), Chain(after).eval(), rtol=1e9, atol=1e9)


def test_a_nan_on_both_sides_fails():
    assert not wp.verify(Chain(with_nan).eval(), Chain(with_nan).eval())


def test_empty_outputs_on_both_sides_fail():
    assert not wp.verify(Chain(lambda y: []).eval(), Chain(lambda y: []).eval())
    assert not wp.verify(Chain(lambda y: y[:, :0]).eval(), Chain(lambda y: y[:, :0]).eval())


def test_a_layer_that_the_other_side_does_not_have_fails_though_the_outputs_agree():
    larger = Chain().eval()
    larger.never_called = torch.nn.Linear(2, 9)
    parity = wp.verify(Chain().eval(), larger)
    assert all(output.difference.agrees for output in parity.outputs)
    assert not parity
    assert parity.layers[-1].other == "never_called"
    assert "missing in A" in parity.layers[-1].remarks[0]
    assert wp.verify(Chain().eval(), larger, allow=["never_*"])


def test_a_model_whose_framework_cannot_run_it_is_no_pass_of_an_assertion(tmp_path):
    torch.save(Chain().state_dict(), tmp_path / "m.pt")
    with pytest.raises(AssertionError, match=r"model depth was not reached: .*weights and no code"):
        assert_parity(Chain().eval(), tmp_path / "m.pt")


def test_verifying_leaves_the_models_as_they_were():
    model, module = keras_model(CASES[0]), torch_module(CASES[0])
    wp.convert(model, module)
    before = [np.array(weight) for weight in model.weights], [p.detach().clone() for p in module.parameters()]
    wp.verify(model, module)
    wp.verify(module, model)
    assert all(np.array_equal(old, np.array(new)) for old, new in zip(before[0], model.weights, strict=True))
    assert all(torch.equal(old, new) for old, new in zip(before[1], module.parameters(), strict=True))
    assert all("call" not in vars(layer) for layer in model.layers)
    assert not any(part._forward_hooks for part in module.modules())


def test_train_mode_left_on_is_said():
    class Noisy(Chain):
        def __init__(self):
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x):
            return self.head(self.drop(self.rnn(x)[0]))

    torch.manual_seed(0)
    left_on = Noisy()
    parity = wp.verify(Chain().eval(), left_on)
    assert not parity
    assert "train mode is left on" in parity.causes[0]
    assert "module.eval()" in parity.causes[0]
    assert assert_parity(Chain().eval(), left_on.eval())


def test_a_tolerance_that_is_given_is_the_one_that_counts():
    one, other = Chain().eval(), Chain().eval()
    with torch.no_grad():
        other.head.bias += 1e-3
    assert not wp.verify(one, other)
    assert wp.verify(one, other, atol=2e-3)
    assert not wp.verify(one, other, atol=1e-4)
    assert wp.verify(one, other, rtol=0.5)


def test_a_model_with_time_first_is_given_its_inputs_so():
    class TimeFirst(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = torch.nn.GRU(4, 6), torch.nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    twin = TimeFirst().eval()
    twin.load_state_dict(Chain().state_dict())
    parity = assert_parity(Chain().eval(), twin)
    assert set(parity.inputs.values()) == {"time first"}
