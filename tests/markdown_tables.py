"""Tables in reports, for tests that read them."""

from __future__ import annotations


def table_rows(text: str, header: str) -> list[dict[str, str]]:
    """Return the rows of the first Markdown table whose first column has this header."""
    lines = iter(text.splitlines())
    names = next(_cells(line) for line in lines if line.startswith(f"| {header} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(names, _cells(line), strict=True)))
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
