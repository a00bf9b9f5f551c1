"""The prompt templates, one jinja file each."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@cache
def load_template(name: str) -> Template:
    """Return the template `name.jinja`; an undefined variable in it is an error."""
    loader = PackageLoader("osiris.llm", "prompts")
    return Environment(loader=loader, undefined=StrictUndefined, autoescape=False).get_template(f"{name}.jinja")


def render(name: str, **values: object) -> str:
    """Render a template; nothing is escaped, since the reader is a language model."""
    return load_template(name).render(**values)
