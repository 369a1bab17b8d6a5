//! What a page says after a form was sent: words of ours, chosen by a word in the URL.

use serde::Deserialize;

/// The query of a page that a form leads back to.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Done {
    #[serde(default)]
    done: Option<String>,
}

impl Done {
    /// Returns the sentence; nothing for a word that is none of ours.
    pub(super) fn notice(&self) -> Option<&'static str> {
        let done = self.done.as_deref()?;
        let sentence = NOTICES.iter().find(|(word, _)| *word == done);
        sentence.map(|(_, sentence)| *sentence)
    }
}

const NOTICES: [(&str, &str); 24] = [
    ("approval", "Answered. The agent was told."),
    (
        "archived",
        "The workspace was archived, and its tokens have ended.",
    ),
    (
        "confirmed",
        "Noted: you are not reminded of that client again.",
    ),
    ("disconnected", "The connection was ended."),
    (
        "hidden",
        "Noted: out of sight until it is tried again. The token's page goes on to list it.",
    ),
    ("kept", "Nothing changes hands: the offer was taken back."),
    (
        "keys-rewrapped",
        "All tokens are sealed with the primary key now.",
    ),
    ("keys-rotated", "Each ring has a new primary key."),
    (
        "key-retired",
        "The key was retired: it is not in the key file any longer.",
    ),
    ("login", "The login was ended."),
    ("member", "The members were changed."),
    ("message", "Your message was sent."),
    ("name", "Your name was changed."),
    (
        "password",
        "Your password was changed, and your other logins have ended.",
    ),
    ("offered", "Offered. Nothing changes before they accept it."),
    ("removed", "They are no member any longer."),
    ("revoked", "The token was revoked."),
    ("rule", "The rule was taken back: you will be asked again."),
    ("saved", "Saved."),
    ("status", "The task's state was changed."),
    ("task", "The task was created."),
    (
        "unarchived",
        "The workspace is back. It has no token: make one.",
    ),
    ("user", "The user was changed."),
    ("workspace", "The workspace was deleted."),
];
