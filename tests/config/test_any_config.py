"""Property tests of sums and of combinations of options."""

import string

import pytest
from hydra.errors import ConfigCompositionException, HydraException
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from deblurlab.config import CONF
from deblurlab.config.sums import parse_sum
from support import config, option_names

TERMS = option_names("loss")
DEFAULTS = {name: OmegaConf.load(CONF / "loss" / f"{name}.yaml")[name].weight for name in TERMS}
Terms = list[tuple[str, float | None]]

factors = st.none() | st.floats(0, allow_nan=False, allow_infinity=False)
names = st.text("aé_1", max_size=4).map("T".__add__)
pieces = st.sampled_from(
    [*TERMS, "+", "*", "+0.1*", "1e400*", ".", "e", "-", " ", "/", "@", "é", "\n", "_self_", "=", ","]
)


def _format(terms: Terms) -> str:
    return "+".join(name if factor is None else f"{factor!r}*{name}" for name, factor in terms)


@given(st.lists(st.tuples(names, factors), min_size=1))
def test_a_formatted_sum_is_parsed_to_the_same_terms(terms: Terms) -> None:
    plain = len(terms) == 1 and terms[0][1] is None
    assert parse_sum(_format(terms)) == (None if plain else terms)


@given(st.text(st.sampled_from("l1vg+*.eE-_ ٣\n")) | st.text() | st.lists(pieces).map("".join))
def test_any_text_is_a_sum_or_none(text: str) -> None:
    terms = parse_sum(text)
    if terms is not None:
        assert text.count("+") >= len(terms) - 1
        assert all(name in text for name, _ in terms)
        formatted = _format([(name, min(factor, 1e300) if factor else factor) for name, factor in terms])
        assert [name for name, _ in parse_sum(formatted) or []] == [name for name, _ in terms]


@given(st.lists(st.sampled_from(TERMS), min_size=1, max_size=5, unique=True), st.data())
@settings(max_examples=8)
def test_any_terms_in_any_order_compose_with_their_weights(chosen: list[str], data: st.DataObject) -> None:
    terms = [(name, data.draw(factors)) for name in chosen]
    loss = config(f"loss={_format(terms)}").loss
    assert {name: node.weight for name, node in loss.items()} == {
        name: DEFAULTS[name] if factor is None else factor for name, factor in terms
    }


@given(st.lists(pieces, min_size=1, max_size=6).map("".join) | st.text(string.printable.replace("$", ""), max_size=9))
@example("1e400*l1+vgg")
@example("l1+l1")
@settings(max_examples=12)
def test_any_text_selects_losses_or_is_named_in_an_error(text: str) -> None:
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    try:
        chosen = config(f"loss={quoted}").loss
    except HydraException as error:
        lines = 1 if parse_sum(text) is not None else 99  # Hydra lists all options
        message = str(error)
        assert text in message or quoted in message
        assert len(message.splitlines()) <= lines
    else:
        terms = parse_sum(text) or [(text, None)]
        assert set(chosen) == {name.strip().removesuffix(".yaml") for name, _ in terms}


def test_a_factor_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigCompositionException, match=r"loss=1e400\*l1 has a factor that is too large"):
        config("loss=1e400*l1")


GROUPS = ("model", "discriminator", "optimizer", "scheduler", "data", "augment", "protocol", "trainer", "callbacks",
          "module")  # fmt: skip
REQUIRED = {
    "data=pairs": ["data.blurred=a", "data.sharp=b"],
    "data=unpaired": ["data.blurred=a", "data.sharp=b"],
    "data=streaming": ["data.root=a"],
    "data=torch": ["data.train._target_=own_sets.Samples"],
}
"""Overrides that an option requires."""


@given(
    st.tuples(*(st.sampled_from([f"{group}={option}" for option in option_names(group)]) for group in GROUPS)),
    st.lists(st.tuples(st.sampled_from(TERMS), factors), min_size=1, max_size=4, unique_by=lambda term: term[0]),
)
@settings(max_examples=25)
def test_any_combination_of_options_composes_and_resolves(choices: tuple[str, ...], terms: Terms) -> None:
    required = [override for choice in choices for override in REQUIRED.get(choice, [])]
    cfg = config(*choices, f"loss={_format(terms)}", *required, "pretrained=random", "name=x")
    resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(resolved, dict)
    assert {*GROUPS, "loss", "loader"} <= resolved.keys()
    assert {name for name, node in resolved["loss"].items() if "_target_" in node} == {name for name, _ in terms}
    assert "${" not in str(resolved)
