"""The task type `os_exec`: runs a program on the runner's own machine.

    type: os_exec
    spec:
      command: ["/bin/echo", "hello"]        # a list is the program and its arguments; a string is a shell script
      shell: bash                            # of a string: sh (default), bash, python, pwsh, or a command with {0}
      envs: {NAME: value}
      files: {kubeconfig: text}              # a file of its own, 0600, in memory; its path is in $FILE_KUBECONFIG
      workdir: folder/in/the/workspace
      stdin: what it reads
      limits: {memory: 512MiB, nofile: 1024, nice: 5, oom_score_adj: 500}
      user: name                             # or uid, name:group, uid:gid; for a runner that is root

It exports variables by writing to `$OUTPUT_FILE`. `spec` is what may be asked for, `warnings` what is worth a look before it
runs, `account` is who it runs as, `givenfiles` are the files that it finds, `outputfiles` how variables come back, `driver` puts it
together.
"""

from __future__ import annotations

from taskimpl.os_exec.driver import OsExecDriver as OsExecDriver
from taskimpl.os_exec.spec import OsExecSpec as OsExecSpec
