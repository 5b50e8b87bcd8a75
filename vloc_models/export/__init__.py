"""Export: a network becomes an ONNX graph with a probe."""
