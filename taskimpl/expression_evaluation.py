"""The task type `expression_evaluation`: resolves expressions inside data.

    type: expression_evaluation
    imports: [{from: fetch-manifest, variable: yaml_data}]
    spec:
      string_to_evaluate: "{{ .fetch-manifest.yaml_data }}"
      variables: {image: {tag: v1}}
    exports: [{name: result}]

The string's own templates are rendered before the task starts, like those of any other task. Here the `{{ … }}` and Harness's
`<+a.b.c>` that stand in the resulting text are resolved once, against `variables` and the task's imports (a variable hides an
import of the same name). A variable is put in as it is written (`1.10` stays `1.10`). Numbers and booleans in their usual form (`3`,
`1.5`, `true`) are compared as such, every other value is a text. All that cannot be resolved is reported at once, each with its line, and the task fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from drivers.base import AS_WRITTEN, Capabilities, Recovery, SimpleDriver, Spec, TaskContext
from runner import expressions
from runner.errors import TemplateError
from runner.model.result import Outcome, Status
from runner.model.value import Value

MAX_SHOWN = 50
"""How many unresolved expressions an error lists."""


class ExpressionEvaluationSpec(Spec):
    """Resolves the expressions inside data, such as a manifest that another task has fetched, and exports it as `result`."""

    string_to_evaluate: str = Field(
        description="The data. Templates give it; the {{ … }} and <+a.b.c> that then stand in it are resolved.",
        examples=["{{ .fetch-manifest.yaml_data }}"],
    )
    variables: dict[str, Annotated[Any, AS_WRITTEN]] = Field(
        default_factory=dict,
        description="What the expressions in the data may name, besides the task's imports.",
        examples=[{"image": {"tag": "v1"}}],
    )


class ExpressionEvaluationDriver(SimpleDriver[ExpressionEvaluationSpec]):
    type = "expression_evaluation"
    capabilities = Capabilities(recovery=Recovery.RERUN)
    spec_model = ExpressionEvaluationSpec

    def __init__(self, milliseconds: int | None = None) -> None:
        """`milliseconds` is what the expressions in one text may cost, as of `expressions.Work`."""
        super().__init__()
        self._milliseconds = milliseconds

    async def run(self, ctx: TaskContext, spec: ExpressionEvaluationSpec) -> Mapping[str, str | Value] | Outcome:
        text = spec.string_to_evaluate
        scope = expressions.DataScope(
            {**ctx.bindings.imports, **spec.variables},
            ctx.is_confidential,
            work=expressions.Work(self._milliseconds or expressions.DEFAULT_MILLISECONDS),
        )
        resolution = expressions.resolve_data(text, scope)
        if resolution.faults:
            return Outcome(status=Status.FAILED, reason="unresolved_expression", error=_report(text, resolution.faults))
        confidential = resolution.confidential or ctx.is_confidential(text)
        return {"result": Value(resolution.text, confidential)}


def _report(text: str, faults: tuple[TemplateError, ...]) -> str:
    lines = []
    line, at = 1, 0
    for fault in faults[:MAX_SHOWN]:  # which stand in the order of the text
        line, at = line + text.count("\n", at, fault.offset), fault.offset
        lines.append(f"line {line}: {fault.message}")
    if len(faults) > MAX_SHOWN:
        lines.append(f"and {len(faults) - MAX_SHOWN} more")
    count = "1 expression" if len(faults) == 1 else f"{len(faults)} expressions"
    return "\n".join([f"{count} in string_to_evaluate cannot be resolved:", *lines])
