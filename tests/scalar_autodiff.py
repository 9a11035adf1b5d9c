"""Reverse-mode differentiation of scalars, as small as it can be, to hold gradients against."""

import math


class Value:
    """A number, what it was made of, and how much the last result changes with it."""

    def __init__(self, number, parts=()):
        """parts: pairs of a `Value` that this was made of, and the derivative by it."""
        self.number, self.parts, self.slope = float(number), tuple(parts), 0.0

    def __add__(self, other):
        other = as_value(other)
        return Value(self.number + other.number, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = as_value(other)
        return Value(self.number * other.number, [(self, other.number), (other, self.number)])

    def __pow__(self, power):
        """Raise to a constant power."""
        return Value(self.number**power, [(self, power * self.number ** (power - 1))])

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -as_value(other)

    def __truediv__(self, other):
        return self * as_value(other) ** -1

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __rsub__(self, other):
        return -self + other

    def __rtruediv__(self, other):
        return self**-1 * other

    def exp(self):
        made = math.exp(self.number)
        return Value(made, [(self, made)])

    def log(self):
        return Value(math.log(self.number), [(self, 1.0 / self.number)])

    def backward(self):
        """Fill the slopes of all that this was made of, those made last first."""
        order, seen = [], set()

        def visit(value):
            if id(value) not in seen:
                seen.add(id(value))
                for part, _ in value.parts:
                    visit(part)
                order.append(value)

        visit(self)
        self.slope = 1.0
        for value in reversed(order):
            for part, slope in value.parts:
                part.slope += slope * value.slope


def as_value(given):
    return given if isinstance(given, Value) else Value(given)
