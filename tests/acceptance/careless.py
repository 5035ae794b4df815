"""A group that does with secrets what people do, carelessly, and all the ways by which it could give them away.

What is to be watched in addition is one more line in `CarelessRun.watched`.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.config import Settings, load_settings
from tests.acceptance import canary
from tests.acceptance.canary import Channel
from tests.acceptance.command import Command, group, shell

ID = "canary"

ENDS = {
    "learn": "success",
    "print": "success",
    "derive": "success",
    "evaluate": "success",
    "cannot-evaluate": "failed",
    "fails": "failed",
    "bad-output": "failed",
    "bad-mask": "success",
    "leaves": "success",
    "reads": "failed",
    "no-program": "failed",
    "no-folder": "errored",
    "bad-template": "errored",
    "bad-shell": "errored",
    "hold": "success",
}
"""How its tasks end."""

PRINTS = """
import base64, binascii, json, os, sys, urllib.parse
for name in ("FROM_FILE", "FROM_ENV", "LEARNED", "DERIVED"):
    text = os.environ[name]
    raw = text.encode()
    for out in (sys.stdout, sys.stderr):
        print("raw", text, file=out)
        print("hex", raw.hex(), raw.hex().upper(), file=out)
        for before in (b"", b"a", b"ab"):
            print("base64", base64.b64encode(before + raw + b"zz").decode(), file=out)
            print("base64url", base64.urlsafe_b64encode(before + raw + b"zz").decode(), file=out)
        print("url", urllib.parse.quote(text, safe=""), urllib.parse.quote(text), urllib.parse.quote_plus(text), file=out)
        print("json", json.dumps(text), json.dumps({"ä": text}, ensure_ascii=False), file=out)
        print("python", repr(text), file=out)
        out.flush()
        for byte in (raw[:7], raw[7:20], raw[20:]):  # cut where it hurts
            os.write(out.fileno(), byte)
        print(file=out)
sys.stdout.write(open(os.environ["FILE_KEY_PEM"]).read())
print("\\n::add-mask::" + open(sys.argv[1]).read().replace("%", "%25"))
print("it was", open(sys.argv[1]).read())
"""


@dataclass(kw_only=True)
class CarelessRun:
    """The group, its secrets, and what `runner run` has said so far."""

    runner: Command
    secrets: dict[str, str] = field(default_factory=dict)
    pids: list[int] = field(default_factory=list)
    """Of the commands that were started."""

    def __post_init__(self) -> None:
        for folder in (self.vault, self.temporary, self.heard):
            folder.mkdir()
        os.mkfifo(self.vault / "ready")

    @property
    def temporary(self) -> Path:
        """What the command is told to be the folder for temporary files."""
        return self.runner.folder.parent / "tmp"

    @property
    def heard(self) -> Path:
        """Where stdout and stderr of the command are kept."""
        return self.runner.folder.parent / "heard"

    @property
    def vault(self) -> Path:
        """Where secrets come from: outside of all that is searched."""
        return self.runner.folder.parent / "vault"

    @property
    def settings(self) -> Settings:
        return load_settings({"HOME": str(self.runner.home)})

    @property
    def state(self) -> Path:
        return self.settings.run_dir(ID)

    @property
    def temp(self) -> Path:
        return self.settings.temp_dir(self.state)

    @property
    def watched(self) -> list[Channel]:
        """Every way out of a task that nothing confidential may take, at any time."""
        return [
            canary.files(self.runner.home),
            canary.files(self.runner.folder, but=[self.runner.folder / "group.yaml"]),
            canary.files(self.temporary),
            canary.files(self.heard),
            canary.database(self.state / "state.db"),
            canary.processes(ID, told=self.pids),
        ]

    def secret(self, name: str) -> str:
        """A new one. What a task is to find out by itself lies in the vault under this name."""
        value = canary.canary(name)
        self.secrets[name] = value
        (self.vault / name).write_text(value)
        return value

    def learn(self, name: str) -> str:
        """A command that reads a secret that the runner was not told."""
        self.secret(name)
        return f'cat "{self.vault / name}"'

    def document(self) -> str:
        read, told = self.vault / "learned", self.vault / "told"
        self.learn("learned")
        self.learn("told")
        derived = "prefix-{{ .inputs.from_file | upper }}-{{ .learn.word | b64encode }}"
        self.secrets["derived, upper"] = self.secrets["from_file"].upper()
        envs = {
            "FROM_FILE": "{{ .inputs.from_file }}",
            "FROM_ENV": "{{ .inputs.from_env }}",
            "LEARNED": "{{ .learn.word }}",
            "DERIVED": derived,
        }
        word = [{"from": "learn", "variable": "word"}]
        tasks: list[dict[str, Any]] = [
            shell(
                "learn",
                f"""
                {{ printf "word<<END\\n"; cat "{read}"; printf "\\nEND\\n"; }} >> "$OUTPUT_FILE"
                {{ printf "manifest<<END\\n{{%s word }}}} <+deep.value>\\n" "{{"; cat "{read}"; printf "\\nEND\\n"; }} >> "$OUTPUT_FILE"
                """,
                exports=[{"name": "word", "confidential": True, "scope": "global"}, {"name": "manifest"}],
            ),
            {
                "name": "print",
                "type": "os_exec",
                "imports": word,
                "spec": {
                    "command": ["python3", "-c", PRINTS, str(told)],
                    "envs": envs,
                    "files": {"key.pem": "{{ .inputs.pem }}", "config": "user: {{ .inputs.from_stdin }}\n"},
                },
            },
            {
                "name": "derive",
                "type": "os_exec",
                "imports": word,
                "spec": {
                    "command": 'cat "$FILE_C"; { printf "url<<END\\nhttps://u:%s@h/\\nEND\\n" "$W"; } >> "$OUTPUT_FILE"',
                    "envs": {"W": "{{ .learn.word }}"},
                    "files": {"c": "{{ .inputs.from_stdin }} {{ .inputs.default }}"},
                },
                "exports": [{"name": "url", "scope": "global"}],
            },
            {
                "name": "evaluate",
                "type": "expression_evaluation",
                "imports": [*word, {"from": "learn", "variable": "manifest"}],
                "spec": {
                    "string_to_evaluate": "{{ .learn.manifest }}",
                    "variables": {"word": "{{ .learn.word }}", "deep": {"value": "{{ .inputs.from_file }}"}},
                },
                "exports": [{"name": "result", "scope": "global"}],
            },
            {
                "name": "cannot-evaluate",
                "type": "expression_evaluation",
                "imports": [{"from": "learn", "variable": "manifest"}],
                "spec": {
                    "string_to_evaluate": "{{ .learn.manifest }} <+{{ .inputs.from_file }}>",
                    "variables": {"deep": "{{ .inputs.from_env }}"},
                },
                "allow_failure": True,
            },
            self._careless("fails", 'echo "cannot log in with $W" >&2; exit 3'),
            self._careless("bad-output", 'echo "$W" >> "$OUTPUT_FILE"'),
            self._careless("bad-mask", 'echo "::add-mask::$W::add-mask::$W"; printf "::add-mask::%s" "$W"'),
            self._careless("leaves", '(exec -a "$W" sleep 600) & (exec sleep 600 "$W") &', shell="bash"),
            self._careless("reads", "tee /dev/stderr; exit 4", stdin="{{ .inputs.from_stdin }}"),
            self._careless("no-program", ["/no/such/{{ .inputs.from_file }}"]),
            self._careless("no-folder", ["true"], workdir="{{ .inputs.from_file }}"),
            self._careless("bad-template", ["true"], envs={"A": "{{ .inputs.from_file | fromjson }}"}),
            self._careless("bad-shell", "true", shell="{{ .inputs.from_file }}"),
            self._hold(),
        ]
        inputs = {
            "from_file": {"confidential": True, "required": True},
            "from_env": {"confidential": True, "required": True},
            "from_stdin": {"confidential": True, "required": True},
            "pem": {"confidential": True, "required": True},
            "default": {"confidential": True, "default": self.secret("default")},
        }
        return self.runner.write(
            group(tasks, id=ID, name="canary", inputs=inputs, env={"GROUP": "{{ .inputs.from_env }}"})
        )

    def _careless(self, name: str, command: str | list[str], **spec: Any) -> dict[str, Any]:
        spec = {"envs": {"W": "{{ .inputs.from_file }}"}, **spec}
        return {"name": name, "type": "os_exec", "spec": {"command": command, **spec}, "allow_failure": True}

    def _hold(self) -> dict[str, Any]:
        """Is in the middle of it all when the runner is killed: it has printed, written, and half of a secret is held back."""
        begin = 'cat "$FILE_C"; printf "word<<END\\n%s\\nEND\\n" "$W" >> "$OUTPUT_FILE"; printf %.20s "$W"'
        wait = 'test "$RUNNER_TASK_ATTEMPT" = 2 || { echo > "$VAULT/ready"; sleep 600; }'
        task = self._careless("hold", f"{begin}; {wait}")
        task["depends_on"] = ["print", "derive", "evaluate", "fails", "bad-output", "leaves"]
        task["imports"] = [{"from": "learn", "variable": "word"}]
        task["spec"]["envs"] = {"W": "{{ .learn.word }}", "VAULT": str(self.vault)}
        task["spec"]["files"] = {"c": "{{ .learn.word }}"}
        task["exports"] = [{"name": "word", "scope": "global"}]
        task["retry"] = {"attempts": 2, "delay": 0, "on": ["supervisor_lost"]}
        return task

    def start(self, document: str, *options: str, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """`runner run`, with each secret input given in another way."""
        given = ["--set-secret", f"from_file=@{self.vault / 'from_file'}", "--set-secret", "from_env=env:CANARY"]
        given += ["--set-secret", "from_stdin=-", "--set-secret", f"pem=@{self.vault / 'pem'}"]
        environment = {"CANARY": self.secrets["from_env"], "TMPDIR": str(self.temporary)}
        number = len(self.pids)
        with (
            open(self.vault / "from_stdin", "rb") as stdin,
            open(self.heard / f"stdout.{number}", "wb") as stdout,
            open(self.heard / f"stderr.{number}", "wb") as stderr,
        ):
            process = self.runner.start(
                "run",
                document,
                *given,
                *options,
                before=before,
                environment=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        self.pids.append(process.pid)
        return process

    def until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until `hold` is in the middle of its work."""
        ready = os.open(self.vault / "ready", os.O_RDONLY | os.O_NONBLOCK)
        try:
            while not select.select([ready], [], [], 0.1)[0]:
                assert process.poll() is None, "\n".join(path.read_text() for path in self.heard.iterdir())
        finally:
            os.close(ready)
