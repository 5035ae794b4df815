"""The program that owns the processes: standard library alone, nothing of ours, run from its own copy (see `launch`).

One loop, and beside it a thread for the one thing that may wait for the kernel. It starts processes on request, keeps what
they write in its pipes until the runner has it, enforces deadlines and the stop sequence by itself, and keeps exit records
until it is told to forget them. `wire` is how it is spoken to, `children` starts processes, `output` looks after their pipes,
`containment` keeps together what belongs together, `table` holds what it knows of them, `server` is the loop.
"""
