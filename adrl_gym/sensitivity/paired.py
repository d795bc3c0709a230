"""The table of a problem whose layers have two bit-widths: that of the weights and that of the input."""

from collections.abc import Sequence

import numpy as np

from adrl_gym.search_space import SearchSpace
from adrl_gym.sensitivity.frontier import FrontierKnapsack
from adrl_gym.sensitivity.knapsack import Knapsack, combined_sizes, lagrange_multiplier, solve_exactly
from adrl_gym.sensitivity.table import SensitivityTable, finite

_UNITS = 1 << 14  # resolution of the look-ups under one limit: a layer has tens of choices, and tables are many


class PairedTable(SensitivityTable):
    """Costs that add up over decisions, under limits that add up over layers alone.

    A layer's operations cost its weights' bits *times* its input's bits, so the knapsack chooses a pair of bit-widths
    for each layer. Its cost is the sum of both decisions' costs. Pairs that another one of the layer dominates take no
    part. Otherwise as ``SensitivityTable``: a row for each searched bit-width, in the order of the decisions.

    Args:
        problem: that searches activations.
        costs: ``(decisions, widths)``, lower is better.
    """

    def __init__(self, problem: SearchSpace, costs: np.ndarray) -> None:
        self.costs, self.min_bits = finite(costs), problem.min_bits
        n, limits = len(problem.layers), problem.limits
        row = {place: index for index, place in enumerate(problem.searchable)}
        layers = [layer for layer in range(n) if layer in row or n + layer in row]
        shares = np.array([limits.pair_shares(layer, problem.max_bits) for layer in layers])  # (G, limits, W, W)
        self._shares = shares.transpose(1, 0, 2, 3)  # (limits, G, W, W)
        self._rows = [(row.get(layer), row.get(n + layer)) for layer in layers]  # of weights, of the input
        self.allowed = limits.left_for(layers)
        lowest = [problem.inputs[layer][0] - self.min_bits if n + layer in row else 0 for layer in layers]
        self._lowest = [max(0, column) for column in lowest]
        fronts = [self._front(group) for group in range(len(layers))]
        most = max(map(len, fronts))
        self.pairs = np.array([[*front, *[front[-1]] * (most - len(front))] for front in fronts])  # (G, F, 2)
        group = np.arange(len(layers))[:, None]  # (G, 1)
        pair_costs = np.array([[self._pair_cost(g, *pair) for pair in own] for g, own in enumerate(self.pairs)])
        sizes = self._shares[:, group, self.pairs[..., 0], self.pairs[..., 1]]  # (limits, G, F)
        self._pair_costs, self._pair_sizes = pair_costs, sizes
        inner: Knapsack | FrontierKnapsack
        if len(sizes) == 1:
            inner = Knapsack(pair_costs, sizes[0], int(self.allowed[0]), 0, units=_UNITS)
        else:
            inner = FrontierKnapsack(pair_costs, sizes, self.allowed, 0)
        self.knapsack = PairedKnapsack(self, inner)  # type: ignore[assignment]

    @property
    def priced(self) -> np.ndarray:
        """Cost plus size at the budget's Lagrange multiplier, a layer's other part as in the best configuration."""
        multiplier = lagrange_multiplier(self._pair_costs, self._pair_sizes, self.allowed)
        best = self.columns(self.knapsack.complete(()))
        priced: np.ndarray = self.costs + multiplier * combined_sizes(self.sizes_at(best), self.allowed)
        return priced

    def solve(self) -> tuple[int, ...]:
        """Return the bit-widths of least summed cost within the budget, exactly (see ``solve_exactly``)."""
        chosen = solve_exactly(self._pair_costs, self._pair_sizes, self.allowed)  # (G,)
        return self.bits(self.flat(self.pairs[np.arange(len(chosen)), chosen]))

    def size(self, columns: np.ndarray) -> np.ndarray:
        """Return what columns ``(decisions,)`` take of each limit, ``(limits,)``."""
        pairs = self.paired(columns)  # (G, 2)
        taken: np.ndarray = self._shares[:, np.arange(len(pairs)), pairs[:, 0], pairs[:, 1]].sum(axis=1)
        return taken

    def sizes_at(self, columns: np.ndarray) -> np.ndarray:
        """Return what each decision's bit-widths take of each limit, the layer's other part as in ``columns``."""
        pairs, found = self.paired(columns), np.zeros((len(self.allowed), *self.costs.shape), np.int64)
        for group, (weights, inputs) in enumerate(self._rows):
            if weights is not None:
                found[:, weights] = self._shares[:, group, :, pairs[group, 1]]
            if inputs is not None:
                found[:, inputs] = self._shares[:, group, pairs[group, 0]]
        return found

    def paired(self, columns: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return columns of the decisions as pairs of the layers ``(G, 2)``; 0 where there is no decision."""
        return np.array([[0 if place is None else columns[place] for place in rows] for rows in self._rows])

    def flat(self, pairs: np.ndarray) -> np.ndarray:
        """Return pairs ``(G, 2)`` as columns of the decisions."""
        chosen = {
            place: int(column)
            for rows, pair in zip(self._rows, pairs, strict=True)
            for place, column in zip(rows, pair, strict=True)
            if place is not None
        }
        return np.array([chosen[place] for place in range(len(self.costs))])

    def options(self, group: int, decided: Sequence[int]) -> list[tuple[int, int]]:
        """Return the pairs of columns that a layer can still have.

        Args:
            group: the layer, counted among those with a decision.
            decided: columns of its first decisions.
        """
        every = range(self.costs.shape[1])
        places, given = self._rows[group], iter(decided)
        own = [[0] if place is None else [c] if (c := next(given, None)) is not None else every for place in places]
        lowest = self._lowest[group]
        return [(w, max(a, lowest)) for w in own[0] for a in own[1] if a >= lowest or len(own[1]) == 1]

    def decisions(self, group: int) -> int:
        """Return how many decisions a layer has, 1 or 2."""
        return sum(place is not None for place in self._rows[group])

    def pair_size(self, group: int, pair: tuple[int, int]) -> np.ndarray:
        """Return what a layer's pair takes of each limit, ``(limits,)``."""
        taken: np.ndarray = self._shares[:, group, pair[0], pair[1]]
        return taken

    def input_cost(self, group: int, column: int) -> float:
        """Return the cost of a searched input's bit-width."""
        return float(self.costs[self._rows[group][1], column])

    def _pair_cost(self, group: int, weights: int, inputs: int) -> float:
        rows = zip(self._rows[group], (weights, inputs), strict=True)
        return sum(float(self.costs[place, column]) for place, column in rows if place is not None)

    def _front(self, group: int) -> list[tuple[int, int]]:
        """Return the pairs that no other one of the layer dominates, the smallest first."""
        options = self.options(group, ())
        sizes = np.array([self.pair_size(group, pair) for pair in options])  # (P, limits)
        costs = np.array([self._pair_cost(group, *pair) for pair in options])  # (P,)
        order = np.lexsort((costs, *sizes.T[::-1]))  # by the sizes, then by the cost
        kept: list[int] = []
        for place in order:
            if not any(costs[k] <= costs[place] and (sizes[k] <= sizes[place]).all() for k in kept):
                kept.append(int(place))
        return [options[place] for place in kept]


class PairedKnapsack:
    """The questions of ``Knapsack`` for decisions of which a layer has one or two.

    Args:
        table: the pairs and what they take.
        inner: the knapsack whose columns are the pairs of each layer that none dominates.
    """

    def __init__(self, table: PairedTable, inner: Knapsack | FrontierKnapsack) -> None:
        self._table, self._inner = table, inner

    def least_costs(self, decided: Sequence[int], candidates: Sequence[int]) -> list[float]:
        """Return, for each bit-width of the next decision, its cost plus the cost-to-go of all after it."""
        column = self._table.costs[len(decided)]  # (widths,)
        costs = {b: self.cost_to_go((*decided, b)) for b in set(candidates)}
        return [float(column[b - self._table.min_bits]) + costs[b] for b in candidates]

    def cost_to_go(self, decided: Sequence[int]) -> float:
        """Return the least cost of the decisions still to come; infinite where nothing fits the budget any more."""
        return self._best(decided)[0]

    def complete(self, decided: Sequence[int]) -> tuple[int, ...]:
        """Return ``decided`` bits of the first decisions and the best of the others; the fewest where nothing fits."""
        table = self._table
        _, pairs, left = self._best(decided)
        columns = self._inner.rest_within(len(pairs), left)
        rest = [table.pairs[len(pairs) + group, column] for group, column in enumerate(columns)]  # (2,) each
        whole = table.bits(table.flat(np.array([*pairs, *rest])))
        return (*decided, *whole[len(decided) :])

    def _best(self, decided: Sequence[int]) -> tuple[float, list[tuple[int, int]], np.ndarray]:
        """Return the least cost of what is still to come, the pairs begun at it, and what they leave of the limits."""
        table, columns = self._table, [b - self._table.min_bits for b in decided]
        pairs: list[tuple[int, int]] = []
        left = table.allowed
        while len(pairs) < len(table.pairs) and table.decisions(len(pairs)) <= len(columns):
            count = table.decisions(len(pairs))
            (pair,) = table.options(len(pairs), columns[:count])
            left = left - table.pair_size(len(pairs), pair)
            pairs.append(pair)
            columns = columns[count:]
        if not columns:
            return self._inner.cost_within(len(pairs), left), pairs, left
        trials = []
        for pair in table.options(len(pairs), columns):  # the weights are decided, the input is not
            after = left - table.pair_size(len(pairs), pair)
            cost = table.input_cost(len(pairs), pair[1]) + self._inner.cost_within(len(pairs) + 1, after)
            trials.append((cost, [*pairs, pair], after))
        return min(trials, key=lambda trial: trial[0])  # of the same cost, that of the fewest bits
