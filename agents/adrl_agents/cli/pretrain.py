"""Train a policy on many networks.

It answers for networks that it has never seen:

    adrl-gym pretrain --networks FILE.py:ONE FILE.py:TWO --data-root D --output runs/pretrain
    adrl-gym adrl --policy runs/pretrain/policy.zip

Each episode draws a network, a quantizer and a budget. The reward compares with the knapsack on the same table.
"""

from adrl_agents.pretrain import PretrainOptions, pretrain_policy

OPTIONS = PretrainOptions
main = pretrain_policy
