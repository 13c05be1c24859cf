"""Gradients are nodes, so they have gradients too: a Hessian-vector product without the Hessian."""

import numpy as np

import graphnn as gn
from graphnn import ops

with gn.Graph():
    x = gn.placeholder("x", (3,), "float64")
    direction = gn.placeholder("direction", (3,), "float64")
    y = ops.exp(x).sum() + (x[0] * x[1] * x[2])
    (slope,) = gn.gradients(y, [x])
    (product,) = gn.gradients((slope * direction).sum(), [x])

point = np.array([0.1, 0.2, 0.3])
along = np.array([1.0, 0.0, -1.0])
found = gn.Executor(product).run({x: point, direction: along})

a, b, c = point
hessian = np.diag(np.exp(point)) + np.array([[0, c, b], [c, 0, a], [b, a, 0]])
print("Hessian · direction:", found, "by hand:", hessian @ along)
assert np.allclose(found, hessian @ along)
