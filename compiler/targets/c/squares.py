"""Print the transpose of a square of numbers, and how row-major examples get into lanes, a square at a time."""

from __future__ import annotations

from graphnn.compiler.targets.c.text import indented

TURNED_TYPES = {"uint8_t": ("bytes", "GN_PICK_BYTES"), "int32_t": ("vec", "GN_PICK"), "float": ("vec", "GN_PICK")}
"""C types whose squares are turned in vectors, and what turns them; others are moved number by number."""


def print_turn(name: str, lanes: int) -> str:
    """Print ``name_turn(from, inside, to)``: the transpose of `lanes` vectors, 0 for the lanes that are not inside."""
    lines = [f"const vec of{lanes}_{i} = keep(from[{i}], inside);" for i in range(lanes)]
    lines += [*_halves("vec", "GN_PICK", lanes), *(f"to[{i}] = of1_{i};" for i in range(lanes))]
    signature = f"static inline void {name}_turn(const vec *from, mask inside, vec *to)"
    return "\n".join([signature, "{", *indented(lines), "}"])


def _halves(vector: str, pick: str, lanes: int) -> list[str]:
    """Print the steps from ``of{lanes}_i``, the rows of a square, to ``of1_i``, its columns.

    Of each square, the upper right and the lower left quarter are exchanged, and then the same within each quarter.
    """
    lines = []
    side = lanes
    while side > 1:
        half = side // 2
        for i in range(lanes):
            upper, lower = f"of{side}_{i & ~half}", f"of{side}_{i | half}"
            side_of_row = [j | half if i & half else j & ~half for j in range(lanes)]
            picked = ", ".join(str(place + (lanes if j & half else 0)) for j, place in enumerate(side_of_row))
            lines.append(f"const {vector} of{half}_{i} = {pick}({upper}, {lower}, {picked});")
        side = half
    return lines


def print_pack(kind: str, lanes: int) -> str:
    """Print ``gn_pack_KIND(from, to, size, valid)``: row-major examples into lanes, `size` numbers of a C type each.

    The first `valid` lanes of a block are filled from memory, those beyond with 0, which every op takes, an index
    included.
    """
    squares: list[str] = []
    if kind in TURNED_TYPES:
        vector, pick = TURNED_TYPES[kind]
        rows = [f"({lane} < valid ? from + {lane} * size + i : none)" for lane in range(lanes)]
        loads = [f"const {vector} of{lanes}_{lane} = *(const loose_{vector} *){row};" for lane, row in enumerate(rows)]
        stores = [f"((loose_{vector} *)to)[i + {i}] = of1_{i};" for i in range(lanes)]
        squares = [
            f"static const {kind} none[LANES];",
            "for (; i + LANES <= size; i += LANES) {",
            *indented([*loads, *_halves(vector, pick, lanes), *stores]),
            "}",
        ]
    body = [
        "int64_t i = 0;",
        *squares,
        "for (; i < size; i++)",
        "    for (int lane = 0; lane < LANES; lane++) to[i * LANES + lane] = lane < valid ? from[lane * size + i] : 0;",
    ]
    signature = f"static inline void gn_pack_{kind}(const {kind} *from, {kind} *to, int64_t size, int valid)"
    return "\n".join([signature, "{", *indented(body), "}"])
