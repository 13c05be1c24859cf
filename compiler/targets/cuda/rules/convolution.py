"""Convolutions and their gradients, as products of what their windows see.

A window's place along an axis is ``position · stride + tap · dilation - before``: a part that the pixel alone decides,
and one that the place in the kernel alone decides, as `gemm.cu` wants it. Zeros around the images are multiplied like
other numbers, by an infinite weight too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graphnn.compiler.targets.cuda.elements import extent_text
from graphnn.compiler.targets.cuda.rules.gemm import Operand, Product, Uneven, place
from graphnn.compiler.targets.cuda.rules.phases import PhasedAxis, Phases
from graphnn.ops.conv import Conv2dDataGradient, Conv2dWeightGradient, Convolution
from graphnn.ops.dtypes import DType
from graphnn.ops.max_pool import MaxPool2dGradient
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

    def phases(self) -> Phases:
        """Return the phases of x that strides make."""
        y, x = (
            PhasedAxis(*each)
            for each in zip(
                self.size, self.positions, self.kernel, self.stride, self.dilation, self.before, strict=True
            )
        )
        return Phases(y, x, self.groups, self.outputs)

    def leaves(self, axis: int, positions: int) -> bool:
        """Whether so many positions along an axis meet places outside of x."""
        last = (positions - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] - self.before[axis]
        return self.before[axis] > 0 or last >= self.size[axis]

    def macros(self, computed: Pair, **pairs: Pair) -> dict[str, str]:
        """Return the macros that kernels for few channels share, and one for each axis of further pairs.

        Parameters
        ----------
        computed : pair of int
            Rows and columns of y that threads go through; those beyond the last ones count, too.
        **pairs : pair of int
            By name.
        """
        check = (int(self.leaves(0, computed[0])), int(self.leaves(1, computed[1])))
        both = {
            "SIZE": self.size,
            "KERNEL": self.kernel,
            "STRIDE": self.stride,
            "DILATION": self.dilation,
            "CHECK": check,
            **pairs,
        }
        return {
            "IMAGES": extent_text(self.images),
            "GROUPS": str(self.groups),
            "CHANNELS": str(self.channels),
            "OUTPUTS": str(self.outputs),
            "TOP": f"({self.before[0]})",
            "LEFT": f"({self.before[1]})",
            **{
                f"{name}_{axis}": str(value)
                for name, pair in both.items()
                for axis, value in zip("HW", pair, strict=True)
            },
        }

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


def convolution_product(node: Node, precision: str, unpooled: Node | None = None) -> Product:
    """Return a convolution, or the gradient of one by its images or its weight, as a product.

    Where a weight's gradient reads the gradient of a max-pool, `unpooled`, it can read what that is made of instead.
    """
    sizes = Sizes.of(node)
    match node.op:
        case Conv2dWeightGradient():
            slopes = _stored_slopes(sizes) if unpooled is None else _pooled_slopes(sizes, unpooled)
            return _weight_gradient(sizes, slopes, node.dtype, precision)
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


def _weight_gradient(sizes: Sizes, slopes: Operand, dtype: DType, precision: str) -> Product:
    """Rows are the channels of y, columns the places of the weight of one, terms all pixels of y."""
    columns = sizes.channels * sizes.taps
    return Product(
        batches=sizes.groups,
        m=sizes.outputs,
        n=columns,
        k=sizes.images * prod(sizes.positions),
        a=slopes,
        b=Operand(_tap(sizes, "i"), _pixel(sizes, "k"), "x0", True, inside=_inside(sizes)),
        output_index=f"(z * {sizes.outputs} + {{m}}) * {columns} + {{j}}",
        output_along_m=False,
        dtype=dtype,
        precision=precision,
    )


def _stored_slopes(sizes: Sizes) -> Operand:
    """Return dy as it lies in memory: lines are channels of y, terms pixels of y."""
    pixels = prod(sizes.positions)
    pixel = place(f"k / {pixels} * {sizes.groups * sizes.outputs * pixels} + k % {pixels}")
    return Operand(place(f"(z * {sizes.outputs} + i) * {pixels}"), pixel, "x1", True)


def _pooled_slopes(sizes: Sizes, unpooled: Node) -> Operand:
    """Return dy as a max-pool's gradient makes it: what flows into a window, at the position that won, 0 elsewhere."""
    op = unpooled.op
    assert isinstance(op, MaxPool2dGradient)
    assert op.is_tiling
    height, width = _spatial(unpooled.inputs[0].spec)
    (rows, columns), windows = op.kernel, height * width
    image, i, j = _coordinates("k", sizes.positions)
    window = f"{image} * {sizes.groups * sizes.outputs * windows} + {i} / {rows} * {width} + {j} / {columns}"
    left_over = sizes.positions != (height * rows, width * columns)
    met = f"{i} < {height * rows} && {j} < {width * columns}" if left_over else "1"
    return Operand(
        place(f"(z * {sizes.outputs} + i) * {windows}"),
        place(window, f"{i} % {rows} * {columns} + {j} % {columns}", met),
        "x1",
        True,
        inside=f"{'term.x && ' if left_over else ''}x2[line.offset + term.offset] == term.y",
    )


def _strided_data_gradient(sizes: Sizes, dtype: DType, precision: str) -> Product:
    """Products are phases of x (see `phases`) and groups; rows are the pixels of one phase, terms what these meet."""
    phases = sizes.phases()
    down, right, terms = phases.y, phases.x, phases.terms
    places, taps = prod(sizes.positions), sizes.taps
    image, i, j = _coordinates("i", (down.pixels, right.pixels))
    y, x = f"({i} + MET_Y(z))", f"({j} + MET_X(z))"
    up, left = f"TAP_Y(z, k) * {down.shift}", f"TAP_X(z, k) * {right.shift}"
    start, width = f"({image} * {sizes.groups} + GROUP(z)) * {sizes.outputs * places}", sizes.positions[1]
    dy = Operand(
        place(f"{start} + {y} * {width} + {x}", y, x),
        place(f"OUTPUT_CHANNEL(z, k) * {places} - {up} * {width} - {left}", f"-{up}", f"-{left}"),
        "x0",
        False,
        inside=_both_below(sizes.positions, (down.leaves, right.leaves)),
    )
    p, q = f"FIRST_TAP_Y(z) + TAP_Y(z, k) * {down.step}", f"FIRST_TAP_X(z) + TAP_X(z, k) * {right.step}"
    output = f"(GROUP(z) * {sizes.outputs} + OUTPUT_CHANNEL(z, k)) * {sizes.channels * taps}"
    weight = place(f"{output} + ({p}) * {sizes.kernel[1]} + {q}")
    image, i, j = _coordinates("{m}", (down.pixels, right.pixels))
    row, column = f"({i} * {down.stride} + FIRST_Y(z))", f"({j} * {right.stride} + FIRST_X(z))"
    height, width = sizes.size
    channel = f"({image} * {sizes.groups} + GROUP(z)) * {sizes.channels} + {{j}}"
    return Product(
        batches=sizes.groups * len(terms),
        m=sizes.images * (down.pixels * right.pixels),
        n=sizes.channels,
        k=phases.mean_terms,
        a=dy,
        b=Operand(place(f"i * {taps}"), weight, "x1", max(terms) > sizes.outputs),
        output_index=f"({channel}) * {height * width} + {row} * {width} + {column}",
        output_along_m=True,
        dtype=dtype,
        precision=precision,
        uneven=Uneven(
            terms=f"({sizes.outputs} * TAPS_Y(z) * TAPS_X(z))",
            empty=sizes.groups * terms.count(0),
            exists=" && ".join(
                f"{index} < {size}"
                for index, axis, size in ((row, down, height), (column, right, width))
                if not axis.is_even
            ),
            results=sizes.images * (sizes.groups * sizes.channels * height * width),
            macros=phases.macros(),
        ),
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
    height, width = sizes.positions
    return _both_below(sizes.size, (sizes.leaves(0, height), sizes.leaves(1, width)))


def _both_below(size: Pair, leaves: tuple[bool, bool]) -> str:
    """Return when a line and a term meet inside of images, by whether they ever leave these along each axis."""
    axes = zip("yx", size, leaves, strict=True)
    return " && ".join(f"(unsigned)(line.{axis} + term.{axis}) < {extent}" for axis, extent, may in axes if may)


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
