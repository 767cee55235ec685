"""Random models: layers drawn with their settings for whatever shape has come about.

Inputs are vectors, sequences (some with masked steps, some of a free length), tokens, images, volumes and frames; the
layers are on their own, shared, or in models inside the model; branches meet again and there are several outputs.
"""

from __future__ import annotations

from .model import random_model

__all__ = ["random_model"]
