"""Matrix products and convolutions: which kernels compute them."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.plan.form import View, row_major_strides
from graphnn.compiler.targets.cuda.elements import extent_text
from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules.convolution import convolution_product
from graphnn.compiler.targets.cuda.rules.direct import DirectConvolution
from graphnn.compiler.targets.cuda.rules.direct_weight import DirectWeightGradient
from graphnn.compiler.targets.cuda.rules.gemm import Operand, Product, place
from graphnn.compiler.targets.cuda.rules.tiles import CACHED_BYTES, SECOND_KERNEL
from graphnn.compiler.targets.cuda.walks import Strides, Walk
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient
from graphnn.ops.errors import ShapeError
from graphnn.ops.matmul import MatMul
from graphnn.ops.node import Node
from graphnn.ops.spec import Extent, Shape, TensorSpec, bind_extent, product

PRODUCTS = (MatMul, Conv2d, Conv2dDataGradient, Conv2dWeightGradient)
"""The ops that these kernels compute."""


def takes_gaps(node: Node) -> bool:
    """Whether the kernels of a product read inputs that are not row-major, such as transposed ones."""
    return isinstance(node.op, MatMul)


def can_multiply(node: Node) -> bool:
    """Whether there are kernels for a product: its sizes must be representable."""
    try:
        product_of(node, "float32")
    except ShapeError:  # the batch size squared
        return False
    return True


def product_kernels(
    node: Node, max_batch: int, precision: str, views: Sequence[View] = (), unpooled: Node | None = None
) -> list[Instance]:
    """Return the kernels that compute a product, one after the other.

    Parameters
    ----------
    node : Node
        One whose op is among `PRODUCTS`.
    max_batch : int
        The largest batch, for which sizes are chosen.
    precision : {"float32", "tf32"}
        What float32 may be multiplied in.
    views : sequence of View
        Where the inputs of a matrix product lie; without, they count as row-major.
    unpooled : Node, optional
        The gradient of a max-pool that a weight's gradient reads not from memory but from what it is made of.
    """
    if isinstance(node.op, MatMul):
        return product_of(node, precision, tuple(view.strides for view in views)).instances(max_batch)
    by_product = convolution_product(node, precision, unpooled)
    if isinstance(node.op, Conv2dWeightGradient):
        gradient = DirectWeightGradient.of(node, unpooled)
        if gradient is not None:
            share, cycles = gradient.choose(max_batch)
            if cycles <= by_product.cycles(max_batch):
                return gradient.instances(share)
        return by_product.instances(max_batch)
    direct = DirectConvolution.of(node)
    if direct is not None:
        strip, cycles = direct.choose(max_batch)
        if cycles <= by_product.cycles(max_batch):
            return [direct.instance(strip)]
    return by_product.instances(max_batch)


def pooled_convolution(convolution: Node, pools: Sequence[Node], max_batch: int, precision: str) -> Instance | None:
    """Return the kernel that gives a max-pool of a convolution without storing the convolution.

    Parameters
    ----------
    convolution : Node
        A `Conv2d`.
    pools : sequence of Node
        Its `MaxPool2d`, before that perhaps its `MaxPool2dIndices`. STORE takes the values, STORE1 the positions.
    max_batch : int
        The largest batch, for which sizes are chosen.
    precision : {"float32", "tf32"}
        What float32 may be multiplied in by a convolution on its own.

    Returns
    -------
    Instance or None
        None where there is no such kernel, or where two kernels are estimated to be faster.
    """
    direct = DirectConvolution.of(convolution)
    form = None if direct is None else direct.under(pools[-1])
    if direct is None or form is None:
        return None
    strip, cycles = form.choose(max_batch)
    alone = min(direct.choose(max_batch)[1], product_of(convolution, precision).cycles(max_batch))
    kept = convolution.spec.nbytes(max_batch) / CACHED_BYTES
    return form.instance(strip, len(pools) > 1) if cycles <= alone + SECOND_KERNEL + kept else None


def product_of(node: Node, precision: str, strides: Sequence[Strides | None] = ()) -> Product:
    """Return a node as a product of two operands; ShapeError where a size would be the batch size squared."""
    if isinstance(node.op, MatMul):
        return _matrix_product(node, precision, strides or (None, None))
    return convolution_product(node, precision)


def _matrix_product(node: Node, precision: str, strides: Sequence[Strides | None]) -> Product:
    batch, (m, n) = node.shape[:-2], node.shape[-2:]
    k = node.inputs[0].shape[-1]
    given = zip((node.inputs[0].spec, node.inputs[1].spec), strides, strict=True)
    (*a_batch, a_m, a_k), (*b_batch, b_k, b_n) = (_steps(spec, own, batch) for spec, own in given)
    rows: Shape = (m,)
    columns: Shape = (n,)
    alone: Shape = batch
    if not any(b_batch):  # one product of more rows instead of many
        rows, alone = (*batch, m), ()
    elif not any(a_batch):
        columns, alone = (*batch, n), ()
    a_rows, b_columns = (*a_batch, a_m)[-len(rows) :], (*b_batch, b_n)[-len(columns) :]
    a_line = _offset(rows, a_rows, "i") + _from_batch(alone, a_batch)
    b_line = _offset(columns, b_columns, "i") + _from_batch(alone, b_batch)
    # Folded columns come from all examples, and so lie in different matrices of the result.
    result = "{j} / " + f"{extent_text(n)} * {extent_text(m)}" if len(columns) > 1 else f"(INDEX)z * {extent_text(m)}"
    column = "{j} % " + extent_text(n) if len(columns) > 1 else "{j}"
    return Product(
        batches=product(alone),
        m=product(rows),
        n=product(columns),
        k=k,
        a=Operand(place(a_line), place(f"k * {extent_text(a_k)}"), "x0", _is_nearer(a_k, a_m)),
        b=Operand(place(b_line), place(f"k * {extent_text(b_k)}"), "x1", _is_nearer(b_k, b_n)),
        output_index=f"({result} + {{m}}) * {extent_text(n)} + {column}",
        output_along_m=False,
        dtype=node.dtype,
        precision=precision,
    )


def _steps(spec: TensorSpec, strides: Strides | None, batch: Shape) -> Strides:
    """Return elements from one index to the next on each axis of a product's batch and of its matrices."""
    own = row_major_strides(spec.shape) if strides is None else strides
    added = len(batch) + 2 - spec.rank
    return (0,) * added + tuple(0 if extent == 1 else step for extent, step in zip(spec.shape, own, strict=True))


def _offset(shape: Shape, steps: Strides, index: str) -> str:
    """Return how far an index that counts through a shape, row by row, leads."""
    walk = Walk.through(shape, (steps,))
    terms = []
    inner: Extent = 1
    for number in reversed(range(len(walk.shape))):
        extent, step = walk.shape[number], walk.strides[0][number]
        digit = index if inner == 1 else f"{index} / {extent_text(inner)}"
        if step != 0:
            terms.append(f"({digit if number == 0 else f'{digit} % {extent_text(extent)}'}) * {extent_text(step)}")
        inner = inner * extent
    return " + ".join(terms) or "0"


def _from_batch(batch: Shape, steps: Sequence[Extent]) -> str:
    return f" + {_offset(batch, tuple(steps), '(INDEX)z')}" if batch else ""


def _is_nearer(step: Extent, other: Extent) -> bool:
    """Whether elements on one axis lie closer together than those on another; on an axis of one element, none do."""
    distance, apart = (abs(bind_extent(each, 2)) for each in (step, other))
    return distance > 0 and (apart == 0 or distance <= apart)
