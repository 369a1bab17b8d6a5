"""What must hold for each client on the very files that `wst connect CLIENT --write` wrote, and for what `--check` says of them."""

import itertools
import json

import process
from report import expect

COMMAND_SECONDS = 30


class ConnectChecks:
    """The checks of one client, each with a workspace, a home and a project of its own."""

    def __init__(self, client, program, server, folder):
        self.client = client
        self.program = program
        self.server = server
        self.folders = (folder / f"connect-{client.key}-{number}" for number in itertools.count(1))

    def all(self):
        yield "wst connect: connects with the file that was written", self.connects
        yield "wst connect: does not connect without the variable", self.does_not_connect_without_the_variable
        yield "wst connect: a rotation needs a new value and no new file", self.rotation

    def connects(self):
        setup = Setup(self)
        setup.expect_connected(setup.workspace.secret)
        tokens = self.server.command("token", "list", "--workspace", setup.workspace.id)["tokens"]
        used = json.dumps(tokens[0].get("last_used"))
        expect(self.client.seen_as in used.lower(), f"the server saw {self.client.seen_as}", used)
        setup.expect_check(0, setup.workspace.secret)
        for file in (".gitignore", ".env.example"):
            expect((setup.client.project / file).is_file(), f"{file} was written")

    def does_not_connect_without_the_variable(self):
        setup = Setup(self)
        standing = setup.client.standing(setup.entry)
        expect(not standing.connected and standing.failed, "it does not connect", standing.said)
        checked = setup.expect_check(1, None)
        expect(checked["problems"][0]["code"] == "variable_unset", "the check says so", checked)

    def rotation(self):
        setup = Setup(self)
        old = setup.workspace.secret
        setup.expect_connected(old)
        setup.workspace.rotate()
        standing = setup.client.standing(setup.entry, **{setup.variable: old})
        expect(not standing.connected and standing.failed, "the old token does not connect", standing.said)
        checked = setup.expect_check(1, old)
        expect(checked["problems"][0]["code"] == "dead_token", "the check says so", checked)
        setup.expect_connected(setup.workspace.secret)
        # opencode puts the address of its schema into the file by itself.
        before = setup.text()
        setup.write()
        expect(setup.text() == before, "a second `wst connect --write` changed nothing", before, setup.text())


class Setup:
    """A project with the files of `wst connect --write`."""

    def __init__(self, checks):
        self.server = checks.server
        self.workspace = checks.server.create_workspace("connect")
        self.client = checks.client(checks.program, next(checks.folders))
        written = self.write()
        self.entry, self.variable = written["name"], written["variable"]
        self.file = self.client.project / written["file"]
        self.client.trust(self.entry)

    def write(self):
        return self.server.command(
            "connect", self.client.key, "--workspace", self.workspace.id, "--dir", self.client.project, "--write"
        )

    def text(self):
        return self.file.read_text()

    def expect_connected(self, token):
        standing = self.client.standing(self.entry, **{self.variable: token})
        expect(standing.connected, f"{self.client.key} connects", standing.said, self.text())

    def expect_check(self, code, token):
        """Runs `wst connect --check` as on a laptop, with nothing but the project, and returns what it found."""
        variables = {} if token is None else {self.variable: token}
        done = process.run(
            [self.server.binary, "connect", self.client.key, "--check", "--json"],
            timeout=COMMAND_SECONDS,
            env=self.client.environment(**variables),
            cwd=self.client.project,
        )
        expect(done.code == code, f"`wst connect --check` ends with {code}", done.output)
        expect(token is None or token not in done.output, "it prints no token")
        return json.loads(done.stdout)
