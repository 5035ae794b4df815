"""What the tasks of the chaos tests run: `python3 -I -S puppet.py PLAN FOLDER`. It does what the plan says for its attempt.

The plan is JSON, a list of attempts (what comes after the last does the same as that), each a list of steps:

    ["write", fd, base64]     all of it, as one write if the pipe has room
    ["variable", fd, name]    the value of an environment variable
    ["show", fd, path]        what is in a file, from where it was started on
    ["export", text]          onto the end of $OUTPUT_FILE
    ["mark", name]            make the file `<task>.<attempt>.<name>` in FOLDER: all before it is done
    ["await", name, seconds]  until somebody made the file `name` in FOLDER, no longer than so many seconds
    ["on_term", base64]       from now on SIGTERM writes this to stdout and ends with 0; null ignores it
    ["again"]                 say once more that it was started, as if it had been
    ["leave"]                 start a process that stays, and that nobody waits for
    ["escape"]                the same, in a session of its own, orphaned, without environment and without the pipes
    ["stay"]                  for ever
    ["signal", number]        to itself
    ["exit", code]

The first thing that it does is to append `<task> <attempt>` to `started` in FOLDER: nobody can start it twice unnoticed.
"""

from __future__ import annotations

import binascii
import json
import os
import signal
import sys
import time


def append(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def say(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except BrokenPipeError:
        os._exit(98)  # whoever read it is dead: no complaint where somebody may still read


def escape() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for end in (0, 1, 2):
                os.dup2(null, end)
            os.execve("/bin/sleep", ["sleep", "1000"], {})
        os._exit(0)
    os.wait()


def main(plan: str, folder: str) -> None:  # noqa: PLR0912 - a step each
    task, attempt = os.environ["RUNNER_TASK_NAME"], os.environ["RUNNER_TASK_ATTEMPT"]
    append(f"{folder}/started", f"{task} {attempt}\n")

    def mark(name: str) -> None:
        append(f"{folder}/{task}.{attempt}.{name}", "")

    def on_term(text: str | None) -> None:
        def bye(*_: object) -> None:
            say(1, binascii.a2b_base64(text or ""))
            os._exit(0)

        signal.signal(signal.SIGTERM, signal.SIG_IGN if text is None else bye)

    def wait(name: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not os.path.exists(f"{folder}/{name}"):
            time.sleep(0.002)

    with open(plan, encoding="ascii") as file:
        plans = json.load(file)
    steps = plans[min(int(attempt), len(plans)) - 1]
    for verb, *words in steps:
        if verb == "write":
            say(words[0], binascii.a2b_base64(words[1]))
        elif verb == "variable":
            say(words[0], os.environ[words[1]].encode())
        elif verb == "show":
            with open(words[1], "rb") as shown:
                say(words[0], shown.read())
        elif verb == "export":
            append(os.environ["OUTPUT_FILE"], words[0])
        elif verb == "mark":
            mark(words[0])
        elif verb == "await":
            wait(*words)
        elif verb == "on_term":
            on_term(words[0])
        elif verb == "again":
            append(f"{folder}/started", f"{task} {attempt}\n")
        elif verb == "leave":
            os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
        elif verb == "escape":
            escape()
        elif verb == "stay":
            while True:
                time.sleep(1000)
        elif verb == "signal":
            os.kill(os.getpid(), words[0])
        elif verb == "exit":
            os._exit(words[0])
        else:
            os._exit(99)


if __name__ == "__main__":
    main(*sys.argv[1:])
