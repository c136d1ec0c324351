"""Templates: Jinja2 in its sandbox. Values are data; nothing inside them is expanded."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from motet.errors import TemplateError

RESERVED = frozenset({"output_schema"})
"""Names that every template may use besides the prompt's parameters."""


@functools.cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Autoescaping is for HTML; a prompt is plain text.
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )


class Template:
    """A parsed template.

    Raises:
        TemplateError: It does not parse, or names something that is neither a parameter nor
            reserved.
    """

    def __init__(self, source: str, parameters: Iterable[str], *, owner: str, place: str) -> None:
        from jinja2 import TemplateSyntaxError, meta, nodes

        environment = _environment()
        try:
            tree = environment.parse(source)
        except TemplateSyntaxError as exc:
            raise TemplateError(
                f"a template of {owner} does not parse: {exc.message}, line {exc.lineno}",
                place=place,
            ) from exc
        known = set(parameters) | RESERVED
        for kind, known_names in (
            (nodes.Filter, environment.filters),
            (nodes.Test, environment.tests),
        ):
            for node in tree.find_all(kind):
                if node.name not in known_names:
                    raise TemplateError(
                        f"a template of {owner} uses {node.name!r}, which Jinja has not, "
                        f"line {node.lineno}",
                        place=place,
                    )
        self.variables = frozenset(meta.find_undeclared_variables(tree))
        unknown = sorted(self.variables - known)
        if unknown:
            raise TemplateError(
                f"a template of {owner} names {', '.join(map(repr, unknown))}, "
                f"which {owner} does not take; it takes {', '.join(sorted(known - RESERVED))}",
                place=place,
            )
        self.source = source
        self._owner = owner
        self._compiled = environment.from_string(source)
        self._pieces = _pieces(tree)

    def render(self, values: Mapping[str, Any]) -> str:
        if self._pieces is not None:
            return "".join([p if is_text else str(values[p]) for is_text, p in self._pieces])
        try:
            text: str = self._compiled.render(values)
        except Exception as exc:  # a template may fail in any way that its values make it
            raise TemplateError(
                f"a template of {self._owner} failed on its values: {type(exc).__name__}: {exc}"
            ) from exc
        return text


def _pieces(tree: Any) -> list[tuple[bool, str]] | None:
    """Text and names of a template that only puts values into text; None for any other.

    Most templates are so, and joining their pieces is many times quicker than Jinja's machinery.
    """
    from jinja2 import nodes

    found: list[tuple[bool, str]] = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            return None
        for part in node.nodes:
            if isinstance(part, nodes.TemplateData):
                found.append((True, part.data))
            elif isinstance(part, nodes.Name) and part.name not in RESERVED:
                found.append((False, part.name))
            else:
                return None
    return found
