"""Drives an SDK's client, which runs as a program of its own, one command after the other."""

import json
import select
import subprocess

import process

ANSWER_SECONDS = 20


class ProgramClient:
    """The client; `begin` and `answer` are apart so that something else can happen while a call is open.

    The program reads a JSON command a line and answers each with one line: `{"ok": …}` or `{"error": …}`.
    """

    def __init__(self, argv, folder):
        folder.mkdir(parents=True)
        self.log_path = folder / "client.log"
        with open(self.log_path, "wb") as log:
            self.child = process.start(
                argv,
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

    def connect(self, url, token, mode=None):
        """Connects and returns the protocol version that was agreed on; without a token no header is sent."""
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


def error_of(action, *arguments, **more):
    """Returns the words of the `ClientError` that `action` raises, or None when it raises none."""
    try:
        action(*arguments, **more)
    except ClientError as error:
        return str(error)
    return None
