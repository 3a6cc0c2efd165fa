"""`table.md`, `table.csv`, `table.tex` and the table in the terminal."""

import re

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reports.cells import GAP, INCOMPLETE, Section, Text
from reports.evidence import Evidence
from reports.layout import sections
from reports.notes import commands

LEGEND = f"`{GAP}`: no value, or no finished run. `{INCOMPLETE}`: a fold, or a part of one, is missing; see the notes."
PRINTED = ("Primary endpoint", "Labels against accuracy")  # of the sections, in a terminal
SHOWN = (
    "Method",
    "n",
    "Dice",
    "difference",
    "p Holm",
    "seed SD",
    "missed",
    "patients with",
    "supervision",
)  # of the columns, in a terminal
LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": "$<$", ">": "$>$", "|": "$|$"},
    **{"²": "$^2$", "–": "--", "−": "$-$", "×": r"$\times$", "°": r"$^\circ$"},
}


def markdown(evidence: Evidence) -> str:
    """All tables, the notes and the commands."""
    parts = ["# Report\n"]
    for section in sections(evidence):
        lines = [_markdown_line(list(map(Text, section.header))), _markdown_rule(len(section.header))]
        lines += [_markdown_line(list(line)) for line in section.lines]
        parts.append(f"## {section.title}\n\n" + "\n".join(lines) + "\n")
    notes = "\n".join(f"* {note}" for note in (LEGEND, *evidence.notes))
    parts.append(f"## Notes\n\n{notes}\n")
    parts.append("## Commands\n\n```\n" + "\n".join(commands(evidence)) + "\n```\n")
    return "\n".join(parts)


def latex(evidence: Evidence) -> str:
    r"""The paper's tables as `table` environments, to be \input; needs the packages booktabs and graphicx."""
    notes = "\n".join(f"% {note}" for note in evidence.notes)
    tables = "\n".join(_latex_table(section) for section in sections(evidence) if section.main)
    return f"% Needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}.\n{_ascii(notes)}\n{tables}"


def csv(evidence: Evidence) -> str:
    """`table.csv`."""
    return evidence["table"].to_csv(index=False)


def print_tables(evidence: Evidence, console: Console | None = None) -> None:
    """Prints the primary endpoint of each split, the curve, and the notes, to the terminal."""
    console = console or Console()
    for section in sections(evidence):
        if not section.title.startswith(PRINTED):
            continue
        table = Table(title=section.title)
        shown = [position for position, name in enumerate(section.header) if name.startswith(SHOWN)]
        for position in shown:
            table.add_column(section.header[position], justify="right" if position else "left", overflow="fold")
        for line in section.lines:
            cells = [line[position] for position in shown]
            table.add_row(*(f"[bold]{escape(cell.text)}[/bold]" if cell.bold else escape(cell.text) for cell in cells))
        console.print(table)
    for note in (LEGEND, *evidence.notes):
        console.print(f"* {escape(note)}")


def escape_latex(text: str) -> str:
    """A text that LaTeX prints as it stands."""
    return _ascii("".join(LATEX.get(character, character) for character in text))


def _latex_table(section: Section) -> str:
    header = " & ".join(escape_latex(name) for name in section.header)
    lines = [" & ".join(_latex_cell(cell) for cell in line) + r" \\" for line in section.lines]
    columns = "l" * 1 + "r" * (len(section.header) - 1)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(section.title)}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            header + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _latex_cell(cell: Text) -> str:
    # A cell that begins with [ would be read as the optional argument of the line break before it.
    text = escape_latex(cell.text)
    text = f"{{}}{text}" if text.startswith("[") else text
    return rf"\textbf{{{text}}}" if cell.bold else text


def _markdown_line(cells: list[Text]) -> str:
    texts = [re.sub(r"([|*_`<])", r"\\\1", cell.text.replace("\n", " ")) for cell in cells]
    marked = [f"**{text}**" if cell.bold else text for text, cell in zip(texts, cells, strict=True)]
    return f"| {' | '.join(marked)} |"


def _markdown_rule(num_columns: int) -> str:
    return "|" + "|".join(["---", *["---:"] * (num_columns - 1)]) + "|"


def _ascii(text: str) -> str:
    """Without characters that an engine may lack; none of ours is left by then."""
    return text.encode("ascii", "replace").decode("ascii")
