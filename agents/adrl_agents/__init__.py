"""Agents that search bit-widths in the environments of ``adrl_gym``, on Stable-Baselines3."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adrl_agents.adrl import ADRL
    from adrl_agents.haq import HAQ

__all__ = ["ADRL", "HAQ"]


def __getattr__(name: str) -> Any:
    """Import an agent when it is first asked for: the command line's help needs no PyTorch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise ImportError('adrl_agents needs Stable-Baselines3: pip install "adrl-gym[agents]"') from error
    from adrl_agents.adrl import ADRL
    from adrl_agents.haq import HAQ

    globals().update(ADRL=ADRL, HAQ=HAQ)
    return globals()[name]
