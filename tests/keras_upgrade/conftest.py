"""The real Keras 3, which opens what an upgrade writes."""

from __future__ import annotations

import os
from typing import Any

import pytest


@pytest.fixture(scope="session")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")
