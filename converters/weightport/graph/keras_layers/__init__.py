"""Keras' layers and operations, by family: each function turns one call into operations of the neutral graph."""
