"""Emitters of PyTorch source: one function a kind of operation."""
