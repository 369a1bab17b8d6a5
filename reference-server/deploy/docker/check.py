#!/usr/bin/env python3
"""Reads a Dockerfile and says what is wrong with it, without an engine to build it.

    check.py Dockerfile
"""

import json
import re
import sys
from pathlib import Path

KNOWN = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
SECRET = re.compile(r"(token|secret|password|_key)\s*[= ]", re.I)


def main():
    [path] = sys.argv[1:]
    problems = list(problems_of(list(instructions(Path(path).read_text()))))
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


def instructions(text):
    """Yields keyword and arguments of each instruction, its continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = ""
    for line in lines:
        whole += line.strip()
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        keyword, _, arguments = whole.partition(" ")
        yield keyword.upper(), arguments.strip()
        whole = ""
    if whole:
        yield "UNFINISHED", whole


def problems_of(found):
    unknown = {keyword for keyword, _ in found} - KNOWN
    if unknown:
        yield f"no such instruction: {', '.join(sorted(unknown))}"
    stages = []
    for keyword, arguments in found:
        if keyword == "FROM":
            words = arguments.split()
            image = words[0]
            if ":" not in image.rpartition("/")[2] or image.endswith(":latest"):
                yield f"{image} names no version"
            stages.append((words[2] if len(words) == 3 and words[1].upper() == "AS" else None, []))
        elif stages:
            stages[-1][1].append((keyword, arguments))
        elif keyword != "ARG":
            yield f"{keyword} before the first FROM"
        if keyword in ("ARG", "ENV") and SECRET.search(arguments):
            yield f"{keyword} {arguments.split('=')[0]} stays in the image for everybody to read"
    if len(stages) < 2:
        yield "the image is that of the build: it needs a stage of its own"
        return
    names = {name for name, _ in stages[:-1] if name}
    last = dict(stages[-1][1])
    for keyword, arguments in stages[-1][1]:
        if keyword == "RUN":
            yield "the last stage has no shell to run anything"
        source = re.search(r"--from=(\S+)", arguments)
        if keyword == "COPY" and not (source and source[1] in names):
            yield f"COPY {arguments} is from no stage of the build"
    user = last.get("USER", "root")
    # By number, so that Kubernetes can see it too (runAsNonRoot).
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", user):
        yield f"it ends as the user {user}: give a number that is not root's"
    for keyword in ("ENTRYPOINT", "CMD"):
        yield from needs_no_shell(keyword, last.get(keyword))
    health = last.get("HEALTHCHECK", "NONE")
    yield from needs_no_shell("HEALTHCHECK", health.partition("CMD ")[2] or None)


def needs_no_shell(keyword, arguments):
    try:
        words = json.loads(arguments or "null")
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        yield f"{keyword} has to be a list, since there is no shell"


if __name__ == "__main__":
    main()
