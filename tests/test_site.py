"""Pages of the documentation site: links, config groups, public names. `make docs` builds the whole site."""

import re
from importlib import import_module

import pytest
import yaml
from omegaconf import OmegaConf

import gallery
import reference
import sources
from deblurlab.config import compose, options

PAGES = {
    path.relative_to(sources.ROOT).as_posix(): path.read_text()
    for path in (*sources.ROOT.glob("docs/*.md"), *(sources.ROOT / name for name in sources.ROOT_PAGES))
}
TEXT = """\
# One
# two.
_target_: deblurlab.losses.L1
a: 1 # behind | here
# above,
# in two lines
b: "x # y"
c: # of c
  d: [1, {e: 2}] # of d
  _target_: torch.nn.ReLU
"""


@pytest.mark.parametrize(
    ("link", "source", "expected"),
    [
        ("docs/data.md#frame-store", "README.md", "data.md#frame-store"),
        ("LICENSE", "README.md", "files/LICENSE.md"),
        ("../README.md", "docs/data.md", "index.md"),
        ("../CONTRIBUTING.md#add-a-metric", "docs/data.md", "contributing.md#add-a-metric"),
        ("serve.png", "docs/data.md", "serve.png"),
        ("../conf", "docs/data.md", "config/index.md"),
        ("../conf/loss", "docs/data.md", "config/loss.md"),
        ("../conf/loss/l1.yaml", "docs/data.md", "config/loss.md#l1"),
        ("../conf/hydra/launcher/slurm.yaml", "docs/data.md", "config/hydra/launcher.md#slurm"),
        ("../conf/train.yaml", "docs/data.md", "files/conf/train.yaml.md"),
        ("../src/deblurlab/models/unet.py", "docs/data.md", "files/src/deblurlab/models/unet.py.md"),
        ("../../docs/extending.md", "examples/my_package/README.md", "../../extending.md"),
        ("#here", "docs/data.md", "#here"),
        ("https://doi.org/10.1137/080724265", "docs/data.md", "https://doi.org/10.1137/080724265"),
    ],
)
def test_links_lead_to_pages_of_the_site(link: str, source: str, expected: str) -> None:
    page = sources.place(source.replace("/README.md", ""))
    assert sources.rewrite(f"a [b]({link}) c", source, page) == f"a [b]({expected}) c"
    code = f"```python\nd[0]({link})\n```"
    assert sources.rewrite(code, source, page) == code


def test_every_linked_file_of_the_repository_has_a_page() -> None:
    shown = sources.file_pages(PAGES)
    known = {*shown, *(page for page, _ in gallery.pages()), *(sources.place(path) for path in PAGES)}
    texts = {**PAGES, **dict(shown.values())}
    linked = {sources.place(path) for source, text in texts.items() for path in sources.links(text, source)}
    pages = {target.partition("#")[0] for target in linked if ".md" in target}
    assert len(pages) > 50
    assert pages - known - {"results.md"} == set()
    source, text = shown["files/examples/my_package/my_package/loss.py.md"]
    assert (sources.ROOT / source).read_text().strip() in text
    notebook = shown["files/examples/quickstart.ipynb.md"][1]
    assert notebook.startswith("# Quickstart\n")
    assert re.search(r"```text\n100 steps, 296,667 parameters\n.*dB\n```", notebook)
    assert notebook.count('<img alt="Output" src="data:image/png;base64,iVBOR') == 1


def test_parameters_of_a_file_by_hand() -> None:
    rows = list(gallery.parameters(yaml.compose(TEXT), TEXT.splitlines(), "group."))
    assert rows == [
        ("group._target_", "deblurlab.losses.L1", ""),
        ("group.a", "1", "behind | here"),
        ("group.b", "'x # y'", "above, in two lines"),
        ("group.c.d", "[1, {e: 2}]", "of d"),
        ("group.c._target_", "torch.nn.ReLU", ""),
    ]
    assert gallery.comment(TEXT) == "One\ntwo."
    assert gallery.comment("# @package _global_\n# Three.\na: 1") == "Three."


@pytest.mark.parametrize("group", ["model", "loss", "metric", "discriminator"])
def test_values_of_the_gallery_are_those_that_hydra_composes(group: str) -> None:
    for name in options(group):
        text = (gallery.CONF / group / f"{name}.yaml").read_text()
        cfg = compose(f"{group}={name}")
        rows = list(gallery.parameters(yaml.compose(text), text.splitlines(), f"{group}."))
        assert any(row.key.endswith("_target_") for row in rows) or "defaults:" in text, name
        for row in rows:
            assert OmegaConf.select(cfg, row.key) == yaml.safe_load(row.value), f"{name}: {row.key}"


def test_an_option_has_its_comment_target_parameters_and_further_arguments() -> None:
    section = gallery.option(gallery.CONF / "model" / "nafnet_32.yaml", "model")
    assert section.startswith("## nafnet_32\n\nNAFNet (Chen et al., ECCV 2022) with width 32.\n\n- `model`: ")
    assert "[`deblurlab.models.NAFNet`](../api/models.md#deblurlab.models.NAFNet)" in section
    assert "| `model.encoder` | `[1, 1, 1, 28]` | blocks per size, fine to coarse |" in section
    section = gallery.option(gallery.CONF / "hydra" / "launcher" / "parallel.yaml", "hydra/launcher")
    assert "| `hydra.launcher." in section


def test_further_arguments_are_the_defaults_of_the_class() -> None:
    rows = {row.key: row for row in gallery.arguments("deblurlab.dataloading.Augmentation", "augment.")}
    assert list(rows) == ["augment.size", "augment.transforms", "augment.degradations", "augment.cutblur"]
    assert [row.value for row in rows.values()] == ["", "", "[]", "0.0"]
    assert rows["augment.size"].comment == "Side of the result in pixels."
    assert list(gallery.arguments("torch.optim.Adam", "")) == []


def test_the_reference_has_all_public_names() -> None:
    pages = dict(reference.pages())
    assert len(pages) > 10
    for page, text in pages.items():
        module = import_module(re.match(r"# (\S+)\n", text)[1])  # type: ignore[index]
        documented = re.findall(rf"^::: {re.escape(module.__name__)}\.(\w+)$", text, re.MULTILINE)
        assert documented == sorted(module.__all__), page
        assert module.__doc__.strip() in text
