"""What is left out of a command's imports, and that it comes where it is needed after all."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from runner.cli.spared import PURE_PROTOBUF, PYDANTIC_PLUGINS, spare
spare()
from google.protobuf.internal import api_implementation
from runner.v1 import runner_pb2
asked = runner_pb2.GetTaskGroupRequest(id="a")
assert runner_pb2.GetTaskGroupRequest.FromString(asked.SerializeToString()) == asked
print(api_implementation.Type(), "google.protobuf.text_format" in sys.modules)
from pydantic import BaseModel
class Model(BaseModel):
    number: int
assert Model(number="3").number == 3
print("importlib.metadata" in sys.modules)
"""


@pytest.mark.parametrize(("implementation", "said"), [("upb", "upb False False"), ("python", "python True False")])
def test_protobuf_in_python_is_imported_where_there_is_none_in_c(implementation: str, said: str) -> None:
    env = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=50, check=True, env=env)
    assert done.stdout.split() == said.split()
