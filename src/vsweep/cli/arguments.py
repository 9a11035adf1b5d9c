"""The arguments of every command, and their help. All imports of this module are quick."""

import argparse
import csv
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from vsweep.errors import ConfigError, suggest
from vsweep.trackers.wandb.options import WHERE

_AXES = """\
axes:    grid.optimizer.lr='{logspace:[1e-3,1,8]}'  grid.model.width='[8,16]'  ~grid.model.init
groups:  data= model= loss= optimizer= schedule= tracker=

"""
_RUN = f"""\
{_AXES}vsweep run sweep=digits seeds=32        train a sweep file with another field
vsweep run wandb_sweep=FILE             train the sweep of a W&B sweep file
vsweep run trial=N from=DIR [dir=NEW]   train one trial of a sweep again, and keep its parameters
vsweep run -m data=iris,wine            train one sweep per data set
"""
_COMPLETION = """\
eval "$(vsweep completion bash)"      in ~/.bashrc
eval "$(vsweep completion zsh)"       in ~/.zshrc, after compinit
vsweep completion fish | source       in ~/.config/fish/config.fish
"""
_TOP = f"""\
{_AXES}vsweep run sweep=digits      train a sweep
vsweep plan sweep=digits     print what would run
vsweep COMMAND --help        describe a command
"""


class Command(NamedTuple):
    """A command of the command line.

    Attributes:
        about: The command's help, in one line.
        arguments: The names of the positional arguments.
        options: The names of the options.
        epilog: The last lines of the command's help.
    """

    about: str
    arguments: str = "DIR"
    options: Sequence[str] = ()
    epilog: str = "An option can be written as --name VALUE or as name=VALUE."


_PERMISSIONS = "allow_targets", "allow_urls"
# The options of commands that train from a sweep's record.
_TRUST = (*_PERMISSIONS, "max_bytes")
# `vsweep run` retrains one trial where these options are given; no word of a command line has this name.
REPRODUCE = "run trial"
_REPRODUCE = Command("train one trial again", "", ("trial", "from", "dir", *_TRUST))
_FIELDS = "FIELD=VALUE"
COMMANDS = {
    "run": Command("train a sweep; the last line printed is its directory", _FIELDS, epilog=_RUN),
    "plan": Command("print what would run, and train nothing", _FIELDS, epilog=_AXES),
    "resume": Command("train a sweep's missing trials, or extend it: DIR seeds=32", f"DIR {_FIELDS}"),
    "verify": Command("train some trials again, alone", options=("k", "seed", *_TRUST)),
    "confirm": Command(
        "train the best cells again on fresh seeds", options=("top", "seeds", "metric", *_TRUST)
    ),
    "check": Command("check gradients against central differences", _FIELDS, epilog=_AXES),
    "sync": Command("upload the runs that W&B lacks", options=(*WHERE, "rows", "mode", "patience")),
    "dashboard": Command("save a workspace in W&B, and print its URL", options=WHERE),
    "report": Command("write report.html, for any browser", options=("metric", "path", "allow_targets")),
    "completion": Command("print a shell's completion script", "SHELL", epilog=_COMPLETION),
}


# The options of all commands: the value in the help, the help, and the least value of an integer option.
_OPTIONS: dict[str, tuple[str, str, int | None]] = {
    "k": ("N", "the number of random trials (8)", 0),
    "seed": ("N", "the seed that draws the trials (0)", 0),
    "top": ("N", "the number of cells (5)", 1),
    "seeds": ("N", "the number of fresh seeds; by default the sweep's, at least 8", 1),
    "metric": ("METRIC", "the metric that ranks the cells", None),
    "path": ("FILE", "the file; by default report.html in DIR", None),
    "project": ("NAME", "the W&B project; by default the sweep's", None),
    "entity": ("NAME", "the W&B entity; by default the sweep's, or your own", None),
    "level": ("LEVEL", "the unit of a W&B run: trial, cell or sweep", None),
    "rows": ("N", "the largest number of steps of a curve to send", 2),
    "mode": ("MODE", "online, or offline for files", None),
    "patience": ("SECONDS", "how long to wait for a server that does not answer", 0),
    "trial": ("N", "the trial's number", 0),
    "from": ("DIR", "the sweep's directory", None),
    "dir": ("DIR", "the new directory", None),
    "allow_targets": ("MODULES", "modules whose functions the sweep's config may name: a,b", None),
    "allow_urls": ("URLS", "URLs that the sweep's config may name as data.path: a,b", None),
    "max_bytes": ("N", "the largest number of bytes of a table to read (4 GB)", 1),
}


def _parse_option(name: str, value: str) -> Any:
    least = _OPTIONS[name][2]
    if name in _PERMISSIONS:
        # A list as in the words of `vsweep run`, whose items may be quoted.
        text = value[1:-1] if value.startswith("[") and value.endswith("]") else value
        (items,) = csv.reader([text], quotechar="'", escapechar="\\", skipinitialspace=True)
        return [item for item in items if item]
    if least is None:
        return value
    if not value.isdecimal() or int(value) < least:
        raise ConfigError(name, f"got {value!r}", f"it takes an integer of at least {least}")
    return int(value)


# The positional arguments: the help, and each shell's completion function (see `vsweep.cli.completion`).
_ARGUMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "DIR": (
        "the sweep's directory",
        {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "fish": "(__fish_complete_directories)"},
    ),
    _FIELDS: (
        "a field, an axis or the choice of a group",
        {"bash": "_vsweep_words", "zsh": "_vsweep_words", "fish": "(_vsweep_words)"},
    ),
    "SHELL": ("bash, zsh or fish", {}),
}
# The accepted flags of Hydra: their short form, the values they take, and the help. Hydra's other flags would
# load configs from elsewhere.
_HYDRA_FLAGS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "--multirun": ("-m", (), "train one sweep per combination of values a,b,c"),
    "--cfg": ("-c", ("job", "hydra", "all"), "print the config (job, hydra or all) and stop"),
    "--resolve": ("", (), "resolve interpolations in the output of --cfg"),
    "--info": (
        "-i",
        ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
        "print information about Hydra and stop",
    ),
    "--hydra-help": ("", (), "show the help of Hydra's own flags"),
}


# Each of these flags says what is done, so Hydra takes only one of them.
_ALONE = ("--multirun", "--cfg", "--info", "--hydra-help")


@cache
def parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the command line's parser, and the parser of each command."""
    style: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    about = "Train a grid of models in a few compiled programs, and keep every curve."
    top = argparse.ArgumentParser("vsweep", "vsweep COMMAND …", about, _TOP, **style)
    top.add_argument("--version", action="store_true", help="print the version")
    commands = top.add_subparsers(metavar="COMMAND", title="commands")
    for name, command in (COMMANDS | {REPRODUCE: _REPRODUCE}).items():
        words = [f"[{word} …]" if word == _FIELDS else word for word in command.arguments.split()]
        words += [f"[{option}={_OPTIONS[option][0]}]" for option in command.options]
        # A parser without help is listed nowhere.
        more: dict[str, Any] = {"help": command.about} if name in COMMANDS else {}
        about, usage = f"{command.about[0].upper()}{command.about[1:]}.", " ".join(["vsweep", name, *words])
        sub = commands.add_parser(
            name, usage=usage, description=about, epilog=command.epilog, **style, **more
        )
        sub.exit_on_error = False
        for word in command.arguments.split():
            about, completions = _ARGUMENTS[word]
            argument = sub.add_argument(word, nargs="*" if word == _FIELDS else "?", help=about)
            argument.complete = completions  # type: ignore[attr-defined]
        for option in command.options:
            metavar, about, _ = _OPTIONS[option]
            sub.add_argument(_flag(option), dest=option, metavar=metavar, help=about)
        for flag, (short, _, about) in _HYDRA_FLAGS.items() if name in ("run", "plan") else ():
            sub.add_argument(*filter(None, (short, flag)), action="store_true", help=about)
    return top, commands.choices


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return Hydra's flags in their long form, and the other words. Raises `ConfigError`."""
    long = {short: flag for flag, (short, *_) in _HYDRA_FLAGS.items() if short}
    flags: list[str] = []
    others: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            others.append(word)
            continue
        name, equals, value = word.partition("=")
        flag = long.get(name, name)
        if flag not in _HYDRA_FLAGS:
            raise ConfigError(name, "no such flag", suggest(name, [*_HYDRA_FLAGS, *long, "--help"]))
        values = _HYDRA_FLAGS[flag][1]
        if values and not equals and (flag == "--cfg" or (rest and rest[0] in values)):
            value, equals = rest.pop(0) if rest else "", "="
        if equals and value not in values:
            takes = f"it takes one of {', '.join(values)}" if values else "it takes no value"
            raise ConfigError(name, f"got {value!r}", takes)
        flags.append(f"{flag}={value}" if equals else flag)
    names = dict.fromkeys(flag.partition("=")[0] for flag in flags)
    alone = [name for name in names if name in _ALONE]
    if len(alone) > 1:
        raise ConfigError(alone[1], f"cannot be combined with {alone[0]}", "give one of them")
    if "--resolve" in names and "--cfg" not in names:
        raise ConfigError("--resolve", "got no --cfg", "it takes --cfg=job --resolve")
    return flags, others


def parse(name: str, words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return a command's positional arguments, and its options by name, without those left out.

    Args:
        name: The command's name, or `REPRODUCE`.
        words: The words after the command.

    Raises:
        ConfigError: If an argument is missing, unknown or not accepted.
    """
    command = COMMANDS.get(name, _REPRODUCE)
    flags = []
    for word in words:
        key, equals, value = word.partition("=")
        flags.append(f"{_flag(key)}={value}" if equals and key in command.options else word)
    try:
        parsed, rest = parser()[1][name].parse_known_args(flags)
    except argparse.ArgumentError as error:
        flag = str(error.argument_name)
        raise ConfigError(flag, "got nothing", f"it takes a value: {flag} VALUE") from error
    for word in rest:
        key = word.partition("=")[0]
        if word.startswith("-"):
            raise ConfigError(key, "no such flag", suggest(key, [*map(_flag, command.options), "--help"]))
        takes = ", ".join(f"{option}=…" for option in command.options)
        raise ConfigError(name.split()[0], f"got {word!r}", f"it takes {takes}" if takes else "leave it out")
    values = vars(parsed)
    if "DIR" in values and (not values["DIR"] or "=" in values["DIR"]):
        raise ConfigError(name, "got no directory", f"vsweep {name} DIR takes a sweep's directory")
    if name == REPRODUCE and not values["from"]:
        raise ConfigError("from", "got nothing", "trial=N from=DIR takes a sweep's directory")
    if name == REPRODUCE and values["trial"] is None:
        raise ConfigError("trial", "got nothing", "it takes an integer of at least 0")
    arguments = [values[word] for word in command.arguments.split()]
    positional = [word for part in arguments for word in (part if isinstance(part, list) else [part])]
    present = [option for option in command.options if values[option] is not None]
    return positional, {option: _parse_option(option, values[option]) for option in present}
