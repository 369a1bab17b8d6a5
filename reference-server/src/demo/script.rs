//! All that the demo says: its tasks, and the lines of its agent.
//!
//! Each line of the agent begins with one of two words that say what it is, added in `scenes`, so that
//! nobody takes it for a model.

use crate::tasks::Actor;

/// What the agent says first in a task, before its line.
pub(super) const FIRST: &str = "I am a scripted agent of the demo: ";
/// And later.
pub(super) const LATER: &str = "*Scripted agent of the demo:* ";

pub(super) const WORKSPACE: &str = "Demo: harbour office";

pub(super) const MISSION: &str = "\
A harbour office that does not exist, to look around in.

Its agents are scripts that `wst serve --demo` plays over the real MCP endpoint, with real workspace tokens; no model is at work. What you do here is real too: answer, allow, regenerate, and see what happens.";

/// A task as people would make it.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) title: &'static str,
    pub(super) body: &'static str,
    pub(super) assignee: Actor,
    /// A file that comes with it: its name and what is in it.
    pub(super) file: Option<(&'static str, &'static str)>,
    /// What was said at once.
    pub(super) message: Option<&'static str>,
}

/// In the order in which agents take them.
pub(super) const TASKS: [Task; 7] = [
    Task {
        title: FOG,
        body: "New pilots ask the same thing every autumn. Write it down **once**: the order of steps, the signals, and whom to call.",
        assignee: Actor::Agent,
        file: Some((
            "signals.csv",
            "signal,meaning\none long,under way\ntwo long,stopped\n",
        )),
        message: Some("The list of signals is attached. Keep it to one page, please."),
    },
    Task {
        title: RHYME,
        body: "The sign at the pier should rhyme. Four lines about *six knots*.",
        assignee: Actor::Agent,
        file: None,
        message: None,
    },
    Task {
        title: TIDES,
        body: "Take the tables of the observatory, set them in our layout, and hand them to the printer by Thursday.",
        assignee: Actor::Agent,
        file: None,
        message: None,
    },
    Task {
        title: BERTHS,
        body: "Visitors mix up berth 6 and berth 9. Propose other names, then change the plan and the signs.",
        assignee: Actor::Agent,
        file: None,
        message: None,
    },
    Task {
        title: LIGHTS,
        body: "Compare the list of lights with what the sensors report, and note what is dark.",
        assignee: Actor::Agent,
        file: None,
        message: Some("The sensors answer on the office network only; the agent has to ask before it runs anything there."),
    },
    Task {
        title: "Look around: what to try in this demo",
        body: "\
1. **Needs you** lists what waits: answer the question about the berths, and watch the agent go on.
2. Allow or deny what it asks permission for.
3. On the **Board**, make a task for an agent: it is taken within seconds.
4. On **Tokens**, regenerate `build-agent`: the agent is cut off at once, and its old token leaves a trail. Starting `wst serve --demo` again brings it back.",
        assignee: Actor::Human,
        file: None,
        message: None,
    },
    Task {
        title: "Connect an agent of your own",
        body: "The token `primary` is yours: nobody has its secret. Regenerate it on **Tokens**, or make another, and follow **Connect**. Then your agent and the scripted one share the board.",
        assignee: Actor::Human,
        file: None,
        message: None,
    },
];

/// The titles by which the agent knows what to play.
pub(super) const FOG: &str = "Write down how to enter the harbour in fog";
pub(super) const RHYME: &str = "Rhyme the speed limit";
pub(super) const TIDES: &str = "Publish the tide tables of next week";
pub(super) const BERTHS: &str = "Give the berths names that nobody mixes up";
pub(super) const LIGHTS: &str = "Check the lights of the breakwater";

pub(super) const FOG_TAKEN: &str = "I read the list of signals and write the page.";
pub(super) const FOG_DONE: &str = "\
here is the page; it is attached as well.

1. Call the office on channel 12 and wait for an answer.
2. Come in under radar, at most 3 knots.
3. Keep to the green side until the second buoy.

| signal | meaning |
|---|---|
| one long | under way |
| two long | stopped |

- Sound it every two minutes.
- The rules behind it are in [COLREG, rule 35](https://www.imo.org/en/About/Conventions/Pages/COLREG.aspx).

To check that the fog horn answers:

```sh
horn --channel 12 --test
```";
/// The file that comes with it.
pub(super) const FOG_FILE: (&str, &str, &str) = (
    "fog.md",
    "text/markdown",
    "# Entering in fog\n\n1. Call the office on channel 12.\n2. At most 3 knots.\n3. Keep to the green side.\n",
);

pub(super) const RHYME_DECLINED: &str =
    "I have no lines that rhyme, so I reject this. A person, or a real agent, may do better.";

pub(super) const TIDES_TAKEN: &str = "the tables are set, in two columns:

```text
Mon  04:12  3.1 m
Mon  10:31  0.7 m
```";
pub(super) const TIDES_BLOCKED: &str = "I am blocked: somebody has to see the proof before it goes to the printer. I made a task of it. Write a message here, whatever it is, and I go on.";
pub(super) const TIDES_DONE: &str = "thank you. The tables are with the printer.";
/// The task that the agent makes for a person: the one task of its own.
pub(super) const PROOF: (&str, &str) = (
    "Look at the proof of the tide tables",
    "A scripted agent of the demo made this task. Compare Monday's first high water, **04:12**, with the observatory's table.",
);

pub(super) const BERTHS_TAKEN: &str = "I looked at letters and at birds:

| berth | letter | bird |
|---|---|---|
| 6 | F | Heron |
| 9 | J | Tern |";
pub(super) const BERTHS_QUESTION: &str = "Letters or birds: which do you want on the signs?";
pub(super) const BERTHS_DONE: &str = "I have your answer, and changed the plan and the signs in it. A real agent would have understood it; I only saw that there is one.";

pub(super) const LIGHTS_TAKEN: &str =
    "I have the list of lights, and ask for permission to read the sensors.";
/// What it asks permission for: tool, description, the beginning of what the tool would be given.
pub(super) const LIGHTS_TOOL: (&str, &str, &str) = (
    "Bash",
    "Read the light sensors of the breakwater (a demo: nothing is run)",
    "{\"command\":\"sensors --read breakwater --lights\"}",
);
pub(super) const LIGHTS_ALLOWED: &str =
    "you allowed it, so I read the sensors, as it were: all lights but the third are on.";
pub(super) const LIGHTS_DENIED: &str =
    "you denied it, so I leave the sensors alone and reject the task.";

pub(super) const OTHER_TAKEN: &str =
    "I took this task as a real agent would, over MCP, with the token `build-agent`.";
pub(super) const OTHER_GOES_ON: &str = "still at it. I do not understand what the task says, and only go through the motions: taken, reported, completed.";
pub(super) const OTHER_DONE: &str =
    "done, that is: nothing was done. Connect an agent of your own for the real thing.";

#[cfg(test)]
mod tests {
    use super::*;

    /// A question mark would make a person's task of a mere report.
    #[test]
    fn only_the_question_asks() {
        for line in [
            FIRST,
            LATER,
            FOG_TAKEN,
            FOG_DONE,
            RHYME_DECLINED,
            TIDES_TAKEN,
            TIDES_DONE,
            BERTHS_TAKEN,
            BERTHS_DONE,
            LIGHTS_TAKEN,
            LIGHTS_ALLOWED,
            LIGHTS_DENIED,
            OTHER_TAKEN,
            OTHER_GOES_ON,
            OTHER_DONE,
        ] {
            assert!(!line.contains('?'), "{line}");
        }
        assert!(BERTHS_QUESTION.ends_with('?'));
    }
}
