"""From text to Jinja's syntax tree, with bounds on the text.

Only Jinja's lexer and parser are used: nothing is compiled or optimized, so nothing of a text ever runs as Python.
The tokens are counted first, because Jinja's parser recurses as deep as the text is nested.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import TOKEN_DATA, TOKEN_STRING, Token, TokenStream
from jinja2.parser import Parser

from compiler.diagnostics import closest
from compiler.expressions.budget import MAX_DEPTH
from compiler.expressions.errors import ExpressionError

MAX_CHARACTERS = 1_000_000
MAX_TOKENS = 20_000
MAX_DIGITS = 5_000

TAGS = ("if", "elif", "else", "endif", "for", "endfor", "raw", "endraw")

# Jinja's pattern for numbers takes 300 bytes of memory a digit, so that long runs must not reach it.
_LONG_NUMBER = re.compile(rf"(?<![0-9_])[0-9_]{{{MAX_DIGITS},}}|0[xX][0-9a-fA-F_]{{{MAX_DIGITS},}}")

# Beyond this nesting the parser gets a thread, and so a stack, of its own: how deep its caller stands must not matter.
_DEPTH_OF_OWN_STACK = 8

# Jinja's lexer makes every line end "\n". A text with "\r" is read with a stand-in that the text does not have; Jinja
# takes it for white space as well, and it is replaced in the tokens.
_STAND_INS = "\x1c\x1d\x1e\x1f\x0b\x0c"

# It only parses: nothing is ever rendered, so there is nothing to escape.
_ENVIRONMENT = Environment(keep_trailing_newline=True)  # noqa: S701

_LexerToken = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed text. ``is_expression``: the text is exactly one ``{{ }}`` and nothing else."""

    body: list[nodes.Node]
    is_expression: bool


def read_source(text: str) -> Source:
    """Parse a text into Jinja's syntax tree.

    :raises ExpressionError: The text is too long or nested too deep, is no valid syntax, or has a tag of another name.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(
            "limit_exceeded",
            f"a string with expressions may have {MAX_CHARACTERS:,} characters; got {len(text):,}. Split it",
        )
    if _LONG_NUMBER.search(text):
        raise ExpressionError(
            "limit_exceeded", f"a string with expressions may have {MAX_DIGITS:,} digits in a row; got more. Split it"
        )
    stand_in = next((sign for sign in _STAND_INS if sign not in text), None) if "\r" in text else None
    scan = _Scan()
    tokens: list[_LexerToken] = []
    try:
        for token in _ENVIRONMENT.lex(text.replace("\r", stand_in) if stand_in else text):
            scan.token(token[1], token[2])
            tokens.append(token)
        _check_end(tokens)
        parse = _parse if scan.deepest <= _DEPTH_OF_OWN_STACK else _parse_on_own_stack
        body = parse(tokens, stand_in)
    except TemplateSyntaxError as error:
        where = f" (line {error.lineno})" if "\n" in text else ""
        raise ExpressionError(
            "expression_syntax", f"an expression must be well formed: {error.message}{where}"
        ) from None
    except ValueError:
        # Python's own limit on the digits of a number; Jinja's lexer lets it through.
        raise ExpressionError("expression_syntax", "a number has more digits than any JSON number") from None
    return Source(body, scan.prints == 1 and text.startswith("{{") and text.endswith("}}") and not scan.others)


def _check_end(tokens: list[_LexerToken]) -> None:
    # Jinja's lexer takes an opening at the very end of the text for an empty comment or raw part.
    names = {"comment_begin": "comment", "raw_begin": "raw part"}
    if tokens and tokens[-1][1] in names:
        raise TemplateSyntaxError(f"Missing end of {names[tokens[-1][1]]}", tokens[-1][0])


def _parse(tokens: list[_LexerToken], stand_in: str | None) -> list[nodes.Node]:
    parser = Parser(_ENVIRONMENT, "")
    stream = _ENVIRONMENT.lexer.wrap(iter(tokens))
    parser.stream = TokenStream(_with_returns(stream, stand_in) if stand_in else stream, None, None)
    return parser.parse().body


def _with_returns(stream: Iterator[Token], stand_in: str) -> Iterator[Token]:
    for token in stream:
        is_text = token.type in (TOKEN_DATA, TOKEN_STRING)
        yield Token(token.lineno, token.type, token.value.replace(stand_in, "\r")) if is_text else token


def _parse_on_own_stack(tokens: list[_LexerToken], stand_in: str | None) -> list[nodes.Node]:
    results: list[list[nodes.Node]] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            results.append(_parse(tokens, stand_in))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="expression-parser")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


class _Scan:
    """Counts tokens and nesting, and looks at the names of tags."""

    def __init__(self) -> None:
        self.prints = 0
        self.others = 0
        self.deepest = 0
        self._tokens = 0
        self._blocks = 0
        self._opens_tag = False
        # Nesting inside the current tag. For each open bracket: the bracket with the signs before it, and the `else`
        # of inline ifs in it; the parser goes one level deeper for each of these. The first entry is no bracket.
        self._brackets: list[int] = [0]
        self._elses: list[int] = [0]
        self._signs = 0

    def token(self, kind: str, value: str) -> None:
        """Take the next token of Jinja's lexer."""
        if kind in ("whitespace", "variable_end", "block_end"):
            return
        if kind in ("variable_begin", "block_begin"):
            self._begin(kind)
        elif kind in ("operator", "name"):
            if self._opens_tag:
                self._tag(value)
            self._nest(value)
        elif kind in ("string", "integer", "float"):
            self._signs = 0
        else:
            self.others += 1
        self._count()

    def _begin(self, kind: str) -> None:
        self.prints += kind == "variable_begin"
        self._opens_tag = kind == "block_begin"
        self.others += self._opens_tag
        self._brackets, self._elses, self._signs = [0], [0], 0

    def _tag(self, name: str) -> None:
        self._opens_tag = False
        if name not in TAGS:
            suggestion = closest(name, TAGS)
            hint = f". Did you mean '{suggestion}'?" if suggestion else ""
            raise ExpressionError(
                "expression_forbidden",
                f"the tags of the expression language are {', '.join(TAGS)}; got '{name}'{hint}",
                suggestion,
            )
        self._blocks += (name in ("if", "for")) - (name in ("endif", "endfor"))

    def _nest(self, value: str) -> None:
        if value in ("not", "-", "+"):
            self._signs += 1
            return
        if value in ("(", "[", "{"):
            self._brackets.append(1 + self._signs)
            self._elses.append(0)
        elif value in (")", "]", "}"):
            self._brackets.pop()
            self._elses.pop()
        elif value == "else":
            self._elses[-1] += 1
        elif value == ",":
            self._elses[-1] = 0
        self._signs = 0

    def _count(self) -> None:
        self._tokens += 1
        if self._tokens > MAX_TOKENS:
            raise ExpressionError(
                "limit_exceeded", f"the expressions of a string may have {MAX_TOKENS:,} words and signs. Split it"
            )
        depth = sum(self._brackets) + sum(self._elses) + self._signs + self._blocks
        self.deepest = max(self.deepest, depth)
        if depth > MAX_DEPTH:
            raise ExpressionError(
                "limit_exceeded", f"expressions may be nested {MAX_DEPTH} levels deep; this one is deeper. Simplify it"
            )
