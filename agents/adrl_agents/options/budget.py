"""The option ``--budget``: a number, or limits on several costs."""

from typing import Annotated, TypeAlias

import tyro

from adrl_gym.costs import Budget, budget_name, parse_budget

BudgetOption: TypeAlias = Annotated[
    Budget,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="SHARE|KIND=SHARE [KIND=SHARE ...]",
        instance_from_str=parse_budget,
        is_instance=lambda budget: isinstance(budget, float | int | dict),
        str_from_instance=lambda budget: budget_name(budget).split(),
    ),
]
