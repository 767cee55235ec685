"""weightport moves trained weights between deep-learning frameworks."""
