"""A parsed text: what it reads and how, and the tree that the evaluator walks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from jinja2 import nodes

from compiler.expressions.checker import Checker
from compiler.expressions.errors import ExpressionError
from compiler.expressions.kinds import Kind, kind_of
from compiler.expressions.source import read_source
from compiler.expressions.tree import spine_of
from compiler.expressions.uses import Reference, Use, references_of, uses_of

_CACHED_TEXTS = 1_024
_LONGEST_CACHED_TEXT = 4_000


@dataclass(frozen=True, eq=False)
class Template:
    """A text with expressions, checked.

    :param text: The text as it was written.
    :param is_expression: It is exactly one ``{{ }}`` and nothing else, so it gives a value with its type.
    :param problems: What visibly cannot work, such as ``'a' * 3``; evaluating it raises ``EvaluationError``.
    """

    text: str
    is_expression: bool
    problems: tuple[ExpressionError, ...]
    body: list[nodes.Node] = field(repr=False)

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """How each reference is used, in the order of the text."""
        return uses_of(self.body, self.is_expression)

    @cached_property
    def condition_uses(self) -> tuple[Use, ...]:
        """The same where the value of the whole is asked for its truth, as in a condition's ``if``."""
        return uses_of(self.body, self.is_expression, is_condition=self.is_expression)

    @cached_property
    def is_reference(self) -> bool:
        """Whether it is nothing but a name, or a path below one: what it gives is there already."""
        (output,) = self.body if self.is_expression else (None,)
        if not isinstance(output, nodes.Output):
            return False
        leaf, above = spine_of(output.nodes[0])
        return isinstance(leaf, nodes.Name) and all(isinstance(each, nodes.Getattr | nodes.Getitem) for each in above)

    @cached_property
    def kind(self) -> Kind | None:
        """The type of the value where it can be seen without evaluating; None where it cannot."""
        if not self.is_expression:
            return "string"
        (output,) = self.body
        return kind_of(output.nodes[0]) if isinstance(output, nodes.Output) else None

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """Each name that is read from the scope, with its constant path; names that loops set are not among them."""
        return references_of(self.uses)


def has_expression(text: str) -> bool:
    """Tell whether a string holds an expression, a tag or a comment; any other string is verbatim."""
    return "{{" in text or "{%" in text or "{#" in text


def parse(text: str) -> Template:
    """Read and check a text. The same short text is read only once.

    :raises ExpressionError: It is not well formed, not of the language, or beyond its limits.
    """
    return _parse_cached(text) if len(text) <= _LONGEST_CACHED_TEXT else _parse(text)


def _parse(text: str) -> Template:
    source = read_source(text)
    checker = Checker()
    checker.check_body(source.body)
    return Template(text, source.is_expression, tuple(checker.problems), source.body)


_parse_cached = lru_cache(maxsize=_CACHED_TEXTS)(_parse)
