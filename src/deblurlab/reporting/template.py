"""Templates of pages and model cards."""

from typing import Any

import jinja2


def render(template: str, **variables: Any) -> str:
    """Render one of the templates in this package."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deblurlab.reporting", "."),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**variables)
