"""The evaluator: walks the checked syntax tree over JSON values.

No Python attribute, method or call can be reached from an expression: a key is read from an object or a list, an
operator is one of the functions here, a filter one of the table. What is not handled here was refused by the checker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jinja2 import nodes

from compiler.expressions.budget import Budget
from compiler.expressions.errors import EvaluationError, MissingError, failed
from compiler.expressions.filters import FILTERS, bound_arguments
from compiler.expressions.kinds import ARITHMETIC
from compiler.expressions.lookup import missing_name, read
from compiler.expressions.operators import add, calculate, signed
from compiler.expressions.predicates import TESTS
from compiler.expressions.template import Template
from compiler.expressions.tree import keywords_of, source_of, spine_of
from compiler.expressions.values import (
    ORDERINGS,
    Json,
    budgeted_text,
    byte_length,
    contains,
    equal,
    measure,
    ordered,
    type_name,
)


def evaluate(
    template: Template, scope: Mapping[str, Json], budget: Budget | None = None, *, measured: bool = True
) -> Json:
    """Return the value of a template: with its type where it is one expression, else text.

    :param scope: The names that the template may read.
    :param budget: What it may spend; a fresh one where none is given.
    :param measured: Whether the value of the whole counts as output; not where the caller bounds it.
    :raises EvaluationError: The values do not fit the expression, or the budget is used up.
    """
    budget = budget or Budget()
    evaluator = _Evaluator(scope, budget)
    output = template.body[0] if template.is_expression else None
    if isinstance(output, nodes.Output):
        value = evaluator.value(output.nodes[0])
        if measured:
            measure(value, budget.write)
        return value
    evaluator.write_body(template.body)
    return "".join(evaluator.written)


class _Evaluator:
    def __init__(self, scope: Mapping[str, Json], budget: Budget) -> None:
        self._scope = scope
        self._budget = budget
        self._locals: dict[str, Json] = {}
        self.written: list[str] = []

    # Statements: they write text.

    def write_body(self, body: list[nodes.Node]) -> None:
        for node in body:
            self._budget.spend()
            if isinstance(node, nodes.Output):
                self._write_output(node)
            elif isinstance(node, nodes.If):
                self._write_if(node)
            elif isinstance(node, nodes.For):
                self._write_for(node)

    def _write(self, text: str) -> None:
        self._budget.write(byte_length(text))
        self.written.append(text)

    def _write_output(self, node: nodes.Output) -> None:
        for child in node.nodes:
            if isinstance(child, nodes.TemplateData):
                self._write(child.data)
            else:
                self._write(budgeted_text(self.value(child), self._budget))

    def _write_if(self, node: nodes.If) -> None:
        for branch in (node, *node.elif_):
            if self.value(branch.test):
                self.write_body(branch.body)
                return
        self.write_body(node.else_)

    def _write_for(self, node: nodes.For) -> None:
        assert isinstance(node.target, nodes.Name)  # by the checker
        items = self.value(node.iter)
        if not isinstance(items, list):
            raise failed(f"`for` goes through a list; got {type_name(items)}")
        outer = dict(self._locals)
        for index, item in enumerate(items):
            self._budget.spend()
            loop: Json = {"index": index + 1, "first": index == 0, "last": index == len(items) - 1}
            self._locals = {**outer, node.target.name: item, "loop": loop}
            self.write_body(node.body)
        self._locals = outer

    # Expressions: they have a value.

    def value(self, node: nodes.Node) -> Json:
        leaf, above = spine_of(node)
        self._budget.spend(1 + len(above))
        operand: nodes.Node | None = leaf.node if isinstance(leaf, nodes.UnaryExpr) else None
        try:
            result = _LEAVES[type(leaf)](self, leaf)
            operand = leaf
            for parent in above:
                result = _STEPS[type(parent)](self, parent, result)
                operand = parent
        except EvaluationError as error:
            error.place(source_of(operand) if operand else None)
            raise
        return result

    def _name(self, node: nodes.Name) -> Json:
        if node.name in self._locals:
            return self._locals[node.name]
        if node.name not in self._scope:
            raise missing_name(node.name)
        return self._scope[node.name]

    def _constant(self, node: nodes.Const) -> Json:
        value: Json = node.value
        return value

    def _list(self, node: nodes.List) -> Json:
        return [self.value(item) for item in node.items]

    def _dict(self, node: nodes.Dict) -> Json:
        result: dict[str, Json] = {}
        for pair in node.items:
            key = self.value(pair.key)
            if not isinstance(key, str):
                raise failed(f"the keys of an object must be strings; got {type_name(key)}")
            result[key] = self.value(pair.value)
        return result

    def _concat(self, node: nodes.Concat) -> Json:
        parts: list[str] = []
        size = 0
        for child in node.nodes:
            parts.append(budgeted_text(self.value(child), self._budget))
            size += len(parts[-1])
            self._budget.fits(size)
        self._budget.spend_text(size)
        return "".join(parts)

    def _condition(self, node: nodes.CondExpr) -> Json:
        if self.value(node.test):
            return self.value(node.expr1)
        return None if node.expr2 is None else self.value(node.expr2)

    def _not(self, node: nodes.Not) -> Json:
        return not self.value(node.node)

    def _sign(self, node: nodes.UnaryExpr) -> Json:
        return signed(type(node), self.value(node.node))

    def _default(self, node: nodes.Filter) -> Json:
        """``default``: its argument is evaluated only when it is needed."""
        assert node.node is not None  # only a filter block has no operand
        arguments = bound_arguments("default", node.args, keywords_of(node))
        try:
            result = self.value(node.node)
        except MissingError:
            pass
        else:
            if result or "boolean" not in arguments or not self.value(arguments["boolean"]):
                return result
        return self.value(arguments["default_value"]) if "default_value" in arguments else ""

    def _defined(self, node: nodes.Test) -> Json:
        try:
            self.value(node.node)
        except MissingError:
            return False
        return True

    def _key(self, node: nodes.Getattr, value: Json) -> Json:
        return read(value, node.attr, node)

    def _item(self, node: nodes.Getitem, value: Json) -> Json:
        return read(value, self.value(node.arg), node)

    def _filter(self, node: nodes.Filter, value: Json) -> Json:
        args = [self.value(argument) for argument in node.args]
        kwargs = {name: self.value(argument) for name, argument in keywords_of(node).items()}
        return FILTERS[node.name](self._budget, value, *args, **kwargs)

    def _test(self, node: nodes.Test, value: Json) -> Json:
        return TESTS[node.name](value)

    def _compare(self, node: nodes.Compare, left: Json) -> Json:
        for operand in node.ops:
            right = self.value(operand.expr)
            if not self._holds_between(operand.op, left, right):
                return False
            left = right
        return True

    def _holds_between(self, name: str, left: Json, right: Json) -> bool:
        if name in ORDERINGS:
            return ordered(name, left, right, self._budget)
        if name in ("in", "notin"):
            return contains(right, left, self._budget) == (name == "in")
        return equal(left, right, self._budget) == (name == "eq")

    def _and(self, node: nodes.And, left: Json) -> Json:
        return self.value(node.right) if left else left

    def _or(self, node: nodes.Or, left: Json) -> Json:
        return left or self.value(node.right)

    def _add(self, node: nodes.Add, left: Json) -> Json:
        return add(left, self.value(node.right), self._budget)

    def _calculate(self, node: nodes.BinExpr, left: Json) -> Json:
        return calculate(type(node), left, self.value(node.right))


_LEAVES: dict[type[nodes.Node], Callable[..., Json]] = {
    nodes.Name: _Evaluator._name,
    nodes.Const: _Evaluator._constant,
    nodes.List: _Evaluator._list,
    nodes.Dict: _Evaluator._dict,
    nodes.Concat: _Evaluator._concat,
    nodes.CondExpr: _Evaluator._condition,
    nodes.Not: _Evaluator._not,
    nodes.Neg: _Evaluator._sign,
    nodes.Pos: _Evaluator._sign,
    # Only `default` and `is defined` are leaves; the others are steps.
    nodes.Filter: _Evaluator._default,
    nodes.Test: _Evaluator._defined,
}

_STEPS: dict[type[nodes.Node], Callable[..., Json]] = {
    nodes.Getattr: _Evaluator._key,
    nodes.Getitem: _Evaluator._item,
    nodes.Filter: _Evaluator._filter,
    nodes.Test: _Evaluator._test,
    nodes.Compare: _Evaluator._compare,
    nodes.And: _Evaluator._and,
    nodes.Or: _Evaluator._or,
    nodes.Add: _Evaluator._add,
    **dict.fromkeys(ARITHMETIC, _Evaluator._calculate),
}
