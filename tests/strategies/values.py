"""Draws JSON values with expressions: most read what is there, some read what is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "message": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "vip": {"type": "boolean"},
    },
    "required": ["n"],
}
VARIABLES = ("limit", "region")

_SAFE = [
    "input.n",
    "input.n + 1",
    "input.n > 3",
    "input.message | default('none')",
    "input.tags | default([]) | length",
    "input.vip | default(false)",
    "vars.region",
    "vars.limit * 2",
    "execution.workflow_id",
    "trigger.type",
    "[1, input.n, 'x']",
    "{'n': input.n}",
]
_UNSAFE = [
    "input.message | upper",
    "input.tags[0]",
    "input['mes' ~ 'age'].deep",
    "input.n / (input.n - 3)",
    "vars['no' ~ 'thing']",
    "(input.message | default('x')) + input.n",
]
_SAFE_OF_STEP = [
    "{0}.status",
    "{0}.status == 'success'",
    "{0}.output",
    "{0}.error",
    "{0}.error.code | default('fine')",
    "{0}.output is none",
]
_UNSAFE_OF_STEP = ["{0}.output['no' ~ 'thing']", "{0}.error.message | length", "{0}.output | length"]
_KEYS_OF_STEP = ["{0}.output.{1} | default('missing')", "{0}.output.{1}", "{0}.output['{1}'] is defined"]

_literals = st.sampled_from([0, 1, -7, 2.5, True, None, "", "plain", "ü 😀", "a { b } c", [], {}, [1, [2]], {"k": "v"}])


@dataclass(frozen=True)
class Site:
    """What the expressions of one place may read.

    :param readable: Tasks that are decided whenever the place is evaluated, each with keys its output may have.
    :param unsafe: Whether expressions may fail.
    :param extra: Further expressions, such as those of a map's item.
    """

    readable: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unsafe: bool = True
    extra: tuple[str, ...] = ()

    def expression(self) -> st.SearchStrategy[str]:
        """Draw the inside of one ``{{ }}``."""
        pool = [*_SAFE, *self.extra]
        # Twice: reads of other steps are what workflows are about.
        for _ in range(2):
            for name, keys in self.readable.items():
                pool += [shape.format(name) for shape in _SAFE_OF_STEP]
                pool += [shape.format(name, key) for key in keys for shape in _KEYS_OF_STEP]
        if self.unsafe:
            pool += [*_UNSAFE, *(shape.format(name) for name in self.readable for shape in _UNSAFE_OF_STEP)]
        return st.sampled_from(pool)

    def condition(self) -> st.SearchStrategy[str]:
        """Draw one expression as it stands in an ``if``."""
        fixed = st.sampled_from(["{{ true }}", "{{ false }}", "{{ input.n > 3 }}", "{{ input.n % 2 == 0 }}"])
        return fixed | self.expression().map(_whole)

    def text(self) -> st.SearchStrategy[str]:
        """Draw a text with expressions and tags."""
        expression = self.expression()
        return st.one_of(
            st.sampled_from(["plain text", "ends with a newline\n", "{% raw %}{{ no }}{% endraw %}"]),
            expression.map(lambda inner: f"It is {{{{ {inner} }}}}."),
            expression.map(lambda inner: f"{{% if {inner} %}}yes{{% else %}}no{{% endif %}}"),
            st.just("{% for t in input.tags | default([]) %}{{ loop.index }}{{ t }}{% endfor %}"),
        )

    def value(self) -> st.SearchStrategy[Any]:
        """Draw any JSON with expressions in it."""
        expression = self.expression().map(_whole)
        leaf = st.one_of(_literals, expression, expression, self.text())
        return st.one_of(
            leaf,
            leaf,
            st.lists(leaf, max_size=2),
            st.dictionaries(st.sampled_from(["k", "key two", "ü"]), leaf, max_size=2),
        )


def _whole(inner: str) -> str:
    return f"{{{{ {inner} }}}}"


inputs: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"n": st.integers(0, 6)},
    optional={
        "message": st.sampled_from(["", "Hello", "ü"]),
        "tags": st.lists(st.sampled_from(["a", "b"]), max_size=3),
        "vip": st.booleans(),
    },
)
"""Inputs that match :data:`SCHEMA`."""
