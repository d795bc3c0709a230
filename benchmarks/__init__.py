"""Benchmarks: searches, experiments and the tables and figures made of them."""
