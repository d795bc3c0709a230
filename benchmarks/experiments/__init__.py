"""Experiments that are not searches: each writes one results file."""
