"""Overrides that Hydra can't parse."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from deblurlab.config.overrides import check_syntax
from deblurlab.errors import UserError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.root=my photos (2020)",
            """data.root=my photos (2020) needs quotes: write 'data.root="my photos (2020)"'""",
        ),
        ("data.root=a=b", """data.root=a=b needs quotes: write 'data.root="a=b"'"""),
        ('k=a"b(', r"""k=a"b( needs quotes: write 'k="a\"b("'"""),
        ("unet", "unet isn't an override: write key=value"),
    ],
)
def test_the_error_shows_the_quotes(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_syntax(["model=unet", override])
    assert str(caught.value) == message


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_the_quoted_value_is_the_value(value: str) -> None:
    try:
        check_syntax([f"key={value}"])
    except UserError as error:
        (quoted,) = shlex.split(str(error).split("needs quotes: write ")[1])
        if value[0] not in "'\"":
            assert OverridesParser.create().parse_override(quoted).value() == value
