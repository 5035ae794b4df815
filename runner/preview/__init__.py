"""What a group would do if it ran now, as far as that can be told without running anything. Pure.

    preview.preview(group, inputs, registry, milliseconds) → Preview

It is played as if every task that runs were successful. What only a run can tell stays open: a value that another task exports stands as
`‹build.url›`, and a task whose `if` names one may run or not. What is confidential is `***`.

`decisions` has what becomes of the tasks, by the rules of the engine; `texts` what their templates give.
"""

from __future__ import annotations

from runner.preview.decisions import Preview as Preview
from runner.preview.decisions import Prospect as Prospect
from runner.preview.decisions import TaskPreview as TaskPreview
from runner.preview.decisions import preview as preview
