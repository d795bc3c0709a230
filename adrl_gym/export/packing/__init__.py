"""Codes and numbers of packed files in few bytes."""

__all__: list[str] = []  # each module is imported by its own name
