//! MCP clients and how each is told of a workspace: the one place that knows their files and their syntax.
//!
//! The dashboard's guides and `wst connect` both read it. The token itself is in none of the files: they
//! hold the name of a variable.

mod address;
mod entry;
mod guide;
mod json;
mod reference;
mod toml;

pub(crate) use address::{McpUrl, NoMcpUrl};
pub(crate) use entry::{Connection, Credential, entry_name};
pub(crate) use guide::{ClientGuide, export_line, guides, restart};
pub(crate) use reference::is_variable;

use std::fmt;

use serde_json::Value;

use entry::{Edit, Member};
use reference::Reference;

/// What is known of one client.
#[derive(Debug)]
pub(crate) struct Client {
    /// As in `wst connect`.
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    /// The file with its servers, relative to the project unless it begins with `~`.
    pub(crate) file: &'static str,
    /// How it is started again after a rotation.
    pub(crate) restart: &'static str,
    syntax: Syntax,
    /// The member of the file that holds the servers by their names.
    servers: &'static str,
    /// What says of an entry that it is reached over HTTP, and what else has to stand there.
    marks: &'static [(&'static str, Mark)],
    /// The member of an entry that is its address.
    url: &'static str,
    token: TokenFrom,
}

/// How a file is written.
#[derive(Clone, Copy, Debug)]
enum Syntax {
    Json {
        comments: bool,
        trailing_commas: bool,
    },
    Toml,
}

#[derive(Clone, Copy, Debug)]
enum Mark {
    Flag(bool),
    Text(&'static str),
}

/// How a client comes by the token.
#[derive(Clone, Copy, Debug)]
enum TokenFrom {
    /// A header whose value refers to the variable.
    Header(Reference),
    /// It asks for the token and keeps it.
    Prompt,
    /// A member of the entry names the variable.
    VariableNamedBy(&'static str),
}

/// Why a client's file cannot be read or changed. Its text holds nothing of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Two members of one name: which of them the client takes is not known here.
    Doubled(&'static str),
    /// It is none of its syntax, from this line on.
    Invalid { language: &'static str, line: usize },
    /// Something else stands where this has to be a table or list.
    NotA(&'static str, &'static str),
}

/// All clients, in the order in which people are shown them.
pub(crate) static CLIENTS: [Client; 7] = [
    Client {
        key: "claude-code",
        name: "Claude Code",
        file: ".mcp.json",
        restart: "ctrl+c, then claude",
        // Seen: a comment makes it ignore the whole file.
        syntax: Syntax::Json {
            comments: false,
            trailing_commas: false,
        },
        servers: "mcpServers",
        marks: &[("type", Mark::Text("http"))],
        url: "url",
        token: TokenFrom::Header(Reference::Braces),
    },
    Client {
        key: "gemini",
        name: "Gemini CLI",
        file: ".gemini/settings.json",
        restart: "/quit, then gemini",
        // Seen: it takes comments out and leaves trailing commas to a strict parser.
        syntax: Syntax::Json {
            comments: true,
            trailing_commas: false,
        },
        servers: "mcpServers",
        marks: &[],
        url: "httpUrl",
        token: TokenFrom::Header(Reference::BracesOrBare),
    },
    Client {
        key: "codex",
        name: "Codex",
        file: ".codex/config.toml",
        restart: "ctrl+c, then codex",
        syntax: Syntax::Toml,
        servers: "mcp_servers",
        marks: &[],
        url: "url",
        token: TokenFrom::VariableNamedBy("bearer_token_env_var"),
    },
    Client {
        key: "opencode",
        name: "opencode",
        file: "opencode.json",
        restart: "ctrl+c, then opencode",
        syntax: Syntax::JSONC,
        servers: "mcp",
        marks: &[
            ("type", Mark::Text("remote")),
            // Otherwise it answers a refused token by a login that nobody offers.
            ("oauth", Mark::Flag(false)),
        ],
        url: "url",
        token: TokenFrom::Header(Reference::BracesEnv),
    },
    Client {
        key: "vscode",
        name: "VS Code",
        file: ".vscode/mcp.json",
        restart: "MCP: List Servers, then Restart; it asks for the token again",
        syntax: Syntax::JSONC,
        servers: "servers",
        marks: &[("type", Mark::Text("http"))],
        url: "url",
        token: TokenFrom::Prompt,
    },
    Client {
        key: "cursor",
        name: "Cursor",
        file: ".cursor/mcp.json",
        restart: "quit Cursor, and start it from a shell that has the new variable",
        syntax: Syntax::JSONC,
        servers: "mcpServers",
        marks: &[],
        url: "url",
        token: TokenFrom::Header(Reference::DollarBracesEnv),
    },
    Client {
        key: "windsurf",
        name: "Windsurf",
        file: "~/.codeium/windsurf/mcp_config.json",
        restart: "quit Windsurf, and start it from a shell that has the new variable",
        syntax: Syntax::JSONC,
        servers: "mcpServers",
        marks: &[],
        url: "serverUrl",
        token: TokenFrom::Header(Reference::DollarBracesEnv),
    },
];

/// What git is told to ignore, since one of these holds the token itself. The last word on
/// `.env.example`, which holds none, comes after the pattern that covers it.
pub(crate) const IGNORED: [&str; 5] = [".env", ".env.*", "!.env.example", ".envrc", "*.local.json"];

impl Syntax {
    /// JSON with comments and trailing commas.
    const JSONC: Self = Self::Json {
        comments: true,
        trailing_commas: true,
    };
}

impl Client {
    /// Returns the client of this key.
    pub(crate) fn find(key: &str) -> Option<&'static Self> {
        CLIENTS.iter().find(|client| client.key == key)
    }

    /// Returns whether the file is the project's, so that others get it with a clone.
    pub(crate) fn is_shared(&self) -> bool {
        !self.file.starts_with('~')
    }

    /// Returns whether the client asks for the token itself, so that no variable has to be set.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.token, TokenFrom::Prompt)
    }

    /// Returns whether it can run a command that prints the headers.
    pub(crate) fn takes_helper(&self) -> bool {
        self.key == "claude-code"
    }

    /// Returns a whole file with nothing but `connection` in it.
    pub(crate) fn content(&self, connection: &Connection) -> String {
        self.merge("", connection)
            .expect("an empty file takes any entry")
    }

    /// Puts `connection` into the `text` of the client's file, and keeps everything else that is there.
    ///
    /// # Errors
    /// The text is not what the client reads, or something else stands in the place.
    pub(crate) fn merge(&self, text: &str, connection: &Connection) -> Result<String, Unusable> {
        let edit = self.edit(connection);
        match self.syntax {
            Syntax::Json { .. } => json::merge(text, self.syntax, &edit),
            Syntax::Toml => toml::merge(text, &edit),
        }
    }

    /// Reads the entries in the `text` of the client's file.
    ///
    /// # Errors
    /// The text is not what the client reads.
    pub(crate) fn entries(&self, text: &str) -> Result<Vec<(String, Value)>, Unusable> {
        let (file, table) = match self.syntax {
            Syntax::Json { .. } => (json::read(text, self.syntax)?, "object"),
            Syntax::Toml => (toml::read(text)?, "table"),
        };
        match file.get(self.servers) {
            None => Ok(Vec::new()),
            Some(Value::Object(entries)) => Ok(entries.clone().into_iter().collect()),
            Some(_) => Err(Unusable::NotA(self.servers, table)),
        }
    }

    /// Returns the address of an entry, as it stands there.
    pub(crate) fn url_of<'a>(&self, entry: &'a Value) -> Option<&'a str> {
        entry.get(self.url)?.as_str()
    }

    /// Returns the member that holds an entry's address.
    pub(crate) fn url_member(&self) -> &'static str {
        self.url
    }

    /// Returns how an entry comes by its token.
    pub(crate) fn credential_of(&self, entry: &Value) -> Found {
        if self.takes_helper()
            && let Some(command) = entry.get(HELPER).and_then(Value::as_str)
        {
            return Found::Helper(helper_variable(command));
        }
        match self.token {
            TokenFrom::VariableNamedBy(member) => named_variable(entry, member),
            TokenFrom::Header(own) => match authorization(entry) {
                None => self.in_query(entry, own),
                Some(value) => own.find(value),
            },
            TokenFrom::Prompt => match authorization(entry) {
                None => self.in_query(entry, Reference::DollarBracesEnv),
                Some(value) if value.starts_with("Bearer ${input:") => Found::Prompt,
                Some(value) => Reference::DollarBracesEnv.find(value),
            },
        }
    }

    /// Looks for the older form, `?token=`.
    fn in_query(&self, entry: &Value, own: Reference) -> Found {
        let url = self.url_of(entry).unwrap_or_default();
        match query_token(url) {
            None => Found::Nothing,
            Some(token) => own.find_bare(token),
        }
    }

    /// Returns whether an entry's address brings a token that is no variable.
    pub(crate) fn has_literal_query(&self, url: &str) -> bool {
        let own = match self.token {
            TokenFrom::Header(own) => own,
            TokenFrom::Prompt | TokenFrom::VariableNamedBy(_) => Reference::DollarBracesEnv,
        };
        query_token(url).is_some_and(|token| own.find_bare(token) == Found::Literal)
    }
    /// Returns how this client refers to a variable, for people.
    pub(crate) fn reference_to(&self, variable: &str) -> String {
        match self.token {
            TokenFrom::Header(reference) => format!("Bearer {}", reference.to(variable)),
            TokenFrom::VariableNamedBy(member) => format!("{member} = \"{variable}\""),
            TokenFrom::Prompt => "Bearer ${input:…}".to_owned(),
        }
    }

    fn edit<'a>(&self, connection: &'a Connection) -> Edit<'a> {
        let mut members: Vec<Member> = self.marks.iter().map(Member::mark).collect();
        members.push(Member::text(self.url, &connection.url));
        let mut input = None;
        match (&connection.credential, self.token) {
            (Credential::Helper(variable), _) => members.push(Member::text(
                HELPER,
                &helper_command(&connection.url, variable),
            )),
            (Credential::Variable(variable), TokenFrom::Header(reference)) => {
                members.push(Member::authorization(&reference.to(variable)));
            }
            (Credential::Variable(variable), TokenFrom::VariableNamedBy(member)) => {
                members.push(Member::text(member, variable));
            }
            (Credential::Variable(_), TokenFrom::Prompt) => {
                // One for each workspace: VS Code keeps what was typed by this id.
                let id = format!("{}-token", connection.name);
                members.push(Member::authorization(&format!("${{input:{id}}}")));
                input = Some(id);
            }
        }
        Edit {
            servers: self.servers,
            name: &connection.name,
            members,
            input,
        }
    }
}

/// How an entry comes by its token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A command prints it, from this variable if it can be told.
    Helper(Option<String>),
    /// Something that is no variable: most likely the token itself.
    Literal,
    Nothing,
    /// A variable in the words of another client, which this one does not understand.
    OtherWords(String),
    /// The client asks for it.
    Prompt,
    Variable(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Doubled(name) => write!(f, "{name} holds two members of one name"),
            Self::Invalid { language, line } => {
                write!(
                    f,
                    "it is not the {language} that the client reads: see line {line}"
                )
            }
            Self::NotA(name, what) => write!(f, "{name} in it is no {what}"),
        }
    }
}

/// Looks where Codex does.
fn named_variable(entry: &Value, member: &str) -> Found {
    if let Some(variable) = entry.get(member).and_then(Value::as_str) {
        return match is_variable(variable) {
            true => Found::Variable(variable.to_owned()),
            false => Found::Literal,
        };
    }
    let literal = entry.get("bearer_token").is_some()
        || entry.get("http_headers").is_some_and(has_authorization);
    match literal {
        true => Found::Literal,
        false => Found::Nothing,
    }
}

fn query_token(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = query.split(['&', '#']);
    pairs.find_map(|pair| pair.strip_prefix("token="))
}

fn authorization(entry: &Value) -> Option<&str> {
    let headers = entry.get("headers")?.as_object()?;
    let mut all = headers.iter();
    let (_, value) = all.find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    value.as_str()
}

fn has_authorization(headers: &Value) -> bool {
    let is_it = |name: &String| name.eq_ignore_ascii_case("authorization");
    headers
        .as_object()
        .is_some_and(|headers| headers.keys().any(is_it))
}

fn helper_command(url: &str, variable: &str) -> String {
    format!("wst headers --url {url} --token-env {variable}")
}

fn helper_variable(command: &str) -> Option<String> {
    let mut words = command.split_whitespace();
    words.find(|word| *word == "--token-env")?;
    let variable = words.next()?;
    is_variable(variable).then(|| variable.to_owned())
}

/// The member of Claude Code's entries that names a command, which prints a JSON object of headers.
const HELPER: &str = "headersHelper";
