"""A network namespace that has nothing but loopback: what runs inside cannot reach, or call, anybody else."""

import os

import process

# One process throughout: `unshare` becomes the shell and the shell becomes the command, so that it keeps its id.
ENTER = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
SCRIPT = 'ip link set lo up && exec "$@"'
SCRIPT_WITH_HOSTS = 'hosts=$1; shift; ip link set lo up && mount --bind "$hosts" /etc/hosts && exec "$@"'


def command(argv, hosts=None):
    """Returns the command line that runs `argv` in a new namespace, where the file `hosts` tells the names of hosts."""
    if hosts is None:
        return [*ENTER, "sh", "-c", SCRIPT, "sh", *argv]
    return [*ENTER, "--mount", "sh", "-c", SCRIPT_WITH_HOSTS, "sh", hosts, *argv]


def why_unavailable():
    """Returns why no namespace can be made here, or None."""
    try:
        tried = process.run(command(["true"]), timeout=20)
    except FileNotFoundError:
        return "network namespaces need the command `unshare`"
    if tried.code == 0:
        return None
    return f"no network namespace can be made here: {tried.output.strip() or 'timed out'}"
