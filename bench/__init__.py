"""How fast the runner is, beside the limit of the machine and beside make and ninja, in one run: `python -m bench --help`.

workloads   what is run, and how it is written for each contestant
floor       the limit: a C program that starts, captures and reaps processes, compiled when it is needed
peers       make and ninja; which rivals there are, and how they are installed
rivals      doit, huey, ray, dask, celery, parallel, luigi and prefect, each in a process of its own
ours        the runner: as a node in a process of its own (`worker`), and as the command `runner run`
samples     one measured run, one JSON line
measure     time, processor time, memory
suites      who runs what, alternating
goals       which ratios are wanted, and what was reached
report      the table, on the terminal and in RESULTS.md
"""
