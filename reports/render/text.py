"""`table.md`, `table.tex` and the tables in the terminal: those of the chapters, in their order."""

import re
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reports.chapters.contents import printed_tables
from reports.chapters.notes import commands
from reports.evidence import Evidence
from reports.render.blocks import Cell, Grid
from reports.render.formats import DASH

LEGEND = f"`{DASH}`: no value, or no finished run. In brackets behind a number: its interval, or the paper's number."
LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": "$<$", ">": "$>$", "|": "$|$"},
    **{"²": "$^2$", "–": "--", "−": "$-$", "×": r"$\times$", "°": r"$^\circ$", "∞": r"$\infty$", "·": r"$\cdot$"},
}


def markdown(evidence: Evidence, grids: Sequence[Grid] = ()) -> str:
    """All tables, the notes and the commands; `grids` are `printed_tables` where they are there already."""
    parts = ["# Report\n"]
    for grid in grids or printed_tables(evidence):
        header = [Cell(text=name) for name in grid.header]
        rule = "|" + "|".join(["---", *["---:"] * (len(header) - 1)]) + "|"
        lines = [_markdown_line(header), rule, *map(_markdown_line, grid.rows)]
        notes = [f"* {note}" for note in grid.notes]
        texts = filter(None, (f"## {grid.title}", grid.caption, "\n".join(lines), "\n".join(notes)))
        parts.append("\n\n".join(texts) + "\n")
    notes = "\n".join(f"* {note}" for note in (LEGEND, *evidence.notes))
    parts.append(f"## Notes\n\n{notes}\n")
    parts.append("## Commands\n\n```\n" + "\n".join(commands(evidence)) + "\n```\n")
    return "\n".join(parts)


def latex(evidence: Evidence, grids: Sequence[Grid] = ()) -> str:
    r"""The paper's tables as `table` environments, to be \input; needs the packages booktabs and graphicx."""
    notes = "\n".join(f"% {note}" for note in evidence.notes)
    tables = "\n".join(_latex_table(grid) for grid in grids or printed_tables(evidence) if grid.main)
    return f"% Needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}.\n{_ascii(notes)}\n{tables}"


def print_tables(evidence: Evidence, console: Console | None = None, grids: Sequence[Grid] = ()) -> None:
    """Prints the primary endpoint of each split, the curve, and the notes, to the terminal."""
    console = console or Console()
    for grid in grids or printed_tables(evidence):
        if grid.short:
            print_table(grid, console)
    for note in (LEGEND, *evidence.notes):
        console.print(f"* {escape(note)}")


def print_table(grid: Grid, console: Console) -> None:
    """Prints the short columns of one table."""
    table = Table(title=grid.title, title_justify="left")
    for place in grid.short:
        table.add_column(grid.header[place], justify="right" if place else "left", overflow="fold")
    for line in grid.rows:
        cells = [(escape(joined(line[place])), line[place].bold) for place in grid.short]
        table.add_row(*(f"[bold]{text}[/bold]" if bold else text for text, bold in cells))
    console.print(table)


def joined(cell: Cell) -> str:
    """Both lines of a cell in one; what is said of a name, in brackets."""
    below = f"({cell.below})" if cell.below and cell.tone == "name" else cell.below
    return f"{cell.text} {below}".strip()


def escape_latex(text: str) -> str:
    """A text that LaTeX prints as it stands."""
    return _ascii("".join(LATEX.get(character, character) for character in text))


def _latex_table(grid: Grid) -> str:
    header = " & ".join(escape_latex(name) for name in grid.header)
    lines = [" & ".join(_latex_cell(cell) for cell in line) + r" \\" for line in grid.rows]
    environment = (r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(grid.title)}}}")
    start = (r"\resizebox{\textwidth}{!}{%", rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}", r"\toprule")
    end = (r"\bottomrule", r"\end{tabular}}", r"\end{table}", "")
    return "\n".join([*environment, *start, header + r" \\", r"\midrule", *lines, *end])


def _latex_cell(cell: Cell) -> str:
    # A cell that begins with [ would be read as the optional argument of the line break before it.
    text = escape_latex(joined(cell))
    text = f"{{}}{text}" if text.startswith("[") else text
    return rf"\textbf{{{text}}}" if cell.bold else text


def _markdown_line(cells: Sequence[Cell]) -> str:
    texts = [re.sub(r"([|*_`<])", r"\\\1", joined(cell).replace("\n", " ")) for cell in cells]
    marked = [f"**{text}**" if cell.bold else text for text, cell in zip(texts, cells, strict=True)]
    return f"| {' | '.join(marked)} |"


def _ascii(text: str) -> str:
    """Without characters that an engine may lack; none of ours is left by then."""
    return text.encode("ascii", "replace").decode("ascii")
