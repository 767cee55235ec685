"""ONNX emitters, by family: each function writes one kind of operation as nodes."""
