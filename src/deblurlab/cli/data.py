"""`deblurlab data ...`: look at data sets, check them, pack them, make them."""

import argparse
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deblurlab.config import compose as conf
from deblurlab.datasets.averaging import average
from deblurlab.datasets.base import Pair, Single
from deblurlab.datasets.checks import Findings, check
from deblurlab.datasets.frame_store import FrameStore, pack
from deblurlab.datasets.sets import PairSet
from deblurlab.datasets.shards import write_shards
from deblurlab.errors import UserError, first_sentence
from deblurlab.reporting.sheet import write_sheet

T = TypeVar("T")


def run(arguments: list[str]) -> int:
    """Do what a command line says; returns the exit code.

    Raises:
        UserError: Whatever the user can mend.
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse gives up on positional arguments once options have come between them.
    if any(word.startswith("-") for word in rest) or (rest and "overrides" not in options):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        words = [*filter(None, [options.root]), *options.overrides, *rest]
        options.root, options.overrides = words[0], words[1:]
    return int(options.work(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("deblurlab data", description="Data sets: check, pack, show, make.")
    commands = parser.add_subparsers(required=True)

    def command(name: str, work: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(work=work)
        return added

    for name, work, text in (
        ("check", _check, "Read every pair: counts, sizes, broken files, images in two splits. Exit code 1 if any."),
        ("pack", _pack, "Decode every image once into a frame store, from which a crop costs only its bytes."),
        ("show", _show, "Write a page of samples: blurred, sharp, difference."),
    ):
        added = command(name, work, text)
        added.add_argument("set", help="an option of the group data")
        added.add_argument("root", nargs="?", help="where it lies: data.root")
        added.add_argument("overrides", nargs="*", help="further settings, e.g. data.blur_key=blur_gamma")
        if name == "check":
            added.add_argument("--fix-list", type=Path, help="write the good pairs there, for data=pairs data.list=...")
        if name == "pack":
            text = "write shards for data=streaming instead, to a folder or an address such as s3://bucket/folder"
            added.add_argument("--streaming", metavar="OUT", help=text)
        if name == "show":
            added.add_argument("-o", "--output", type=Path, help="the page, a PNG; by default <set>.png")
            added.add_argument("-n", "--number", type=int, default=6, help="of samples in each split")

    added = command("average", _average, "Turn the sharp frames of a fast camera into pairs, as GoPro was made.")
    added.add_argument("frames", type=Path, help="a folder of frames in order")
    added.add_argument("-o", "--output", type=Path, required=True, help="a new folder for blur, blur_gamma and sharp")
    added.add_argument("--window", default="7..13", help="frames averaged: a number or a range, FROM..TO")
    added.add_argument("--seed", type=int, default=0)
    return parser


def _chosen(options: argparse.Namespace) -> PairSet:
    """The data set that a command line names, ready to be read."""
    overrides = list(options.overrides)
    if options.root is not None:
        overrides.insert(0, options.root if "=" in options.root else f"data.root={options.root}")
    try:
        node = conf.compose(f"data={options.set}", *overrides).data
        data: PairSet = instantiate(node, _convert_="all")
    except (HydraException, OmegaConfBaseException) as error:
        if options.set not in conf.options("data"):
            known = ", ".join(conf.options("data"))
            raise UserError(f"there is no data set {options.set}; known: {known}") from error
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from error
        settings = ", ".join(key for key in conf.compose(f"data={options.set}").data if key != "_target_")
        raise UserError(
            f"data={options.set} can't be made: {first_sentence(error)} (its settings: {settings})"
        ) from error
    data.prepare()
    return data


def _check(options: argparse.Namespace) -> int:
    data = _chosen(options)
    if not data.on_disk:
        raise UserError(f"data={options.set}: shards were checked when they were packed")
    if options.fix_list is not None and not data.paired:
        raise UserError(f"--fix-list lists pairs, and data={options.set} has none")
    splits = data.splits()
    findings = Findings({}, {})
    total = sum(len(pairs) for pairs in splits.values())
    for findings in _followed(check(splits, data.published), "checking", total):  # noqa: B007
        pass
    _report(findings)
    if options.fix_list is not None:
        lines = [" ".join(_quoted(path) for path in item.files[:2]) + "\n" for item in findings.good]
        options.fix_list.write_text("".join(lines))
        print(f"{len(lines)} good pairs: {options.fix_list}")
    return 1 if findings.complaints else 0


def _report(findings: Findings) -> None:
    table = Table("split", "pairs", "published", "sizes")
    for split in {**findings.counts, **findings.published}:
        sizes = sorted(findings.sizes.get(split, ()))
        said = ", ".join(f"{w}x{h}" for w, h in sizes[:3]) + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else "")
        published = str(findings.published.get(split, "-"))
        table.add_row(split, str(findings.counts.get(split, 0)), published, said)
    console = Console()
    console.print(table)
    for complaint in findings.complaints:
        console.print(f"- {complaint}", highlight=False, soft_wrap=True, markup=False)
    if not findings.complaints:
        console.print("nothing is wrong with it")


def _pack(options: argparse.Namespace) -> int:
    data = _chosen(options)
    if not data.on_disk:
        raise UserError(f"data={options.set} is packed already")
    if options.streaming is not None:
        if not data.listed or len(data.parts()) > 1:
            raise UserError(f"data={options.set}: shards hold the pairs of one set")
        parts = {"train": data.train(), "val": data.val()} | {f"test/{n}": pairs for n, pairs in data.tests().items()}
        total = sum(len(pairs) for pairs in parts.values())
        for _ in _followed(((n, n) for n in write_shards(options.streaming, parts)), "packing", total):
            pass
        print(f"shards: {options.streaming}")
        return 0
    for root, files in data.stores().items():
        for _ in _followed(((n, n) for n in pack(root, files)), "packing", len(files)):
            pass
        print(f"{len(FrameStore(root))} frames: {root / 'frames'}")
    return 0


def _show(options: argparse.Namespace) -> int:
    data = _chosen(options)
    chosen: list[Pair | Single] = []
    for pairs in data.splits().values():
        chosen += [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(options.number, len(pairs))).astype(int)]
    output = options.output or Path(f"{options.set}.png")
    write_sheet(output, chosen, data.reader())
    print(output)
    return 0


def _average(options: argparse.Namespace) -> int:
    first, _, last = options.window.partition("..")
    try:
        window = int(first), int(last or first)
    except ValueError as error:
        raise UserError(f"--window {options.window} is neither a number nor a range such as 7..13") from error
    for _ in average(options.frames, options.output, window=window, seed=options.seed):
        pass
    print(options.output)
    return 0


def _followed(steps: Iterable[tuple[int, T]], what: str, total: int) -> Iterator[T]:
    """Pass on what comes beside each number done, and show the numbers as progress."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        for done, beside in steps:
            progress.update(task, completed=done)
            yield beside


def _quoted(path: Path) -> str:
    return shlex.quote(str(path.absolute()))
