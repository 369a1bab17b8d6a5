"""The outcome of each check as a line, the counts at the end, and nothing that could be a token in between."""

import re
import time
import traceback


class CheckFailed(Exception):
    """A check that did not hold; `evidence` is what one needs to find out why."""

    def __init__(self, what, evidence=()):
        super().__init__(what)
        self.evidence = evidence


def expect(holds, what, *evidence):
    """Fails the running check with the sentence `what` unless it `holds`."""
    if not holds:
        raise CheckFailed(what, evidence)


def redact(text):
    """Replaces everything that looks like a JWT, whole or cut short."""
    return re.sub(r"eyJ[\w-]{8,}(\.[\w-]*)*", "eyJ…", text)


class Report:
    """Counts and prints outcomes; as a context manager it closes with the counts, and takes an exception for a failure."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if error is not None:
            self.fail("the run was broken off", f"{kind.__name__}: {error}", *traceback.format_tb(error.__traceback__)[-2:])
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return True

    def check(self, name, function, *arguments):
        """Runs one check; whatever it raises is a failure."""
        started = time.monotonic()
        try:
            function(*arguments)
        except CheckFailed as failure:
            self.fail(name, str(failure), *failure.evidence)
        except Exception as error:
            self.fail(name, f"{type(error).__name__}: {error}", *traceback.format_tb(error.__traceback__)[-2:])
        else:
            self.passed += 1
            print(f"ok   {name} ({time.monotonic() - started:.1f} s)", flush=True)

    def fail(self, name, why, *evidence):
        self.failed += 1
        print(f"FAIL {name}: {redact(why)}", flush=True)
        for piece in evidence:
            print("\n".join(f"     | {line}" for line in redact(str(piece)).splitlines()), flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip {name} (skipped: {redact(why)})", flush=True)
