"""Templates: `{{ … }}` in a text, what it may say, and its value.

    expressions.has_template(text)        does anything have to be rendered?
    expressions.parse(text)               → Template (names, whole), or TemplateError with the offset of the fault
    expressions.render(text, scope)       → Value: the text, confidential if the template names a confidential value
    expressions.evaluate(text, scope)     → the object that one whole `{{ … }}` stands for, and whether it is confidential
    expressions.resolve_data(text, scope) → Resolution: `{{ … }}` and `<+…>` inside data, with all faults at once
    expressions.truth(object)             → whether a condition holds

Only `{{ … }}` is a template; `{%` and `{#` are plain text. `{{ fetch.password }}` and `{{ .fetch.password }}` mean the same,
and in a path `-` belongs to the name. `{{- x -}}` drops the white space (blanks, tabs, line ends) before and after it; the dash needs
white space beside it. An expression is a path, a constant, a list, a comparison, `and or not in`, `x if c else y`, or a filter of
`expressions.filters.FILTERS`; nothing else parses. Time and memory of a rendering are bounded (`work`).

`grammar` finds and parses expressions, `compiler` makes functions of what Jinja2 parsed, `comparison` and `filters` are what they do, `scope` the
places that names are looked up in, `objects` what values are and how they are written as text, `template` puts it together.
"""

from __future__ import annotations

from runner.expressions.data import Resolution as Resolution
from runner.expressions.data import resolve_data as resolve_data
from runner.expressions.objects import truth as truth
from runner.expressions.scope import DataScope as DataScope
from runner.expressions.scope import Lookup as Lookup
from runner.expressions.scope import Scope as Scope
from runner.expressions.scope import env_scope as env_scope
from runner.expressions.template import Template as Template
from runner.expressions.template import evaluate as evaluate
from runner.expressions.template import has_template as has_template
from runner.expressions.template import parse as parse
from runner.expressions.template import render as render
from runner.expressions.work import DEFAULT_MILLISECONDS as DEFAULT_MILLISECONDS
from runner.expressions.work import Work as Work
