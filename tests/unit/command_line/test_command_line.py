"""What can be typed after `simple-golem`, and what wrong input gets."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_golem.command_line import main as cli
from simple_golem.errors import NamespacesForbidden


@pytest.mark.parametrize(
    ("typed", "run"),
    [
        (["script.py", "--providers", "9", "-x"], ["script.py", "--providers", "9", "-x"]),
        (["-m", "package.module", "-c", "a"], ["-m", "package.module", "-c", "a"]),
        (["-c", "print(1)", "--subnet", "a"], ["-c", "print(1)", "--subnet", "a"]),
    ],
)
def test_options_end_where_the_script_begins(
    typed: list[str], run: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("script.py").touch()
    options = cli._parser().parse_args(["local", "run", "--providers", "2", "--subnet", "mine", *typed])
    assert (options.providers, options.subnet) == (2, ["mine"])
    assert cli._what_to_run(options) == run


def test_images_can_be_given_more_than_once() -> None:
    options = cli._parser().parse_args(["local", "up", "--image", "a=/x", "--image", "b=/y"])
    assert options.image == ["a=/x", "b=/y"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["local", "run", "no-such-script.py"], "there is no script no-such-script.py"),
        (["local", "up", "--providers", "0"], "1 to 200 providers, not 0"),
        (["local", "up", "--image", "a=/no/such/folder"], "there is no image /no/such/folder"),
        (["local", "up", "--image", "nothing"], "TAG_OR_HASH=PATH"),
        (["local", "up", "--chain", "--funds", "lots"], "funds is 'lots'"),
        (["local", "up", "--chain", "--funds=-1"], "it must be an amount of GLM, 0 or more"),
        (["local", "up", "--subnet", "a b"], "a subnet is made of"),
        (["local", "up", "--payment-network", "tron"], "there is no payment network 'tron'; there are amoy,"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(typed) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("typed", [[], ["local"], ["local", "run"], ["local", "run", "--bad", "x.py"]])
def test_a_value_that_is_not_a_command_is_refused_with_advice(
    typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(typed)
    assert ended.value.code == 2
    assert "usage: simple-golem" in capsys.readouterr().err


def test_a_network_that_does_not_start_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(network: object) -> None:
        raise NamespacesForbidden("no namespaces here: do this")

    monkeypatch.setattr("simple_golem.local.local_golem.LocalGolem.start", refuse)
    assert cli.main(["local", "up"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "simple-golem: no namespaces here: do this"


def commands_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands that do something themselves."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for one in group.choices.values():
            yield from commands_of(one)


def test_the_help_of_each_command_says_what_it_does_and_has_an_example() -> None:
    commands = list(commands_of(cli._parser()))
    assert len(commands) > 8
    assert [one.prog for one in commands if not one.description] == []
    without = [one.prog for one in commands if f"{one.prog} " not in f"{one.epilog} "]
    assert without == []
