"""What the server says to those who come with the wrong credential, and how a client can come to do so.

The sentences are those of the library's `Rejection`; a client's checks look for them in what the client prints.
"""

import json
from dataclasses import dataclass

VARIABLE = "WORKSPACE_TOKEN_DEMO"

NOT_VALID = "The workspace token is not valid here. It may have been regenerated: ask for the new one, then connect again."
MISSING = "This address needs a workspace token. Send it as `Authorization: Bearer <token>`."
NOT_SET = f"The variable {VARIABLE} is not set. Export it with your workspace token where the client starts, then connect again."
EMPTY = "The workspace token is empty. Set the variable that your client's configuration takes it from, then connect again."
TWO = "The request carries more than one credential. Send the workspace token once, in the Authorization header."


@dataclass
class Mistake:
    """One wrong credential. `token` is what stands behind `Bearer`, None for no header at all."""

    name: str
    url: str
    token: str | None
    sentence: str


def mistakes(server):
    """Returns every mistake, made with a token that has ended, one of another workspace, and one that is good."""
    workspace, other = server.create_workspace("mistaken"), server.create_workspace("other")
    dead = workspace.secret
    workspace.rotate()
    url = workspace.mcp_url
    return {
        mistake.name: mistake
        for mistake in (
            Mistake("dead token", url, dead, NOT_VALID),
            Mistake("no token", url, None, MISSING),
            Mistake("literal ${NAME}", url, f"${{{VARIABLE}}}", NOT_SET),
            Mistake("empty token", url, "", EMPTY),
            Mistake("two credentials", f"{url}?token={workspace.secret}", workspace.secret, TWO),
            Mistake("token of another workspace", url, other.secret, NOT_VALID),
        )
    }


NAMES = ("dead token", "no token", "literal ${NAME}", "empty token", "two credentials", "token of another workspace")


def as_json(sentence):
    """Returns a sentence as it stands in the body of an answer, which some clients print as it is."""
    return json.dumps(sentence)[1:-1]
