"""Drives the Python SDK's client, which runs as a program of its own, one command after the other."""

import json
import select
import subprocess
from pathlib import Path

import process

ANSWER_SECONDS = 20


class PythonClient:
    """The client; `begin` and `answer` are apart so that something else can happen while a call is open."""

    def __init__(self, python, folder):
        program = Path(__file__).with_name("python_program.py")
        folder.mkdir(parents=True)
        self.log_path = folder / "client.log"
        with open(self.log_path, "wb") as log:
            self.child = process.start(
                [python, program],
                env=process.clean_environment(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        process.stop(self.child)
        self.child.stdin.close()
        self.child.stdout.close()

    def connect(self, url, token, mode):
        """Connects and returns the protocol version that was agreed on."""
        return self.do("connect", url=url, token=token, mode=mode)

    def list_tools(self):
        return self.do("list_tools")

    def call(self, tool, **arguments):
        return self.do("call", tool=tool, arguments=arguments)

    def begin_call(self, tool, **arguments):
        self.begin("call", tool=tool, arguments=arguments)

    def do(self, verb, **arguments):
        """Does one thing and returns its result; an error of the client is raised as `ClientError`."""
        self.begin(verb, **arguments)
        return self.answer()

    def begin(self, verb, **arguments):
        self.child.stdin.write(json.dumps({"do": verb, **arguments}).encode() + b"\n")
        self.child.stdin.flush()

    def answer(self, timeout=ANSWER_SECONDS):
        # Every command is answered with exactly one line, so nothing can wait in the reader's buffer.
        readable, _, _ = select.select([self.child.stdout], [], [], timeout)
        line = self.child.stdout.readline() if readable else b""
        if not line:
            what = "ended" if readable else f"was silent for {timeout} s"
            raise RuntimeError(f"the client {what}: {self.log_path.read_text(errors='replace')[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["ok"]


class ClientError(Exception):
    """What the SDK raised, in words."""
