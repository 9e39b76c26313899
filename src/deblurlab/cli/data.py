"""`deblurlab data`: check, pack, show and average data sets. Torch is imported when a command runs."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deblurlab.cli.exit_codes import exit_with_message
from deblurlab.errors import UserError, first_sentence

if TYPE_CHECKING:
    from deblurlab.datasets.base import ImageSet
    from deblurlab.datasets.checks import Findings
    from deblurlab.datasets.listing import Item

T = TypeVar("T")


def data(arguments: list[str]) -> None:
    """Run `deblurlab data <command>`; exit with 1 if a check finds problems."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    options = _parse(arguments)
    with exit_with_message():
        sys.exit(options.run(options))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse doesn't accept positional arguments on both sides of an option.
    if any(word.startswith("-") for word in rest) or (rest and "overrides" not in options):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        words = [*filter(None, [options.root]), *options.overrides, *rest]
        options.root, options.overrides = words[0], words[1:]
    return options


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser("deblurlab data", description="Check, pack, show and average data sets.")
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def set_command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = command(name, run, text)
        added.add_argument("set", help="option of the config group data, e.g. gopro")
        added.add_argument("root", nargs="?", help="folder of the data set, data.root")
        added.add_argument("overrides", nargs="*", help="further settings, e.g. data.blur_key=blur_gamma")
        text = "folder with options of your own, in data/<set>.yaml; may be repeated"
        added.add_argument("--config-dir", metavar="DIR", type=Path, action="append", default=[], help=text)
        return added

    text = "Read every pair and print counts, sizes, damaged files and images that occur in two splits."
    check = set_command("check", _check, f"{text} Exit code 1 if there are problems.")
    check.add_argument("--fix-list", type=Path, help="write the list of good pairs, for data=pairs data.list=...")
    pack = set_command("pack", _pack, "Decode every image once into a frame store, from which crops are read directly.")
    text = "write shards for data=streaming instead, to a folder or an address such as s3://bucket/folder"
    pack.add_argument("--streaming", metavar="OUT", help=text)
    show = set_command("show", _show, "Write a sheet of samples: blurred image, sharp image, difference.")
    show.add_argument("-o", "--output", type=Path, help="PNG file (default: <set>.png)")
    show.add_argument("-n", "--number", type=int, default=6, help="samples per split (default: 6)")
    text = "Average the sharp frames of a high-speed camera into pairs, as in GoPro (Nah et al., CVPR 2017)."
    average = command("average", _average, text)
    average.add_argument("frames", type=Path, help="folder of frames, in order of their names")
    average.add_argument("-o", "--output", type=Path, required=True, help="new folder for blur, blur_gamma and sharp")
    average.add_argument("--window", default="7..13", help="frames to average: number or range (default: 7..13)")
    average.add_argument("--seed", type=int, default=0, help="seed of the window lengths (default: 0)")
    return parser


def _load(options: argparse.Namespace) -> "ImageSet":
    """Instantiate and prepare the data set that the arguments name.

    Raises:
        UserError: The data set or one of its settings doesn't exist.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

    from deblurlab import config
    from deblurlab.config import instantiate

    compose = partial(config.compose, f"data={options.set}", config_dirs=options.config_dir)
    root = options.root
    arguments = {} if root is None or ("=" in root and not Path(root).exists()) else {"root": root}
    overrides = [*([root] if root and not arguments else []), *options.overrides]
    try:
        node = compose(*overrides).data
        if arguments and "root" not in node.keys():  # noqa: SIM118 - also without a value
            raise ConfigKeyError("it takes no folder as an argument.")
        # Called here, because Hydra would interpolate a name with ${...}.
        data_set: ImageSet = instantiate(node, _partial_=True)(**arguments)
    except (HydraException, OmegaConfBaseException) as error:
        own = {path.stem for folder in options.config_dir for path in (folder / "data").glob("*.yaml")}
        if options.set not in (known := sorted({*config.options("data"), *own})):
            raise UserError(f"there is no data set {options.set}; known: {', '.join(known)}") from error
        settings = ", ".join(key for key in compose().data if key != "_target_")
        raise UserError(
            f"data={options.set} can't be created: {first_sentence(error)} (settings: {settings})"
        ) from error
    data_set.prepare()
    return data_set


def _check(options: argparse.Namespace) -> int:
    data_set = _load(options)

    from deblurlab.datasets.checks import Findings, inspect_splits
    from deblurlab.datasets.pair_list import check_listable, write_pair_list

    splits = data_set.splits()
    if options.fix_list is not None:
        check_listable(chain.from_iterable(splits.values()), options.set)
    findings, total = Findings({}, {}), sum(map(len, splits.values()))
    for findings in _with_progress(inspect_splits(data_set, splits), "checking", total):  # noqa: B007
        pass
    _print_findings(findings)
    if options.fix_list is not None:
        write_pair_list(options.fix_list, findings.usable)
        print(f"{len(findings.usable)} good pairs: {options.fix_list}")
    return 1 if findings.problems else 0


def _print_findings(findings: "Findings") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("split", "pairs", "published", "sizes")
    for split in {**findings.counts, **findings.published}:
        sizes = sorted(findings.sizes.get(split, ()))
        text = ", ".join(f"{w}x{h}" for w, h in sizes[:3]) + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else "")
        published = str(findings.published.get(split, "-"))
        table.add_row(split, str(findings.counts.get(split, 0)), published, text)
    console = Console()
    console.print(table)
    for problem in findings.problems:
        console.print(f"- {problem}", highlight=False, soft_wrap=True, markup=False)
    if not findings.problems:
        console.print("no problems found")


def _pack(options: argparse.Namespace) -> int:
    data_set = _load(options)
    if options.streaming is not None:
        _pack_shards(options, data_set)
    else:
        _pack_frames(options, data_set)
    return 0


def _pack_shards(options: argparse.Namespace, data_set: "ImageSet") -> None:
    from deblurlab.datasets.shards import write_shards

    training = data_set.training({}, repeat=1, seed=0)
    listed = data_set.items("train")
    if not all(item.references for item in listed) or training.sizes != [len(listed)]:
        raise UserError(f"data={options.set} can't be packed: shards hold the listed pairs of one data set")
    tests = {f"test/{name}": items for name, items in data_set.tests().items()}
    parts = {"train": listed, "val": data_set.items("val")} | tests
    total = sum(len(pairs) for pairs in parts.values())
    for _ in _with_progress(((n, n) for n in write_shards(options.streaming, parts)), "packing", total):
        pass
    print(f"shards: {options.streaming}")


def _pack_frames(options: argparse.Namespace, data_set: "ImageSet") -> None:
    from deblurlab.datasets.frame_store import FrameStore
    from deblurlab.datasets.frame_store_writer import write_frame_store

    stores = {root: files for root, files in data_set.frame_store_files().items() if files}
    if not stores:
        raise UserError(f"data={options.set} has no image files below a folder, which a frame store is written for")
    for root, files in stores.items():
        for _ in _with_progress(((n, n) for n in write_frame_store(root, files)), "packing", len(files)):
            pass
        print(f"{len(FrameStore(root))} frames: {root / 'frames'}")


def _show(options: argparse.Namespace) -> int:
    data_set = _load(options)

    import numpy as np

    from deblurlab.reporting.sheet import write_sheet

    samples: list[Item] = []
    for items in data_set.splits().values():
        indices = np.linspace(0, len(items) - 1, min(options.number, len(items))).astype(int)
        samples += [items[i] for i in indices]
    data_set.open()
    output = options.output or Path(f"{options.set}.png")
    write_sheet(output, samples, data_set.read)
    print(output)
    return 0


def _average(options: argparse.Namespace) -> int:
    from deblurlab.datasets.averaging import average_frames

    first, _, last = options.window.partition("..")
    try:
        window = int(first), int(last or first)
    except ValueError as error:
        raise UserError(f"--window {options.window} is neither a number nor a range such as 7..13") from error
    for _ in average_frames(options.frames, options.output, window=window, seed=options.seed):
        pass
    print(options.output)
    return 0


def _with_progress(steps: Iterable[tuple[int, T]], text: str, total: int) -> Iterator[T]:
    """Yield the second items of `steps`; show the first, the number of finished items, as progress."""
    from deblurlab.runs.progress import progress

    with progress(text, total) as update:
        for finished, item in steps:
            update(finished)
            yield item
