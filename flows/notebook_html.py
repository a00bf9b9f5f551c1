"""An executed notebook as a page of HTML: results in full, code folded, light and dark, nothing from other hosts."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

from osiris.core.files import write_atomically

TEMPLATE = """
{%- extends "lab/index.html.j2" -%}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block notebook_css %}{{ super() }}
{{ resources.include_css("static/theme-dark.css")
   | replace('<style', '<style media="(prefers-color-scheme: dark)"') | safe }}
<style>
  body.jp-Notebook { max-width: 1100px; margin: 0 auto; }
  .osiris-code { float: right; margin: 16px; }
  body:not(.with-code) :is(.jp-Cell-inputWrapper:not(.jp-MarkdownCell *), .jp-mod-noOutputs) { display: none; }
  .jp-Cell-inputArea .jp-InputPrompt, .jp-OutputArea-prompt.jp-OutputPrompt { display: none !important; }
  .jp-OutputArea-output { overflow-x: auto; }
</style>
{% endblock %}
{% block body_header %}{{ super() }}
<button class="osiris-code" onclick="document.body.classList.toggle('with-code')">Code</button>
{% endblock %}
"""


def html_file(notebook: Path) -> Path:
    """The page of an executed notebook, beside it."""
    return notebook.with_suffix(".html")


@cache
def html_exporter() -> Any:
    """The converter; it takes 0.3 seconds to read its templates."""
    from nbconvert import HTMLExporter

    log = logging.getLogger("nbconvert")
    log.setLevel(logging.ERROR)  # it warns of each plot that has no text beside it
    return HTMLExporter(raw_template=TEMPLATE, template_name="lab", log=log)


def write_html(notebook: Path) -> Path:
    """Write the page of an executed notebook, and return its path."""
    page, _ = html_exporter().from_filename(str(notebook))
    write_atomically(html_file(notebook), page)
    return html_file(notebook)
