"""What was found about a change before it is built, as people read it."""

from __future__ import annotations

from foundation.counting import plural
from pipeline.development.checking import Checked
from pipeline.development.markdown import cell


def summary(checked: Checked) -> str:
    """What was looked at, in a sentence."""
    if not checked.changed:
        return "Nothing could be compiled." if checked.findings else "Nothing differs from production."
    faults = "" if checked.findings else " Nothing speaks against building it."
    return f"Looked at the {plural(len(checked.changed), 'model')} {', '.join(checked.changed)}.{faults}"


def check_markdown(checked: Checked) -> str:
    """The summary, and a line per finding."""
    lines = [summary(checked), ""]
    for finding in checked.findings:
        mark = "**Fault**" if finding.kind == "fault" else "Note"
        lines.append(f"- {mark}, {cell(finding.about)}: {cell(finding.text)}")
    return "\n".join(lines)
