"""Measurements of networks that runtimes accelerate: quantized activations, latency, speed."""
