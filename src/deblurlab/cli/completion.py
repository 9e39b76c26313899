"""Scripts that complete `deblurlab` in a shell: its commands with shtab, overrides of train and evaluate with Hydra."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from deblurlab._compat import parser_actions

_HYDRA = {
    "bash": r"""
_deblurlab_complete() {
  local line="${COMP_LINE:0:$COMP_POINT}" command="${COMP_WORDS[1]}" word prefix
  if [[ $COMP_CWORD -lt 2 || ( $command != train && $command != evaluate ) ]]; then
    _shtab_deblurlab "$@"
    return
  fi
  word="${line##* }"
  prefix="${word%"${word##*[=:]}"}"  # bash completes what follows the last of these characters
  compopt -o nospace -o default +o filenames
  COMPREPLY=($(compgen -W "$(COMP_LINE="deblurlab${line#*" $command"}" "${COMP_WORDS[0]}" "$command" \
    -sc query=bash 2>/dev/null)" -- "$word"))
  COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
}
complete -o filenames -F _deblurlab_complete deblurlab
""",
    "zsh": r"""
_deblurlab_complete() {
  if (( CURRENT < 3 )) || [[ $words[2] != (train|evaluate) ]]; then
    _shtab_deblurlab "$@"
    return
  fi
  local -a choices
  choices=(${=$(COMP_LINE="deblurlab ${(j: :)words[3,CURRENT]}" $words[1] $words[2] -sc query=bash 2>/dev/null)})
  compadd -Q -S '' -a choices || _files
}
compdef _deblurlab_complete deblurlab
""",
}
"""Functions that ask Hydra for the words after train and evaluate, and shtab's for all others, by shell."""


def print_completion(arguments: list[str]) -> None:
    """Print the completion script of the shell that the argument names, bash or zsh; otherwise exit with 2."""
    if len(arguments) != 1 or arguments[0] not in _HYDRA:
        print(f"deblurlab: --print-completion needs the name of a shell: {' or '.join(_HYDRA)}", file=sys.stderr)
        sys.exit(2)
    import shtab

    (shell,) = arguments
    print(shtab.complete(_parser(), shell, root_prefix="deblurlab") + _HYDRA[shell])


def _parser() -> argparse.ArgumentParser:
    """Return a parser of all commands; those of Hydra have no options."""
    from deblurlab.cli import convert, data, export, report, restore, serve

    parsers = {
        "train": argparse.ArgumentParser(description="Train a model.", add_help=False),
        "evaluate": argparse.ArgumentParser(description="Measure a restorer on a data set.", add_help=False),
        "restore": restore.make_parser(),
        "serve": serve.make_parser(),
        "data": data.make_parser(),
        "report": report.report_parser(),
        "dashboard": report.dashboard_parser(),
        "export": export.make_parser(),
        "weights": convert.make_parser(),
    }
    parser = argparse.ArgumentParser("deblurlab")
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers()
    for name, command in parsers.items():
        _complete_files(command)
        commands.add_parser(name, help=command.description, parents=[command], add_help=False)
    return parser


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Let the values of all arguments that may be paths be completed with names of files."""
    import shtab

    for action in parser_actions(parser):
        if isinstance(action.choices, Mapping):
            for command in action.choices.values():
                _complete_files(command)
        elif action.choices is None and action.nargs != 0 and action.type in (None, Path):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
