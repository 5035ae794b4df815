"""The task type `os_exec`: runs a program on the runner's own machine.

    type: os_exec
    spec:
      command: ["/bin/echo", "hello"]        # a list is the program and its arguments; a string is a shell script
      shell: bash                            # of a string: sh (default), bash, python, pwsh, or a command with {0}
      envs: {NAME: value}
      workdir: folder/in/the/workspace

It exports variables by writing to `$OUTPUT_FILE`. `spec` is what may be asked for, `warnings` what is worth a look before it
runs, `outputfiles` how variables come back, `driver` puts it together.
"""

from __future__ import annotations

from taskimpl.os_exec.driver import OsExecDriver as OsExecDriver
from taskimpl.os_exec.spec import OsExecSpec as OsExecSpec
