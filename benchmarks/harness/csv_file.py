"""CSV files of results, as the package reads and writes them."""

from adrl_agents.runs import Row, read_rows, write_rows

__all__ = ["Row", "read_rows", "write_rows"]
