//! `wst connect CLIENT --check`: what is wrong with a setup, and what to do about it. No token is printed.

use std::env;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use tower_workspace_token::jwt::{TokenLook, UncheckedClaims};

use super::{
    Asked, address, git, lines,
    live::{self, Answer},
    not_an_address, printable,
};
use crate::{
    cli::output::Output,
    clients::{Found, McpUrl, entry_name},
    error::{AppError, ErrorCode},
    scan::Finder,
    text::counted,
};

#[derive(Debug, Serialize)]
struct Checked {
    client: &'static str,
    file: &'static str,
    ok: bool,
    /// The entries that were looked at.
    entries: Vec<CheckedEntry>,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct CheckedEntry {
    name: String,
    mcp_url: Option<String>,
    variable: Option<String>,
    /// Whether the server took the token, if it was tried.
    connected: Option<bool>,
}

/// Something wrong.
#[derive(Debug, Serialize)]
struct Problem {
    code: &'static str,
    message: String,
    todo: String,
}

impl Asked<'_> {
    pub(super) async fn check(&self, output: Output) -> Result<(), AppError> {
        let expected = self.expected().await?;
        let mut checked = Checked {
            client: self.client.key,
            file: self.client.file,
            ok: false,
            entries: Vec::new(),
            problems: Vec::new(),
        };
        if let Some(text) = self.text(&mut checked.problems)? {
            let is_literal = holds_token(&text);
            if is_literal {
                checked.problems.push(self.literal_token());
            }
            self.check_entries(&text, expected.as_ref(), &mut checked)
                .await;
            let is_literal = checked
                .problems
                .iter()
                .any(|found| found.code == "literal_token");
            self.check_git(is_literal, &mut checked.problems);
        }
        checked.ok = checked.problems.is_empty();
        output.outcome(&checked, |output, checked| output.plain(&lines_of(checked)))?;
        match checked.problems.len() {
            0 => Ok(()),
            wrong => Err(AppError::new(
                ErrorCode::Failed,
                format!("the setup has {}", counted(wrong, "problem")),
            )),
        }
    }

    /// Returns the address that the client should have, if it was said which workspace.
    async fn expected(&self) -> Result<Option<McpUrl>, AppError> {
        if let Some(url) = &self.options.url {
            return Ok(Some(url.parse().map_err(not_an_address)?));
        }
        match self.options.workspace {
            None => Ok(None),
            Some(_) => Ok(Some(self.workspace().await?.0)),
        }
    }

    /// Reads the client's file. That it is not there is a problem, and no failure.
    fn text(&self, problems: &mut Vec<Problem>) -> Result<Option<String>, AppError> {
        let text = self.project.place(self.client.file)?.read()?;
        if text.is_none() {
            problems.push(Problem {
                code: "file_missing",
                message: format!("there is no {}", self.client.file),
                todo: self.write_it(),
            });
        }
        Ok(text)
    }

    async fn check_entries(&self, text: &str, expected: Option<&McpUrl>, checked: &mut Checked) {
        let entries = match self.client.entries(text) {
            Ok(entries) => entries,
            Err(why) => {
                checked.problems.push(Problem {
                    code: "file_invalid",
                    message: format!("{}: {why}", self.client.file),
                    todo: "mend the file: the client does not read it".to_owned(),
                });
                return;
            }
        };
        let ours = entries
            .iter()
            .filter(|(name, entry)| self.is_meant(name, entry, expected));
        for (name, entry) in ours {
            self.check_entry(name, entry, expected, checked).await;
        }
        if checked.entries.is_empty() {
            checked.problems.push(Problem {
                code: "entry_missing",
                message: format!("{} tells of no such workspace", self.client.file),
                todo: self.write_it(),
            });
        }
    }

    fn is_meant(&self, name: &str, entry: &Value, expected: Option<&McpUrl>) -> bool {
        let url = self.client.url_of(entry).and_then(address);
        match (expected, url) {
            (Some(expected), Some(url)) => url.workspace() == expected.workspace(),
            (Some(expected), None) => name == entry_name(expected.workspace().as_str()),
            (None, url) => url.is_some() || name.starts_with(&entry_name("")),
        }
    }

    async fn check_entry(
        &self,
        name: &str,
        entry: &Value,
        expected: Option<&McpUrl>,
        checked: &mut Checked,
    ) {
        let name = printable::line(name);
        let url = self.check_url(&name, entry, expected, &mut checked.problems);
        let variable = self.check_credential(&name, entry, &mut checked.problems);
        let given = self.options.variable.clone().filter(|_| self.client.asks());
        let variable = variable.or(given);
        let token = variable.as_deref().and_then(|variable| {
            self.check_variable(variable, url.as_ref(), &mut checked.problems)
        });
        let connected = match &url {
            None => None,
            Some(url) => {
                let variable = variable.as_deref().unwrap_or_default();
                self.check_server(url, variable, token, &mut checked.problems)
                    .await
            }
        };
        checked.entries.push(CheckedEntry {
            name,
            mcp_url: url.map(|url| url.as_str().to_owned()),
            variable,
            connected,
        });
    }

    fn check_url(
        &self,
        name: &str,
        entry: &Value,
        expected: Option<&McpUrl>,
        problems: &mut Vec<Problem>,
    ) -> Option<McpUrl> {
        let member = self.client.url_member();
        let Some(text) = self.client.url_of(entry) else {
            problems.push(Problem {
                code: "wrong_url",
                message: format!(
                    "{name} has no `{member}`, where {} looks for the address",
                    self.client.name
                ),
                todo: self.write_it(),
            });
            return None;
        };
        if self.client.has_literal_query(text) {
            push_once(problems, self.literal_token());
        }
        let Some(url) = address(text) else {
            problems.push(Problem {
                code: "wrong_url",
                message: format!("the `{member}` of {name} is no address of a workspace: such a one looks like https://HOST/mcp/ID"),
                todo: "take the address that the dashboard shows under Connect, or `wst workspace create` printed".to_owned(),
            });
            return None;
        };
        if let Some(expected) = expected
            && *expected != url
        {
            problems.push(Problem {
                code: "wrong_url",
                message: format!(
                    "{name} leads to {}, and the workspace is at {}",
                    url.as_str(),
                    expected.as_str()
                ),
                todo: self.write_it(),
            });
        }
        Some(url)
    }

    /// Returns the variable that the token comes from.
    fn check_credential(
        &self,
        name: &str,
        entry: &Value,
        problems: &mut Vec<Problem>,
    ) -> Option<String> {
        match self.client.credential_of(entry) {
            Found::Helper(None) => {
                problems.push(Problem {
                    code: "no_credential",
                    message: format!("the command of {name} is not `wst headers --url MCP_URL --token-env VARIABLE`: it was not looked into"),
                    todo: format!("{} --helper", self.write_it()),
                });
                None
            }
            Found::Literal => {
                push_once(problems, self.literal_token());
                None
            }
            Found::Nothing => {
                problems.push(Problem {
                    code: "no_credential",
                    message: format!("{name} sends no token"),
                    todo: self.write_it(),
                });
                None
            }
            Found::OtherWords(variable) => {
                problems.push(Problem {
                    code: "wrong_reference",
                    message: format!("{name} refers to {variable} in the words of another client: {} sends them as they are", self.client.name),
                    todo: format!("write `{}`, or {}", self.client.reference_to(&variable), self.write_it()),
                });
                Some(variable)
            }
            Found::Prompt => None,
            Found::Helper(Some(variable)) | Found::Variable(variable) => Some(variable),
        }
    }

    /// Returns what is in the variable, if it may be a token.
    fn check_variable(
        &self,
        variable: &str,
        url: Option<&McpUrl>,
        problems: &mut Vec<Problem>,
    ) -> Option<SecretString> {
        let set = crate::clients::export_line(variable);
        let mut wrong = |code, message: String| {
            problems.push(Problem {
                code,
                message,
                todo: format!("`{set}`, then start the client from that shell"),
            });
            None
        };
        let Some(value) = env::var_os(variable) else {
            if self.is_in_env_file(variable) {
                problems.push(Problem {
                    code: "variable_unset",
                    message: format!("{variable} stands in .env, and is not set in this shell"),
                    todo: format!("`{}`, then start the client from that shell", super::LOAD),
                });
                return None;
            }
            return wrong("variable_unset", format!("{variable} is not set"));
        };
        let value: SecretString = value.into_string().unwrap_or_default().into();
        let text = value.expose_secret();
        if text.is_empty() {
            return wrong("variable_empty", format!("{variable} is set, and empty"));
        }
        if text.starts_with("${") || text.starts_with("{env:") || text.contains('…') {
            return wrong(
                "variable_placeholder",
                format!("{variable} holds a placeholder, and no token"),
            );
        }
        // The address may be of anybody's choosing, and an environment holds tokens of many.
        let Some(claims) = claims_of_workspace_token(text) else {
            return wrong(
                "not_a_token",
                format!("{variable} holds something that is no workspace token: it was not sent"),
            );
        };
        let url = url?;
        if claims.workspace != *url.workspace() {
            return wrong(
                "other_workspace",
                format!(
                    "{variable} holds a token of another workspace, {}: it was not sent",
                    claims.workspace
                ),
            );
        }
        Some(value)
    }

    fn is_in_env_file(&self, variable: &str) -> bool {
        let Some(text) = self.secret_text(".env") else {
            return false;
        };
        let mut all = text.expose_secret().lines().filter_map(lines::assigned);
        all.any(|(name, value)| name == variable && !value.is_empty())
    }

    /// Returns whether the server took the token, if there was one to try.
    async fn check_server(
        &self,
        url: &McpUrl,
        variable: &str,
        token: Option<SecretString>,
        problems: &mut Vec<Problem>,
    ) -> Option<bool> {
        let token = match url.is_in_the_clear() {
            false => token,
            true => {
                problems.push(Problem {
                    code: "in_the_clear",
                    message: format!(
                        "{}: over http:// everybody on the way reads the token, so it was not sent",
                        url.as_str()
                    ),
                    todo: "ask for an address with https://".to_owned(),
                });
                None
            }
        };
        let was_sent = token.is_some();
        let answer = live::ask(url, token).await;
        let problem = match answer {
            Answer::Taken if was_sent => return Some(true),
            Answer::Refused if !was_sent => return None,
            Answer::Refused => Problem {
                code: "dead_token",
                message: format!("the server does not take the token in {variable}: it was regenerated or revoked, or the workspace is gone"),
                todo: format!("ask for the new token, or `wst token rotate`, and put it into {variable}"),
            },
            Answer::Unreachable(why) => Problem {
                code: "unreachable",
                message: format!("nobody answers at {}: {}", url.as_str(), printable::line(&why)),
                todo: "start the server, or mend the address".to_owned(),
            },
            Answer::Other(status) => Problem {
                code: "wrong_url",
                message: format!("{} answers {status}, which no workspace does", url.as_str()),
                todo: "take the address that the dashboard shows under Connect; a redirect is not followed".to_owned(),
            },
            Answer::Busy(status) => Problem {
                code: "unreachable",
                message: format!("the server at {} cannot answer now ({status})", url.as_str()),
                todo: "try again in a minute".to_owned(),
            },
            Answer::Taken => Problem {
                code: "wrong_url",
                message: format!("{} answers without a token, which no workspace does", url.as_str()),
                todo: "take the address that the dashboard shows under Connect".to_owned(),
            },
        };
        problems.push(problem);
        was_sent.then_some(false)
    }

    fn check_git(&self, is_literal: bool, problems: &mut Vec<Problem>) {
        let root = self.project.root();
        let shared = self.client.is_shared().then_some(self.client.file);
        let config = shared.filter(|_| is_literal);
        let patterns = [".env", ".env.*", ".envrc", "*.local.json"];
        let files: Vec<&str> = patterns.into_iter().chain(config).collect();
        let tracked = git::tracked(root, &files).unwrap_or_default();
        for file in &tracked {
            let is_config = config == Some(file.as_str());
            if is_config || file == ".env" || self.holds_token(file) {
                let shown = printable::line(file);
                let untrack = match is_plain(file) {
                    true => format!("`git rm --cached -- {file}`"),
                    // What people copy into a shell is of their own choosing, not of the project's.
                    false => "take it out with `git rm --cached`".to_owned(),
                };
                problems.push(Problem {
                    code: "tracked_secret",
                    message: format!("git tracks {shown}, which holds a token or is meant to"),
                    todo: format!("{untrack}, commit, and regenerate the token (`wst token rotate`): the history keeps it"),
                });
            }
        }
        // Git is told not to ignore this one.
        if self.holds_token(".env.example") {
            problems.push(Problem {
                code: "literal_token",
                message: ".env.example holds a token, and is there to be committed".to_owned(),
                todo: "leave the variable empty there, and regenerate the token (`wst token rotate`) if others could read the file".to_owned(),
            });
        }
        let is_tracked = tracked.iter().any(|file| file == ".env");
        let has_env = self.secret_text(".env").is_some();
        if has_env && !is_tracked && git::ignores(root, ".env") == Some(false) {
            problems.push(Problem {
                code: "not_ignored",
                message: "git does not ignore .env".to_owned(),
                todo: self.write_it(),
            });
        }
    }

    fn holds_token(&self, file: &str) -> bool {
        let text = self.secret_text(file);
        text.is_some_and(|text| holds_token(text.expose_secret()))
    }

    /// Reads a file in which a token may lie. A folder of that name is nobody's mistake.
    fn secret_text(&self, file: &str) -> Option<SecretString> {
        let text = self.project.place(file).and_then(|place| place.read());
        text.ok().flatten().map(SecretString::from)
    }

    fn literal_token(&self) -> Problem {
        Problem {
            code: "literal_token",
            message: format!(
                "{} holds a token itself, or what looks like one, in place of a variable",
                self.client.file
            ),
            todo: format!(
                "{}; then regenerate the token (`wst token rotate`) if others could read the file",
                self.write_it()
            ),
        }
    }

    fn write_it(&self) -> String {
        let whose = match (&self.options.url, &self.options.workspace) {
            (Some(url), _) => format!("--url {url}"),
            (None, Some(workspace)) => format!("--workspace '{}'", printable::line(workspace)),
            (None, None) => "--url MCP_URL".to_owned(),
        };
        format!("wst connect {} {whose} --write", self.client.key)
    }
}

/// Reads what a workspace token says of itself; anything else is `None`, other kinds of tokens included.
fn claims_of_workspace_token(text: &str) -> Option<UncheckedClaims> {
    let mut looks = TokenLook::all().filter(TokenLook::is_long_lived);
    looks.find_map(|look| look.unchecked_claims(text.as_bytes()))
}

/// Returns whether there is a token in `text`.
fn holds_token(text: &str) -> bool {
    let mut holds = false;
    Finder::new().read_short(text.as_bytes(), |found| holds |= found.is_whole);
    holds
}

/// Returns whether a shell takes the name for nothing but a name.
fn is_plain(file: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    file.bytes().all(is_plain)
}

fn push_once(problems: &mut Vec<Problem>, problem: Problem) {
    if problems.iter().all(|known| known.code != problem.code) {
        problems.push(problem);
    }
}

fn lines_of(checked: &Checked) -> String {
    let entry = |entry: &CheckedEntry| {
        let url = entry.mcp_url.as_deref().unwrap_or("no address");
        let from = match &entry.variable {
            None => String::new(),
            Some(variable) => format!(", token from {variable}"),
        };
        let state = match entry.connected {
            None => "not tried",
            Some(true) => "connected",
            Some(false) => "not connected",
        };
        format!("{}: {url}{from}: {state}\n", entry.name)
    };
    let problem =
        |problem: &Problem| format!("wrong: {}\n   do: {}\n", problem.message, problem.todo);
    let entries = checked.entries.iter().map(entry);
    entries
        .chain(checked.problems.iter().map(problem))
        .collect()
}
