"""The program that owns the processes: standard library alone, nothing of ours, run from its own copy (see `launch`).

One thread, one loop. It starts processes on request, keeps what they write in its pipes until the runner has it, enforces
deadlines and the stop sequence by itself, and keeps exit records until it is told to forget them. `wire` is how it is spoken
to, `children` starts processes, `output` looks after their pipes, `table` holds what it knows of them, `server` is the loop.
"""
