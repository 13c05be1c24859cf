"""Convolutions and their gradients, as products of what their windows see.

A window's place along an axis is ``position · stride + tap · dilation - before``: a part that the pixel alone decides,
and one that the place in the kernel alone decides, as `gemm.cu` wants it. Zeros around the images are multiplied like
other numbers, by an infinite weight too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graphnn.compiler.targets.cuda.rules.gemm import Operand, Product, place
from graphnn.ops.conv import Conv2dDataGradient, Conv2dWeightGradient, Convolution
from graphnn.ops.dtypes import DType
from graphnn.ops.node import Node
from graphnn.ops.spec import Extent, TensorSpec
from graphnn.ops.window import Pair


@dataclass(frozen=True)
class Sizes:
    """All sizes of a forward convolution ``y = conv2d(x, weight)``; its gradients share them.

    Attributes
    ----------
    images : int or Dim
        Number of images.
    groups : int
        Groups of channels.
    channels, outputs : int
        Of x and of y in one group.
    size, positions : pair of int
        Height and width of x and of y.
    kernel, stride, dilation : pair of int
        As in `conv2d`.
    before : pair of int
        Zeros above and to the left of x; below 0, how many rows and columns are skipped.
    """

    images: Extent
    groups: int
    channels: int
    outputs: int
    size: Pair
    positions: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    before: Pair

    @classmethod
    def of(cls, node: Node) -> Sizes:
        """Return the sizes of the forward convolution that a node is, or is a gradient of."""
        op = node.op
        assert isinstance(op, Convolution)
        given = [each.spec for each in node.inputs]
        match op:
            case Conv2dDataGradient():
                (y, weight), x = given, node.spec
            case Conv2dWeightGradient():
                (x, y), weight = given, node.spec
            case _:
                (x, weight), y = given, node.spec
        outputs, channels, *kernel = weight.static_shape
        return cls(
            images=x.shape[0],
            groups=op.groups,
            channels=channels,
            outputs=outputs // op.groups,
            size=_spatial(x),
            positions=_spatial(y),
            kernel=(kernel[0], kernel[1]),
            stride=op.stride,
            dilation=op.dilation,
            before=(op.padding[0][0], op.padding[1][0]),
        )

    @property
    def taps(self) -> int:
        """Places of a kernel."""
        return prod(self.kernel)

    def leaves(self, axis: int, positions: int) -> bool:
        """Whether so many positions along an axis meet places outside of x."""
        last = (positions - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] - self.before[axis]
        return self.before[axis] > 0 or last >= self.size[axis]

    def backwards(self) -> Sizes:
        """Return the convolution, with turned weights, that gives the gradient by x where strides are 1."""
        top, left = ((k - 1) * d - b for k, d, b in zip(self.kernel, self.dilation, self.before, strict=True))
        return Sizes(
            images=self.images,
            groups=self.groups,
            channels=self.outputs,
            outputs=self.channels,
            size=self.positions,
            positions=self.size,
            kernel=self.kernel,
            stride=(1, 1),
            dilation=self.dilation,
            before=(top, left),
        )


def _spatial(spec: TensorSpec) -> Pair:
    height, width = spec.with_shape(spec.shape[2:]).static_shape
    return height, width


def convolution_product(node: Node, precision: str) -> Product:
    """Return a convolution, or the gradient of one by its images or its weight, as a product."""
    sizes = Sizes.of(node)
    match node.op:
        case Conv2dWeightGradient():
            return _weight_gradient(sizes, node.dtype, precision)
        case Conv2dDataGradient() if sizes.stride == (1, 1):
            sizes = sizes.backwards()
            weight = _turned_weight(sizes)
        case Conv2dDataGradient():
            return _strided_data_gradient(sizes, node.dtype, precision)
        case _:
            weight = _weight(sizes)
    return Product(
        batches=sizes.groups,
        m=sizes.images * prod(sizes.positions),
        n=sizes.outputs,
        k=sizes.channels * sizes.taps,
        a=Operand(_pixel(sizes, "i"), _tap(sizes, "k"), "x0", False, inside=_inside(sizes)),
        b=weight,
        output_index=_image_index(sizes.groups, sizes.outputs, sizes.positions),
        output_along_m=True,
        dtype=node.dtype,
        precision=precision,
    )


def _weight_gradient(sizes: Sizes, dtype: DType, precision: str) -> Product:
    """Rows are the channels of y, columns the places of the weight of one, terms all pixels of y."""
    pixels, columns = prod(sizes.positions), sizes.channels * sizes.taps
    dy_channel = place(f"(z * {sizes.outputs} + i) * {pixels}")
    dy_pixel = place(f"k / {pixels} * {sizes.groups * sizes.outputs * pixels} + k % {pixels}")
    return Product(
        batches=sizes.groups,
        m=sizes.outputs,
        n=columns,
        k=sizes.images * pixels,
        a=Operand(dy_channel, dy_pixel, "x1", True),
        b=Operand(_tap(sizes, "i"), _pixel(sizes, "k"), "x0", True, inside=_inside(sizes)),
        output_index=f"(z * {sizes.outputs} + {{m}}) * {columns} + {{j}}",
        output_along_m=False,
        dtype=dtype,
        precision=precision,
    )


def _strided_data_gradient(sizes: Sizes, dtype: DType, precision: str) -> Product:
    """Rows are pixels of x, terms the places of its kernels: most of them belong to no pixel of dy."""
    pixels, (height, width) = prod(sizes.positions), sizes.positions
    image, i, j = _coordinates("i", sizes.size)
    start = f"({image} * {sizes.groups} + z) * {sizes.outputs * pixels}"
    channel, p, q = _coordinates("k", sizes.kernel)
    y, x = "(line.y - term.y)", "(line.x - term.x)"
    (down, right), (top, left), (step_y, step_x) = sizes.dilation, sizes.before, sizes.stride
    inside = (
        f"{y} >= 0 && {y} % {step_y} == 0 && {y} / {step_y} < {height} && "
        f"{x} >= 0 && {x} % {step_x} == 0 && {x} / {step_x} < {width}"
    )
    dy = Operand(
        place(start, f"{i} + {top}", f"{j} + {left}"),
        place(f"{channel} * {pixels}", f"{p} * {down}", f"{q} * {right}"),
        "x0",
        False,
        offset=f"line.offset + term.offset + {y} / {step_y} * {width} + {x} / {step_x}",
        inside=inside,
    )
    per_output = sizes.channels * sizes.taps
    weight_term = f"(z * {sizes.outputs} + k / {sizes.taps}) * {per_output} + k % {sizes.taps}"
    return Product(
        batches=sizes.groups,
        m=sizes.images * prod(sizes.size),
        n=sizes.channels,
        k=sizes.outputs * sizes.taps,
        a=dy,
        b=Operand(place(f"i * {sizes.taps}"), place(weight_term), "x1", True),
        output_index=_image_index(sizes.groups, sizes.channels, sizes.size),
        output_along_m=True,
        dtype=dtype,
        precision=precision,
    )


# What is read where; z is the group of channels.


def _coordinates(index: str, size: Pair) -> tuple[str, str, str]:
    """Return what an index counts planes of, and the row and the column in one of them."""
    height, width = size
    return f"{index} / {height * width}", f"(int)({index} / {width} % {height})", f"(int)({index} % {width})"


def _pixel(sizes: Sizes, index: str) -> str:
    """Return where in x the window of a pixel of y begins."""
    image, i, j = _coordinates(index, sizes.positions)
    (height, width), (top, left) = sizes.size, sizes.before
    y, x = f"({i} * {sizes.stride[0]} - {top})", f"({j} * {sizes.stride[1]} - {left})"
    start = f"({image} * {sizes.groups} + z) * {sizes.channels * height * width}"
    return place(f"{start} + {y} * {width} + {x}", y, x)


def _tap(sizes: Sizes, index: str) -> str:
    """Return how far from there a place of the kernel lies."""
    channel, p, q = _coordinates(index, sizes.kernel)
    (height, width), (down, right) = sizes.size, sizes.dilation
    y, x = f"{p} * {down}", f"{q} * {right}"
    return place(f"{channel} * {height * width} + {y} * {width} + {x}", y, x)


def _inside(sizes: Sizes) -> str:
    """Return when both meet inside of x; empty if they always do."""
    checks = [
        f"(unsigned)(line.{axis} + term.{axis}) < {size}"
        for number, (axis, size) in enumerate(zip("yx", sizes.size, strict=True))
        if sizes.leaves(number, sizes.positions[number])
    ]
    return " && ".join(checks)


def _weight(sizes: Sizes) -> Operand:
    per_output = sizes.channels * sizes.taps
    return Operand(place(f"(z * {sizes.outputs} + i) * {per_output}"), place("k"), "x1", True)


def _turned_weight(sizes: Sizes) -> Operand:
    """Input and output channels change places, and the last place of the kernel comes first."""
    taps = sizes.taps
    term = f"(z * {sizes.channels} + k / {taps}) * {sizes.outputs * taps} + {taps - 1} - k % {taps}"
    return Operand(place(f"i * {taps}"), place(term), "x1", True)


def _image_index(groups: int, channels: int, size: Pair) -> str:
    """Return where a pixel of all images and a channel of the group z are in (N, C, H, W)."""
    pixels = prod(size)
    return f"({{m}} / {pixels} * {groups * channels} + z * {channels} + {{j}}) * {pixels} + {{m}} % {pixels}"
