"""Dense layers, embeddings, masking, and everything that does nothing once a model is trained."""

from __future__ import annotations

from ..keras_call import Call, Nested, translates
from ..operations import Value


@translates("Dense")
def dense(call: Call) -> Nested:
    """``activation(x @ kernel + bias)`` along the last axis."""
    weights = call.own_weights("kernel", "bias")
    if "lora_kernel_a" in call.config or call.config.get("quantization_mode"):
        raise call.refused("quantised and LoRA kernels are not supported")
    y = call.add("dense", [call.x], {}, weights=weights, layout=call.weights.layout(call.name, "dense"))
    return call.activated(y, call.config.get("activation"))


@translates("EinsumDense")
def einsum_dense(call: Call) -> Nested:
    """``einsum(equation, x, kernel) + bias``."""
    weights = call.own_weights("kernel", "bias")
    y = call.add("einsum_dense", [call.x], {"equation": call.config["equation"]}, weights=weights)
    return call.activated(y, call.config.get("activation"))


@translates("Embedding")
def embedding(call: Call) -> Nested:
    """Rows of a table; with ``mask_zero`` the steps of token 0 are masked."""
    weights = call.own_weights("embeddings")
    layout = call.weights.layout(call.name, "embedding")
    y = call.add(
        "embedding", [call.x], {}, weights=weights, layout=layout, dtype=call.weights.dtype(weights["embeddings"])
    )
    if call.config.get("mask_zero"):
        call.builder.masks[y.name] = call.add("not_equal", [call.x, call.number(0, call.x.dtype)], {}, suffix="mask")
    return y


@translates("Masking")
def masking(call: Call) -> Nested:
    """Steps whose every feature is the mask value become zeros and are masked."""
    x = call.x
    mask = call.add("mask_steps", [x], {"value": float(call.config.get("mask_value", 0.0))}, suffix="mask")
    wide = call.add("expand", [mask], {"axes": (x.rank - 1,)}, suffix="wide")
    y = call.add("where", [wide, x, call.number(0, x.dtype)], {}, dtype=x.dtype)
    call.builder.masks[y.name] = mask
    return y


@translates(
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "StochasticDepth",
    "ops.StopGradient",
    "ops.Copy",
    "ops.ConvertToTensor",
)
def nothing(call: Call) -> Value:
    """Layers that only act while a model is trained."""
    return call.x


@translates("LayerScale")
def layer_scale(call: Call) -> Nested:
    """ConvNeXt's (keras/src/applications/convnext.py): one factor a channel."""
    return call.add("prescale", [call.x], {}, weights=call.weights.of(call.name))


@translates("CustomScaleLayer")
def scaled_sum(call: Call) -> Nested:
    """InceptionResNetV2's (keras/src/applications/inception_resnet_v2.py): ``a + scale * b``."""
    one, other = call.inputs
    scaled = call.add("affine", [other], {"scale": float(call.config["scale"]), "offset": 0.0}, suffix="scaled")
    return call.add("add", [one, scaled], {})
