"""The folder of one run: results, history, checkpoints, pictures."""

from adrl_agents.runs.best import Best, rank
from adrl_agents.runs.checkpoint import DAMAGED, Progress, load_agent, read_agent, save_agent, save_policy
from adrl_agents.runs.csv_file import Row, read_rows, write_rows
from adrl_agents.runs.folder import LIMITS, RunFolder
from adrl_agents.runs.heat_map import draw_sensitivity
from adrl_agents.runs.history import Episode, load_history
from adrl_agents.runs.plots import BLUE, GREY, RED, clean, draw_bits, draw_curve, png, title
from adrl_agents.runs.provenance import git_commit, package_versions
from adrl_agents.runs.result import SearchResult, Status
from adrl_agents.runs.summary import beside_accuracy, print_result

__all__ = [
    "BLUE",
    "DAMAGED",
    "GREY",
    "LIMITS",
    "RED",
    "Best",
    "Episode",
    "Progress",
    "Row",
    "RunFolder",
    "SearchResult",
    "Status",
    "beside_accuracy",
    "clean",
    "draw_bits",
    "draw_curve",
    "draw_sensitivity",
    "git_commit",
    "load_agent",
    "load_history",
    "package_versions",
    "png",
    "print_result",
    "rank",
    "read_agent",
    "read_rows",
    "save_agent",
    "save_policy",
    "title",
    "write_rows",
]
