"""Tree-structured Parzen estimator: the Bayesian optimization of hyperparameter search."""

import optuna

from adrl_agents.baselines.proposals import Proposals
from adrl_agents.runs import Episode
from adrl_gym import QuantProblem


def tpe(problem: QuantProblem, *, seed: int) -> Proposals:
    """Propose by Optuna's TPE with its own settings, one integer for each decision; endless.

    Its proposals are projected onto the budget, as the agents' actions are. It receives the measurements of that.
    Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    names = [problem.describe(place) for place in problem.searchable]
    while True:
        trial = study.ask()
        bits = [trial.suggest_int(name, problem.min_bits, problem.max_bits) for name in names]
        study.tell(trial, value((yield bits)))


def value(episode: Episode) -> float:
    """Return a number that orders configurations as ``Best`` does: by agreement, at a tie by divergence.

    >>> def measured(agreement: float, kl: float) -> Episode:
    ...     return Episode(1, 0.0, 0.0, 0.0, 0.0, 0.0, agreement, kl, 0.0, "")
    >>> value(measured(90.0, 5.0)) < value(measured(90.0, 0.1)) < value(measured(90.01, 7.0))
    True
    """
    return episode.agreement + 1e-3 / (1 + episode.kl)  # agreements differ by more, unless images are over 100,000
