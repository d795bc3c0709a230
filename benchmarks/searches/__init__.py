"""Searches on deep networks, and the sensitivity tables that they use."""
