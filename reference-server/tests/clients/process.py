"""Child processes with a clean environment, a time limit, and an end that takes their own children along."""

import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Finished:
    """What a command left behind; `output` is standard output followed by standard error."""

    code: int | None
    output: str
    stdout: str

    @property
    def timed_out(self):
        return self.code is None


def clean_environment(home, **more):
    """Returns an environment that hands on nothing of the caller's but the search path: no tokens, no proxies."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8", **more}


def start(argv, *, env=None, cwd=None, stdin=subprocess.DEVNULL, stdout, stderr):
    """Starts a child as the leader of a process group of its own, so that `stop` reaches what it starts in turn."""
    return subprocess.Popen(
        [str(word) for word in argv], env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )


def stop(child, grace=5.0):
    """Ends a child and its group: SIGTERM, then SIGKILL when it has not gone after `grace` seconds."""
    if child.poll() is None:
        signal_group(child, signal.SIGTERM)
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            pass
    signal_group(child, signal.SIGKILL)
    child.wait()


def signal_group(child, number):
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        pass


def run(argv, *, timeout, env=None, cwd=None):
    """Runs a command to its end; after `timeout` seconds it is stopped and `code` is None."""
    with tempfile.TemporaryDirectory() as folder:
        # Files, not pipes: a grandchild that outlives the command can then not keep the reader waiting.
        out_path, err_path = Path(folder, "stdout"), Path(folder, "stderr")
        with open(out_path, "wb") as out, open(err_path, "wb") as err:
            child = start(argv, env=env, cwd=cwd, stdout=out, stderr=err)
            try:
                code = child.wait(timeout)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                stop(child)
        stdout = out_path.read_text(errors="replace")
        return Finished(code, stdout + err_path.read_text(errors="replace"), stdout)
