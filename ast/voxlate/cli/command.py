"""Typer commands with grouped options, renamed options that still work, and usage errors on one line."""

import re
import sys
from typing import Any, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from voxlate.errors import OptionError, VoxlateError
from voxlate.registry import unknown_name

# Old names of options -> new names, which are those of whisper, transformers and PyTorch.
RENAMED_OPTIONS = {"--beam": "--beam-size", "--slot": "--language-token", "--workers": "--num-workers"}

# Options whose value may be omitted -> its form, which the next argument does not have, and its default.
OPTIONAL_VALUES = {"--ray": (re.compile(r"auto|local|ray://.+|[\w.-]+:\d+|\[[\da-fA-F:]+\]:\d+"), "local")}

# typer exports few of click's classes, which newer versions of typer replace by copies.
Context: TypeAlias = Any
_UsageError: Any = typer.BadParameter.__base__


class Command(TyperCommand):
    """A command whose help lists its options by panel (`rich_help_panel`), and which accepts old option names."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments after replacing old option names. Each replaced name is reported on standard error."""
        option_names = _option_names(self)
        renamed = {old: new for old, new in RENAMED_OPTIONS.items() if new in option_names}
        stop = args.index("--") if "--" in args else len(args)
        given_names = {word.partition("=")[0] for word in args[:stop]}
        for old in sorted(given_names & renamed.keys()):
            if renamed[old] in given_names:
                ctx.fail(f"{old} is the old name of {renamed[old]}; give only {renamed[old]}")
            if not ctx.resilient_parsing:
                print(f"warning: {old} is deprecated; use {renamed[old]}", file=sys.stderr)
        replaced = _with_values([_rename(word, renamed) for word in args[:stop]])
        return super().parse_args(ctx, [*replaced, *args[stop:]])

    def invoke(self, ctx: Context) -> Any:
        """Run the command. An error about options names them as on the command line, such as --beam-size."""
        try:
            return super().invoke(ctx)
        except OptionError as error:
            names = {name.removeprefix("--").replace("-", "_"): name for name in _option_names(self)}
            raise VoxlateError(error.message(names)) from None

    def format_options(self, ctx: Context, formatter: Any) -> None:
        """Write the arguments, then the options of each panel in order of appearance."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                panel = getattr(parameter, "rich_help_panel", None) or ("Arguments" if is_argument else "Options")
                name = record[0].partition(" <")[0] if is_argument else record[0]  # without Python's type
                sections.setdefault(panel, []).append((name, record[1]))
        _write_sections(formatter, sections)


class CommandGroup(TyperGroup):
    """A group of commands whose help lists them by panel. It reports a usage error as one line."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments; without any, print the help and exit with 2."""
        if not args and not ctx.resilient_parsing:
            print(ctx.get_help(), file=sys.stderr)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Context, args: list[str]) -> Any:
        """Find the command; if there is none of that name, suggest a similar one."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            ctx.fail(unknown_name("command", args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Context, formatter: Any) -> None:
        """Write the names and summaries of the commands of each panel."""
        commands: list[tuple[str, Any]] = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        width = formatter.width - 6 - max(len(name) for name, _ in commands)
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in commands:
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            sections.setdefault(panel, []).append((name, command.get_short_help_str(width)))
        _write_sections(formatter, sections)

    def invoke(self, ctx: Context) -> Any:
        """Run the command. If Ctrl-C is not handled by it, as while libraries are loading, exit with 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line. A command returns its exit code; a usage error is one line and exit code 2."""
        standalone_mode = extra.pop("standalone_mode", True)
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except _UsageError as error:
            if not standalone_mode:
                raise
            print(f"error: {_one_line(error)}", file=sys.stderr)
            code = 2
        if standalone_mode:
            sys.exit(code)
        return code


def example(command: str) -> str:
    """Return an example for the end of a help text. click does not wrap paragraphs that start with \\b."""
    return f"\b\nExample:\n  {command}"


def _option_names(command: Any) -> list[str]:
    """Return the names of a command's options, such as --model."""
    return [name for parameter in command.params if parameter.param_type_name == "option" for name in parameter.opts]


def _rename(word: str, renamed: dict[str, str]) -> str:
    name, equals, value = word.partition("=")
    return f"{renamed.get(name, name)}{equals}{value}"


def _with_values(words: list[str]) -> list[str]:
    """Join options whose value may be omitted with their value or its default, as in --ray=local."""
    joined: list[str] = []
    skipped = False
    for word, after in zip(words, [*words[1:], ""], strict=False):
        if skipped:
            skipped = False
        elif word in OPTIONAL_VALUES:
            pattern, default = OPTIONAL_VALUES[word]
            skipped = pattern.fullmatch(after) is not None
            joined.append(f"{word}={after if skipped else default}")
        else:
            joined.append(word)
    return joined


def _write_sections(formatter: Any, sections: dict[str, list[tuple[str, str]]]) -> None:
    for title, records in sections.items():
        with formatter.section(title):
            formatter.write_dl(records)


def _one_line(error: Any) -> str:
    """Return the message of a usage error, with the command that explains the usage."""
    if hasattr(error, "possibilities"):  # an unknown option
        message = unknown_name("option", error.option_name, _option_names(error.ctx.command))
    else:
        message = " ".join(error.format_message().split()).rstrip(".")
    path = error.ctx.command_path if error.ctx else "voxlate"
    return f"{message[0].lower()}{message[1:]} (see {path} --help)"
