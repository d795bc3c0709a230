"""Environment of many problems: each episode draws a network, a quantizer and a budget."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from adrl_gym.costs import Budget, budget_name, plain_budget
from adrl_gym.envs.decisions import Decision, Decisions, action_size
from adrl_gym.envs.member import OWN_FEATURES, FamilyMember
from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import FEATURES
from adrl_gym.problem import QuantProblem
from adrl_gym.sensitivity import sensitivity_tables

FAMILY_BUDGETS = 0.04, 0.05, 0.0625, 0.1
TABLE_IMAGES = 250  # search images of a member's table, at most


class MixedPrecisionQuantFamilyEnv(gym.Env[np.ndarray, Any]):
    """Choose the bits of one network after another, in units that mean the same in every network.

    ## Action Space
    ``Box(-1, 1, (A,), float32)``. What an action means is chosen by ``decision``:

    | decision | A | meaning for the layer to decide next |
    |----------|---|--------------------------------------|
    | ``bits`` | 1 | bit-width as in ``MixedPrecisionQuantEnv``; HAQ's action wall at the end |
    | ``offset`` | 1 | -2 to 2 bits more than the knapsack would choose here, given the layers before |
    | ``correction`` | 3 | logarithms (over 0.75) of factors on its costs at the fewest bits, one more, all others |
    | ``interactions`` | 2 | the same of factors on its costs at the fewest bits, and on its interactions with others |

    With ``correction`` the knapsack chooses all bits on the corrected table, after the last layer. Zeros are the
    knapsack's own answer with ``offset`` and with ``correction``. With ``interactions`` a descent from the knapsack's
    answer chooses, on corrected costs and interactions; zeros are its answer without corrections.

    ## Observation Space
    ``Box(0, 1, (17 + widths,), float32)``, of the layer to decide next; ``widths`` is 8 for 1 to 8 bits. The answer is
    the knapsack's on the table from gradients.

    | index | meaning |
    |-------|---------|
    | 0 to 9 | HAQ's features, as in ``MixedPrecisionQuantEnv``; 9 is the first number of the previous action |
    | 10 to 9 + widths | costs at each bit-width over the answer's predicted divergence, 1e-6 to 100, logarithmic |
    | -7 | square root of the layer's share of the searched weights |
    | -6 | budget over what all layers need at least (0) and at most (1) |
    | -5 | predicted divergence of the answer, 1e-4 to 100 nats, logarithmic |
    | -4 | what interactions between layers add to it, over it; ``(1 + x / (1 + abs(x))) / 2`` |
    | -3 | what interactions with this layer add, over its own cost; the same way |
    | -2 | budget left over what this and later layers need at least (0) and at most (1) |
    | -1 | bit-width that the knapsack chooses here, given the layers before; smallest (0) to largest (1) |

    ## Rewards
    0 until the last layer, then ``log(KL of the knapsack's answer / KL)`` on the search images, within [-1, 1]. So 0
    is as good as the knapsack on the same table: nothing was learned.

    ## Starting State
    The first layer of a problem and a budget, drawn uniformly. ``options={"problem": 0, "budget": 0.05}`` fixes
    both or one of them: an index into ``problems``, and any budget. Tables and the knapsack's answers are kept.

    ## Episode End
    ``terminated`` on the last layer, never ``truncated``. ``info`` of that step: ``bits`` of all layers, ``kl`` and
    ``knapsack_kl`` (nats), ``accuracy``, ``agreement`` (percent), ``size_ratio``, ``average_bits``, ``evaluations``
    (of this problem so far). ``info`` of ``reset`` and of that step: ``problem``, ``network``, ``quantizer``,
    ``budget``.

    ## Arguments
    problems: networks with a quantizer and search images each; their own budgets do not count. All have the same range
        of bits, and float or fixed activations.
    budgets: to draw from, as for ``ProblemConfig``.
    decision: ``bits``, ``offset``, ``correction`` or ``interactions``.
    table_images: search images of a problem's table from gradients, at most.

    Raises ``AdrlGymError`` where anything of this cannot work; the message says what to do.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it an instance variable

    def __init__(
        self,
        problems: Sequence[QuantProblem],
        budgets: Sequence[Budget] = FAMILY_BUDGETS,
        *,
        decision: Decision = "correction",
        table_images: int = TABLE_IMAGES,
    ) -> None:
        if not problems or not budgets:
            raise AdrlGymError("problems and budgets must not be empty: give at least one of each")
        for problem in problems:
            _check_alike(problem, problems[0])
        self._problems, self._table_images = tuple(problems), table_images
        self._budgets = tuple(plain_budget(budget) for budget in budgets)
        self.decision: Decision = decision
        self._costs: dict[int, np.ndarray] = {}  # by problem
        self._interactions: dict[int, np.ndarray | None] = {}
        self._members: dict[tuple[int, str], FamilyMember] = {}
        widths = problems[0].max_bits - problems[0].min_bits + 1
        self.observation_space = spaces.Box(0.0, 1.0, (FEATURES + widths + OWN_FEATURES,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (action_size(decision),), np.float32)
        self._place = 0  # of the problem of this episode
        self._decisions: Decisions | None = None

    @property
    def problem(self) -> QuantProblem:
        """The problem of this episode; its own budget is not the episode's."""
        return self._problems[self._place]

    def member(self, problem: int, budget: Budget) -> FamilyMember:
        """Return a problem under a budget; its table is made once."""
        key = problem, budget_name(budget)
        if key not in self._members:
            if problem not in self._costs:
                tables = sensitivity_tables(self._problems[problem], "gradient", "kl", self._table_images)
                self._costs[problem], self._interactions[problem] = tables.alone().costs, tables.interactions()
            of_problem = self._costs[problem], self._interactions[problem]
            self._members[key] = FamilyMember(self._problems[problem], budget, *of_problem)
        return self._members[key]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at the first layer of a problem and a budget, which are drawn unless ``options`` fix them.

        Raises:
            AdrlGymError: options that mean nothing.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(len(self._problems)))
        budget = self._budgets[int(self.np_random.integers(len(self._budgets)))]
        given: dict[str, Any] = {"problem": drawn, "budget": budget, **(options or {})}
        if unknown := sorted(set(given) - {"problem", "budget"}):
            raise AdrlGymError(f"unknown option {unknown[0]!r} of reset: give problem, budget or both")
        if not isinstance(given["problem"], int | np.integer) or not 0 <= given["problem"] < len(self._problems):
            raise AdrlGymError(
                f"problem must be an index from 0 to {len(self._problems) - 1}, got {given['problem']!r}"
            )
        self._place = int(given["problem"])
        self._decisions = Decisions(self.member(self._place, plain_budget(given["budget"])), self.decision)
        return self._decisions.observation(), self._named()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Decide the next layer; on the last one, measure.

        Raises:
            AdrlGymError: the episode has ended or has not begun, or the action is of another form.
        """
        decisions = self._decisions
        if decisions is None or decisions.done():
            raise AdrlGymError("there is no episode, or it has ended with the last layer: call reset() to begin one")
        decisions.take(action)
        if not decisions.done():
            return decisions.observation(), 0.0, False, False, {}
        member, problem = decisions.member, self.problem
        bits = member.space.with_fixed(decisions.bits())
        metrics = problem.evaluate(bits)
        info = {
            **self._named(),
            "bits": bits,
            "kl": metrics.kl,
            "knapsack_kl": member.knapsack_kl,
            "accuracy": metrics.accuracy,
            "agreement": metrics.agreement,
            "size_ratio": problem.size_ratio(bits),
            "average_bits": problem.average_bits(bits),
            "evaluations": problem.evaluations,
        }
        return decisions.observation(), member.reward(metrics.kl), True, False, info

    def close(self) -> None:
        """Release files and threads of all problems (see ``QuantProblem.close``)."""
        for problem in self._problems:
            problem.close()

    def _named(self) -> dict[str, Any]:
        assert self._decisions is not None
        problem, budget = self.problem, self._decisions.member.budget
        told = dict(budget) if isinstance(budget, Mapping) else budget
        return {"problem": self._place, "network": problem.name, "quantizer": problem.quantizer, "budget": told}


def _check_alike(problem: QuantProblem, first: QuantProblem) -> None:
    """Refuse problems whose observations would have another size or meaning; raises ``AdrlGymError``."""
    if problem.searches_inputs:
        raise AdrlGymError(f"{problem.name} searches activations, which a family does not: give float or fixed ones")
    if problem.config.bits != first.config.bits:
        raise AdrlGymError(
            f"{problem.name} has bits {problem.config.bits}, and {first.name} {first.config.bits}: "
            "give all problems of a family the same range"
        )
