"""What the commands that print figures have in common."""

import http.client
import os
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path


def said(line=""):
    print(line, flush=True)


def middle(numbers):
    """The median, or of an even count the larger of the two in the middle."""
    return sorted(numbers)[len(numbers) // 2]


def memory(pid):
    """The resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell")


def cpu(pid):
    """How long all threads of a process have run, in seconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int(Path(task, "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def machine():
    """The machine in a line: its processor, and how many cores this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else os.uname().machine}, {len(os.sched_getaffinity(0))} cores"


@contextmanager
def fresh_folder():
    """A folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="wst-figures-") as folder:
        yield Path(folder)


class ControlConnection(http.client.HTTPConnection):
    """The API as the operator reaches it: over the socket in the data directory."""

    def __init__(self, data_dir):
        super().__init__("control.sock", timeout=30)
        self.data_dir = data_dir

    def connect(self):
        # The path itself may be longer than a socket's address can be.
        folder = os.open(self.data_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/control.sock")
        finally:
            os.close(folder)
