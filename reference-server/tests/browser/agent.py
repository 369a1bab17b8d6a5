"""Runs Claude Code with a scripted model, which it stops and lets go on as it reads: a JSON command a line.

    {"url", "token", "mode", "script": [{"tool", "arguments", "wait"}]}   plays a script
    {"go": true}                                                          lets it go on

It prints `{"reached": STEP, "shown": […]}` where it waits, and `{"code", "shown", "output"}` at the end. `{task}` in an
argument is the id of the task that the script has created.
"""

import json
import re
import sys
import threading
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))

from claude_code import TOOL_PREFIX, ClaudeCode  # noqa: E402
from model_api import ModelApi, ToolCall  # noqa: E402

WAIT_SECONDS = 120


class Player:
    """One Claude Code, and the runs that it makes one after the other."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = folder
        self.go = threading.Event()
        self.runs = 0

    def play(self, url, token, script, mode=None):
        self.runs += 1
        client = ClaudeCode(self.program, self.folder / f"run-{self.runs}")
        client.use_header_form(url)
        calls = [ToolCall(step["tool"], step.get("arguments", {})) for step in script]
        with ModelApi(TOOL_PREFIX, calls) as model_api:
            for number, (call, step) in enumerate(zip(calls, script)):
                call.before = lambda number=number, call=call, step=step: self.before(model_api, number, call, step)
            done = client.work(token, model_api, mode)
            say({"code": done.code, "shown": shown(model_api), "output": done.output[-2000:]})

    def before(self, model_api, number, call, step):
        if step.get("wait"):
            say({"reached": number, "shown": shown(model_api)})
            if not self.go.wait(WAIT_SECONDS):
                raise TimeoutError(f"step {number} was not let go on")
            self.go.clear()
        task = next(iter(re.findall(r"task created with id=(\S+)", "\n".join(shown(model_api)))), "")
        call.arguments = {
            name: value.replace("{task}", task) if isinstance(value, str) else value for name, value in call.arguments.items()
        }


def shown(model_api):
    return [("error: " if result.is_error else "") + result.text for result in model_api.shown]


def say(what):
    print(json.dumps(what), flush=True)


def main():
    player = Player(sys.argv[1], Path.cwd())
    for line in sys.stdin:
        command = json.loads(line)
        if command.pop("go", False):
            player.go.set()
        else:
            threading.Thread(target=player.play, kwargs=command, daemon=True).start()


if __name__ == "__main__":
    main()
