"""Modules whose parameter is computed from others when they run: weight and spectral normalisation, and the like.

Their state dict has the parts and not the weight. They are carried between state dicts that have the same parts; other
frameworks take the weight, which PyTorch computes once when the normalisation is removed. Sources:
torch/nn/utils/{weight_norm,spectral_norm,parametrize,parametrizations}.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PARAMETRIZED = re.compile(r"(?:(?P<module>.*)\.)?(?P<tensor>parametrizations\.(?P<weight>[^.]+)(?:\.\d+)?)")
_HOOKS = {
    ("g", "v"): ("weight-normalised", "remove_weight_norm"),
    ("orig", "u"): ("spectrally normalised", "remove_spectral_norm"),
}


def with_parametrizations(modules: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The tensors of every module, with the parts of its parameters given to the module that computes with them."""
    merged: dict[str, dict[str, str]] = {}
    for module, tensors in modules.items():
        found = _PARAMETRIZED.fullmatch(module)
        owner, prefix = (found["module"] or "", f"{found['tensor']}.") if found else (module, "")
        merged.setdefault(owner, {}).update({prefix + tensor: name for tensor, name in tensors.items()})
    return merged


def parametrized_reason(module: str, tensors: Mapping[str, object]) -> str | None:
    """Why a module with tensors of these names has no weight that another framework could take, None where it has."""
    call = module or "module"
    for tensor in tensors:
        found = _PARAMETRIZED.match(tensor)
        if found:
            weight = found["weight"]
            return (
                f"its {weight} is parametrised and only computed when it runs; call "
                f'torch.nn.utils.parametrize.remove_parametrizations({call}, "{weight}") and save it again'
            )
    for (one, other), (what, remove) in _HOOKS.items():
        for tensor in tensors:
            weight = tensor.removesuffix(f"_{one}")
            if weight != tensor and f"{weight}_{other}" in tensors:
                return (
                    f"its {weight} is {what} ({weight}_{one}, {weight}_{other}) and only computed when it runs; call "
                    f'torch.nn.utils.{remove}({call}, "{weight}") and save it again'
                )
    return None
