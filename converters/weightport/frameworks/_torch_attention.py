"""Attention in a state dict: nn.MultiheadAttention, whose output projection is a module of its own, and scales.

Source: torch/nn/modules/activation.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..checkpoint import Setting

KIND = "multi_head_attention"
TENSORS = frozenset(
    {
        *("in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight", "bias_k", "bias_v"),
        *("out_proj.weight", "out_proj.bias"),
    }
)
_OWN = ({"in_proj_weight"}, {"q_proj_weight", "k_proj_weight", "v_proj_weight"})


def with_output_projections(modules: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The tensors of every module, with those of an attention's output projection given to the attention."""
    merged = {module: dict(tensors) for module, tensors in modules.items()}
    for module, tensors in modules.items():
        projection = f"{module}.out_proj" if module else "out_proj"
        if is_attention(tensors) and projection in merged:
            merged[module] |= {f"out_proj.{tensor}": name for tensor, name in merged.pop(projection).items()}
    return merged


def is_attention(tensors: Mapping[str, object]) -> bool:
    """Whether a module with tensors of these names is a multi-head attention."""
    return any(own <= set(tensors) for own in _OWN)


def kind_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The kind of attention that a module with these tensors is, None where it is none.

    A module that holds nothing but a scale is the user's own: torch.nn has none."""
    if is_attention(shapes) and set(shapes) <= TENSORS:
        return KIND
    if set(shapes) == {"scale"} and len(shapes["scale"]) == 1:
        return "additive_attention"
    is_plain = {"scale"} <= set(shapes) <= {"scale", "concat_score_weight"} and not any(shapes.values())
    return "attention" if is_plain else None


def described(module: Any) -> dict[str, Any]:
    """What a live nn.MultiheadAttention says of itself."""
    notes = [f"drops {module.dropout:g} of its scores in training"] if module.dropout else []
    return {"kind": KIND, "settings": dict(_settings(module)), "sizes": {"head": module.num_heads}, "notes": notes}


def _settings(module: Any) -> Iterator[tuple[str, Setting]]:
    yield "zero_attention", module.add_zero_attn
