"""Train a policy on a family of problems: options, problems, log, and the run."""

from adrl_agents.pretrain.options import PretrainOptions
from adrl_agents.pretrain.problems import family_problems
from adrl_agents.pretrain.run import pretrain_policy, problems_of

__all__ = ["PretrainOptions", "family_problems", "pretrain_policy", "problems_of"]
