"""Which layers of two checkpoints are partners, and what their rows follow; see :mod:`weightport.match`."""
