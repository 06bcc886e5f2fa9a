"""Render ``report.html``, which needs no other file and sends no request."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from xray_hpc.printable import printable_lines
from xray_hpc.report.page.blocks import Section
from xray_hpc.report.page.libraries import datatables_script, datatables_style, vega_script
from xray_hpc.report.page.table import UNKNOWN

TEMPLATES = Path(__file__).parent / "templates"


def render_page(sweep: str, summary: str, sections: Sequence[Section]) -> str:
    """Return the page; the same sections give the same text.

    Args:
        sweep: name of the sweep.
        summary: one line on the runs, below the title.
        sections: the sections, see :func:`~xray_hpc.report.page.page_sections.page_sections`.
    """
    import jinja2  # here and not above: most commands render no page

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["code_spans"] = code_spans
    scripts = [vega_script(), datatables_script(), (TEMPLATES / "page.js").read_text("utf-8")]
    return environment.get_template("page.html.jinja").render(
        sweep=sweep,
        summary=summary,
        sections=sections,
        unknown=UNKNOWN,
        style=Markup(datatables_style() + (TEMPLATES / "page.css").read_text("utf-8")),
        scripts=[Markup(script) for script in scripts],
        policy=content_policy(scripts),
    )


def content_policy(scripts: Sequence[str]) -> str:
    """Return a Content-Security-Policy that allows these scripts only, and no request.

    Vega compiles the expressions of its charts, hence ``unsafe-eval``.
    """
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    allowed = f"script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def code_spans(text: str) -> Markup:
    """Return escaped text in which what is between backticks is code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _printable(value: object) -> object:
    """Show control characters and the like as escapes; leave HTML as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable_lines(value)
    return value
