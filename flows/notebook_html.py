"""An executed notebook as a page of HTML: results in full, code folded, light and dark, nothing from other hosts."""

import logging
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


def write_html(notebook: Path) -> Path:
    """Write the page of an executed notebook, and return its path."""
    from nbconvert import HTMLExporter

    log = logging.getLogger("nbconvert")
    log.setLevel(logging.ERROR)  # it warns of each plot that has no text beside it
    exporter: Any = HTMLExporter(raw_template=TEMPLATE, template_name="lab", log=log)
    page, _ = exporter.from_filename(str(notebook))
    write_atomically(html_file(notebook), page)
    return html_file(notebook)
