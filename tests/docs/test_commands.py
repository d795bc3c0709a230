"""Every command of ``adrl-gym`` in the documents has options that the command line takes."""

import re
import shlex
from pathlib import Path

import pytest

from adrl_agents.cli import main

ROOT = Path(__file__).parents[2]
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each command in a page's shell blocks."""
    lines = [line for block in SHELL.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [arguments[1:] for arguments in words if arguments[:1] == ["adrl-gym"]]


PAGES = {
    page: found
    for page in [*ROOT.glob("*.md"), *sorted(ROOT.rglob("docs/**/*.md"))]
    if (found := commands(page.read_text()))
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_documented_commands_are_taken(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, *options in PAGES[page]:
        monkeypatch.setattr(f"adrl_agents.cli.{name.replace('-', '_')}.main", lambda options: None)
        assert main([name, *options]) == 0, [name, *options]


def test_an_unknown_option_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adrl_agents.cli.haq.main", lambda options: None)
    (found,) = commands("```sh\nadrl-gym haq --budgett 0.1  # a comment\n```")
    with pytest.raises(SystemExit):
        main(found)
