"""Products of a loss's second derivatives with vectors, and what is made of them without the whole matrix.

A vector is a list with a node for each variable, of the variable's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add

from graphnn.compiler.gradients import gradients
from graphnn.compiler.subgraph import topological
from graphnn.ops.comparison import where
from graphnn.ops.elementwise import negative
from graphnn.ops.node import Node
from graphnn.ops.state import Assign, constant

Vector = Sequence[Node]
Product = Callable[[Vector], Vector]


def hessian_product(loss: Node, weights: Vector) -> Product:
    """Return the function from a vector v to ``H v``, with H the matrix of the loss's second derivatives.

    It is the gradient of ``Σ gradient · v`` (Pearlmutter, 1994): each product costs about two gradients.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     w = gn.variable("w", [1.0, 2.0])
    ...     (column,) = hessian_product(w[0] ** 2 * w[1], [w])([gn.constant([1.0, 0.0])])
    >>> gn.Executor(column, device="numpy").run()
    array([4., 2.], dtype=float32)
    """
    slopes = gradients(loss, weights)
    return lambda v: gradients(slopes, weights, grad_ys=v, allow_unused=True)


def gauss_newton_product(loss: Node, outputs: Node, weights: Vector) -> Product:
    """Return the function from a vector v to ``Jᵀ H J v``, the generalised Gauss-Newton matrix times v.

    J holds the derivatives of the outputs by the weights, H the second derivatives of the loss by the outputs
    (Schraudolph, 2002). Where the loss is a convex function of the outputs, as squared errors and cross-entropies are,
    no curvature is negative.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     w = gn.variable("w", 3.0)
    ...     outputs = w * w
    ...     (value,) = gauss_newton_product((outputs - 1) ** 2, outputs, [w])([gn.constant(1.0)])
    >>> gn.Executor(value, device="numpy").run()  # (2w)² · 2; the Hessian is 12w² - 4
    array(72., dtype=float32)
    """
    (slope,) = gradients(loss, [outputs])
    with loss.graph:
        # Jᵀ u is linear in u, so that its gradient by u, weighed with v, is J v; what u is does not matter.
        u = constant(0.0, outputs.dtype).broadcast_to(outputs.shape)
    pulled = gradients(outputs, weights, grad_ys=u)

    def product(v: Vector) -> Vector:
        (pushed,) = gradients(pulled, [u], grad_ys=v)
        (curved,) = gradients(slope, [outputs], grad_ys=pushed, allow_unused=True)
        return gradients(outputs, weights, grad_ys=curved)

    return product


def dot(a: Vector, b: Vector) -> Node:
    """Return ``Σ a · b`` over all elements, as a float64 scalar."""
    return reduce(add, ((x * y).sum().astype("float64") for x, y in zip(a, b, strict=True)))


def scaled(length: Node, direction: Vector) -> list[Node]:
    """Return ``length · direction``; the length is a float64 scalar."""
    return [length.astype(x.dtype) * x for x in direction]


def moved(x: Vector, length: Node, direction: Vector) -> list[Node]:
    """Return ``x + length · direction``; the length is a float64 scalar."""
    return [a + b for a, b in zip(x, scaled(length, direction), strict=True)]


def conjugate_gradients(product: Product, target: Vector, iterations: int) -> tuple[Vector, Vector]:
    """Build so many steps towards the x with ``A x = target``, from ``x = 0``; return x and ``target - A x``.

    They end early, so that x stays as it is, at the first direction p with ``pᵀ A p ≤ 0``, or at the solution
    (Hestenes and Stiefel, 1952; for n unknowns it takes n steps).

    Parameters
    ----------
    product : callable
        From a vector p to ``A p``.
    target : sequence of Node
        The right side.
    iterations : int
        Steps, each with one product.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     matrix, target = gn.constant([[4.0, 1.0], [1.0, 3.0]]), gn.constant([1.0, 2.0])
    ...     (x,), _ = conjugate_gradients(lambda p: [matrix @ p[0]], [target], iterations=2)
    >>> gn.Executor(x, device="numpy").run().round(4)
    array([0.0909, 0.6364], dtype=float32)
    """
    x: Vector = ()
    residual = direction = target
    size, is_going = dot(residual, residual), None
    for _ in range(iterations):
        image = product(direction)
        bend = dot(direction, image)
        is_going = bend > 0 if is_going is None else is_going * (bend > 0)
        length = where(is_going, size / where(is_going, bend, 1), 0)
        x = moved(x, length, direction) if x else scaled(length, direction)
        residual = moved(residual, negative(length), image)
        size, before = dot(residual, residual), size
        direction = moved(residual, size / where(before > 0, before, 1), direction)
    return x, residual


def elsewhere(node: Node, values: Mapping[Node, Node]) -> Node:
    """Return a node like `node`, computed with other values of some variables: a copy of what lies between.

    Random numbers are the same in both.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     w = gn.variable("w", 3.0)
    ...     loss = w * w + 1
    ...     other = elsewhere(loss, {w: w - 1})
    >>> gn.Executor([loss, other], device="numpy").run()
    [array(10., dtype=float32), array(5., dtype=float32)]
    """
    copies = dict(values)
    for known in topological([node]):
        if known in copies or not any(given in copies for given in known.inputs):
            continue
        inputs = [copies.get(given, given) for given in known.inputs]
        copies[known] = inputs[1] if isinstance(known.op, Assign) else node.graph.add(known.op, inputs)
    return copies.get(node, node)
