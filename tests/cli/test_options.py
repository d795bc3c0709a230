"""The options of the command lines: each is explained, once."""

import ast
import dataclasses
import inspect
import itertools
import re
from collections.abc import Iterator

import pytest

from adrl_agents.cli.command_line import run_command_line
from adrl_agents.options import ADRLOptions, Options, SB3Options, SearchOptions
from adrl_gym.quantization.registry import QUANTIZERS


@pytest.mark.parametrize("options", [ADRLOptions, Options, SB3Options, SearchOptions])
def test_help_explains_every_option(
    options: type[Options],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command_line(print, options, "About.", ["--help"])
    assert ended.value.code == 0
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    helps = dict(pair for kind in reversed(options.__mro__[:-1]) for pair in help_texts(kind))
    for field in dataclasses.fields(options):
        assert re.search(rf"--{field.name.replace('_', '-')}\b.{{0,60}}{re.escape(helps[field.name])}", text)


def help_texts(kind: type) -> Iterator[tuple[str, str]]:
    """Name and help of each field of a dataclass: the string below it."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    for node, below in itertools.pairwise(definition.body):
        if isinstance(node, ast.AnnAssign):
            assert isinstance(below, ast.Expr), f"{ast.unparse(node)} has no help"
            yield ast.unparse(node.target), ast.literal_eval(below.value)


def test_the_quantizers_are_those_of_the_package() -> None:
    assert set(Options.__annotations__["quantizer"].__args__) == set(QUANTIZERS)


def test_quantized_activations_make_another_run() -> None:
    plain, quantized = Options(budget=0.1), Options(budget=0.1, activations=8)
    assert not {"activations", "activation_range"} & plain.recorded().keys(), "as before there was a choice"
    assert quantized.recorded() == {**plain.recorded(), "activations": 8}
    assert quantized.run_name("adrl") == f"{plain.run_name('adrl')}-a8"
