"""Codes and numbers of packed files in few bytes."""
