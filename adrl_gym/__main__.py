"""``python -m adrl_gym``: the same as the console command ``adrl-gym``."""

import sys
from importlib.metadata import entry_points


def main() -> int:
    """Run the console command of the installed package; the commands themselves belong to another package."""
    for command in entry_points(group="console_scripts", name="adrl-gym"):
        try:
            run = command.load()
        except ModuleNotFoundError:
            break
        return int(run())
    print('error: python -m adrl_gym needs the commands: pip install "adrl-gym[agents]"', file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
