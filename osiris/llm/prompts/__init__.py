"""The prompt templates, one jinja file each. A workspace may replace any of them with a file of its own.

An example: with `prompts/advise.jinja` in the workspace, that file asks for ideas in place of the shipped one. All
other prompts stay as they are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, TemplateError, TemplateSyntaxError

from osiris.core.errors import BadInput, NotFound

SHIPPED_FOLDER = Path(__file__).parent
SUFFIX = ".jinja"


@cache
def load_template(name: str) -> Template:
    """Return the shipped template `name.jinja`; an undefined variable in it is an error."""
    return _compile((SHIPPED_FOLDER / f"{name}{SUFFIX}").read_text(encoding="utf-8"))


def render(name: str, **values: object) -> str:
    """Render a shipped template; nothing is escaped, since the reader is a language model."""
    return load_template(name).render(**values)


def shipped_names() -> list[str]:
    """Return the names of all templates, sorted."""
    return sorted(path.stem for path in SHIPPED_FOLDER.glob(f"*{SUFFIX}"))


@dataclass(frozen=True)
class Prompts:
    """The templates of a workspace: those in `folder`, and the shipped ones for every name that it lacks."""

    folder: Path

    def render(self, name: str, **values: object) -> str:
        """Render a template.

        Raises `BadInput` for a file of the workspace that jinja cannot read, or that uses a value that is not there.
        """
        try:
            return self._templates[name].render(**values)
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            if name not in self.replaced:
                raise
            raise BadInput(
                f"a template that can be filled with {', '.join(sorted(values))}",
                f"{self._path(name)}: {' '.join(str(error).split())}",
                "correct the file, or remove it to use the shipped one",
            ) from error

    def hash(self, names: Sequence[str]) -> str:
        """Return the sha256 (64 hex digits) over the texts of these templates."""
        digest = hashlib.sha256()
        for name in sorted(names):
            digest.update(f"{name}\n{len(self._texts[name])}\n{self._texts[name]}".encode())
        return digest.hexdigest()

    @cached_property
    def replaced(self) -> list[str]:
        """The names of the templates that the workspace replaces, sorted.

        Raises `NotFound` for a file whose name no template has: it would never be used.
        """
        names = sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}"))
        if unknown := [name for name in names if name not in shipped_names()]:
            raise NotFound(
                f"a template called {', '.join(shipped_names())}", str(self._path(unknown[0])), "rename or remove it"
            )
        return names

    @cached_property
    def _texts(self) -> dict[str, str]:
        """The text of each template, by name."""
        texts = {}
        for name in shipped_names():
            path = self._path(name) if name in self.replaced else SHIPPED_FOLDER / f"{name}{SUFFIX}"
            try:
                texts[name] = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput("a template in UTF-8", f"{path}: {error}", "correct or remove the file") from error
        return texts

    @cached_property
    def _templates(self) -> dict[str, Template]:
        templates = {}
        for name, text in self._texts.items():
            try:
                templates[name] = _compile(text)
            except TemplateSyntaxError as error:
                raise BadInput(
                    "a template that jinja can read",
                    f"{self._path(name)}, line {error.lineno}: {error.message}",
                    "correct the file, or remove it to use the shipped one",
                ) from error
        return templates

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"


SHIPPED_PROMPTS = Prompts(SHIPPED_FOLDER)
"""The templates of a workspace that replaces none."""


@cache
def _compile(text: str) -> Template:
    return Environment(undefined=StrictUndefined, autoescape=False).from_string(text)
