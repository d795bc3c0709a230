"""Search at several budgets, with several agents and seeds.

    adrl-gym sweep --budgets 0.04 0.05 0.0625 0.1 --agents adrl haq ip --seeds 0 1 2

Writes a folder for each search, one table (sweep.csv) and one picture of accuracy against size, or what else
--budget-kind names (pareto.png). The same command goes on where an interrupted sweep stopped.
"""

from adrl_agents.sweep import SweepOptions, run_sweep

OPTIONS = SweepOptions
main = run_sweep
