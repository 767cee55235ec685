"""Definitions that an emitted file takes along where it needs them; torch is enough."""
