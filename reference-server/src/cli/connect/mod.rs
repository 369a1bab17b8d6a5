//! `wst connect CLIENT`: tells an MCP client of a workspace, or looks at what it was told.
//!
//! With `--url` it needs neither data directory nor server. It writes no token: files name a variable.

mod check;
mod git;
mod lines;
mod live;
mod project;

use serde::Serialize;
use tower_workspace_token::id::TokenName;

use super::{args::ConnectOptions, output::Output, printable, runner::Runner};
use crate::{
    actions::{WorkspaceLine, WorkspaceList, WorkspaceShow},
    clients::{
        Client, Connection, Credential, Found, IGNORED, McpUrl, NoMcpUrl, Unusable, export_line,
        is_variable,
    },
    config::{GlobalOptions, ServerOptions, Settings},
    error::{AppError, ErrorCode},
    variables::slot_variable,
};
use project::{Place, Project};

/// What is to be told, or was.
#[derive(Debug, Serialize)]
struct Told {
    client: &'static str,
    /// Relative to the project unless it begins with `~`.
    file: &'static str,
    /// What the client calls the workspace.
    name: String,
    mcp_url: String,
    /// The variable that the token is read from; a client that asks for the token has none.
    variable: Option<String>,
    /// What stands in the file, with nothing else around it.
    content: String,
    export: Option<String>,
    env_example: Option<String>,
    gitignore: [&'static str; 5],
    /// The line that loads `.env` into the shell.
    load: &'static str,
    /// What was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<WrittenFile>>,
}

#[derive(Debug, Serialize)]
struct WrittenFile {
    file: String,
    change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Changed,
    Created,
    Unchanged,
}

/// A workspace, and the variable with its token.
struct Target {
    url: McpUrl,
    variable: String,
}

/// Runs the command.
pub(super) fn connect(
    global: &GlobalOptions,
    output: Output,
    options: ConnectOptions,
) -> Result<(), AppError> {
    let client = Client::find(&options.client).ok_or_else(|| {
        AppError::usage("there is no such client: `wst connect --help` lists all")
    })?;
    if options.helper && !client.takes_helper() {
        return Err(AppError::usage(format!(
            "{} runs no command for its headers: leave out --helper",
            client.name
        )));
    }
    // Whatever is done, what was given is said, and it may be a token.
    let given = options.variable.as_deref();
    given.map(variable).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    runtime.block_on(async {
        let asked = Asked {
            global,
            client,
            project: Project::open(options.dir.as_deref())?,
            options,
        };
        match asked.options.check {
            true => asked.check(output).await,
            false => asked.tell(output).await,
        }
    })
}

/// What was asked for.
struct Asked<'a> {
    global: &'a GlobalOptions,
    client: &'static Client,
    project: Project,
    options: ConnectOptions,
}

impl Asked<'_> {
    async fn tell(&self, output: Output) -> Result<(), AppError> {
        let client = self.client;
        let place = self.project.place(client.file)?;
        let target = self.target(&place).await?;
        let variable = target.variable.clone();
        let credential = match self.options.helper {
            true => Credential::Helper(variable),
            false => Credential::Variable(variable),
        };
        let id = target.url.workspace().as_str();
        let mut connection = Connection::new(id, target.url.as_str().to_owned(), credential);
        let content = client.content(&connection);
        let files = match self.options.write {
            false => None,
            true => {
                self.keep_name(&place, &target.url, &mut connection)?;
                Some(self.write(&place, &connection, &target.variable)?)
            }
        };
        let variable = (!client.asks()).then_some(target.variable);
        let told = Told {
            client: client.key,
            file: client.file,
            name: connection.name,
            mcp_url: connection.url,
            export: variable.as_deref().map(export_line),
            env_example: variable.as_deref().map(lines::example_line),
            variable,
            content,
            gitignore: IGNORED,
            load: LOAD,
            files,
        };
        if target.url.is_in_the_clear() {
            output.advice("warning: over http:// everybody on the way reads the token; ask for an address with https://");
        }
        output.outcome(&told, |output, told| self.print(output, told))
    }

    fn print(&self, output: Output, told: &Told) -> Result<(), AppError> {
        match &told.files {
            None => {
                output.plain(&told.content)?;
                output.advice(&format!(
                    "put this into {}, or have it put there with --write; it holds no secret",
                    told.file
                ));
            }
            Some(files) => {
                let line = |file: &WrittenFile| format!("{}: {}\n", file.file, file.change.words());
                output.plain(&files.iter().map(line).collect::<String>())?;
            }
        }
        match &told.export {
            None => output.advice(&format!(
                "{} asks for the token when it connects",
                self.client.name
            )),
            Some(export) => {
                output.advice(
                    "put the token into the variable, in the shell that starts the client:",
                );
                output.advice(&format!("  {export}"));
            }
        }
        if told.files.is_none() {
            if let Some(line) = &told.env_example {
                output.advice("tell others of the variable in .env.example:");
                output.advice(&format!("  {line}"));
            }
            output.advice("keep the token out of git in .gitignore:");
            for pattern in told.gitignore {
                output.advice(&format!("  {pattern}"));
            }
        }
        if self.options.env_file {
            output.advice("or put it into .env, and load that into the shell:");
            output.advice(&format!("  {}", told.load));
        }
        output.advice(&format!("then: wst connect {} --check", self.client.key));
        Ok(())
    }

    /// An entry of this address under another name is the one that is changed: two would be two connections.
    fn keep_name(
        &self,
        place: &Place,
        url: &McpUrl,
        connection: &mut Connection,
    ) -> Result<(), AppError> {
        let entries = self.entries(place)?;
        if entries.iter().any(|(name, _)| *name == connection.name) {
            return Ok(());
        }
        let is_it = |entry: &serde_json::Value| {
            let found = self.client.url_of(entry);
            found.and_then(address) == Some(url.clone())
        };
        if let Some((name, _)) = entries.into_iter().find(|(_, entry)| is_it(entry)) {
            connection.name = name;
        }
        Ok(())
    }

    fn entries(&self, place: &Place) -> Result<Vec<(String, serde_json::Value)>, AppError> {
        let text = place.read()?.unwrap_or_default();
        let entries = self.client.entries(&text);
        entries.map_err(|why| unusable(place, &why))
    }

    fn write(
        &self,
        place: &Place,
        connection: &Connection,
        variable: &str,
    ) -> Result<Vec<WrittenFile>, AppError> {
        // All is read and understood before anything is written.
        let before = place.read()?;
        let text = before.as_deref().unwrap_or_default();
        let after = self.client.merge(text, connection);
        let after = after.map_err(|why| unusable(place, &why))?;
        let mut edits = Vec::new();
        let mut line_edit = |file, change: &dyn Fn(&str) -> String| {
            let place = self.project.place(file)?;
            let before = place.read()?;
            let after = change(before.as_deref().unwrap_or_default());
            edits.push((place, before, after));
            Ok::<_, AppError>(())
        };
        line_edit(".gitignore", &lines::with_ignored)?;
        if !self.client.asks() {
            line_edit(".env.example", &|text| lines::with_variable(text, variable))?;
        }
        let mut files = Vec::new();
        for (place, before, after) in &edits {
            files.push(write_file(place, before.as_deref(), after)?);
        }
        files.push(write_file(place, before.as_deref(), &after)?);
        files.rotate_right(1);
        Ok(files)
    }

    async fn target(&self, place: &Place) -> Result<Target, AppError> {
        let slot: TokenName =
            self.options.name.parse().map_err(|_| {
                AppError::invalid("the name of a token is 1 to 63 of a-z, 0-9 and -")
            })?;
        let given = self.options.variable.clone();
        if let Some(text) = &self.options.url {
            let url: McpUrl = text.parse().map_err(not_an_address)?;
            let chosen = match given {
                Some(variable) => variable,
                None => self
                    .known_variable(place, &url, &slot)?
                    .unwrap_or_else(|| slot_variable(url.workspace().as_str(), slot.as_str())),
            };
            return Ok(Target {
                url,
                variable: chosen,
            });
        }
        let (url, name) = self.workspace().await?;
        Ok(Target {
            url,
            variable: given.unwrap_or_else(|| slot_variable(&name, slot.as_str())),
        })
    }

    /// Returns the variable that the project's file names for the workspace: whoever wrote it knew its name.
    fn known_variable(
        &self,
        place: &Place,
        url: &McpUrl,
        slot: &TokenName,
    ) -> Result<Option<String>, AppError> {
        if *slot != TokenName::primary() {
            return Ok(None);
        }
        let entries = self.entries(place)?;
        let mut entries = entries.iter().map(|(_, entry)| entry);
        let is_it = |entry: &&serde_json::Value| {
            let found = self.client.url_of(entry);
            found.and_then(address).as_ref() == Some(url)
        };
        let credential = entries
            .find(is_it)
            .map(|entry| self.client.credential_of(entry));
        Ok(match credential {
            Some(Found::Variable(variable) | Found::Helper(Some(variable))) => Some(variable),
            _ => None,
        })
    }

    /// Asks the server, or its database, for the address and the name of the workspace.
    async fn workspace(&self) -> Result<(McpUrl, String), AppError> {
        let settings = Settings::settle(self.global, ServerOptions::from_variables()?)?;
        let runner = Runner::find(&settings).await;
        let runner = runner.map_err(|error| match error.code() {
            ErrorCode::NoDataDir => error.with_hint("or give the workspace's address with --url"),
            _ => error,
        })?;
        let workspace = match &self.options.workspace {
            Some(workspace) => workspace.clone(),
            None => the_only(runner.call(WorkspaceList {}).await?.workspaces)?,
        };
        let shown = runner.call(WorkspaceShow { workspace }).await?.workspace;
        if shown.archived {
            return Err(AppError::new(
                ErrorCode::Archived,
                "the workspace is archived: nobody can connect to it",
            )
            .with_hint("`wst workspace unarchive`"));
        }
        let url = shown.mcp_url.parse().map_err(not_an_address)?;
        Ok((url, shown.name))
    }
}

impl Change {
    fn words(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Created => "created",
            Self::Unchanged => "nothing to change",
        }
    }
}

fn write_file(place: &Place, before: Option<&str>, after: &str) -> Result<WrittenFile, AppError> {
    let change = match before {
        Some(before) if before == after => Change::Unchanged,
        Some(_) => Change::Changed,
        None => Change::Created,
    };
    if change != Change::Unchanged {
        place.replace(after)?;
    }
    Ok(WrittenFile {
        file: place.shown.clone(),
        change,
    })
}

/// Reads the address of an entry, with or without a token behind it.
fn address(text: &str) -> Option<McpUrl> {
    let before = text.split(['?', '#']).next()?;
    before.parse().ok()
}

fn the_only(mut workspaces: Vec<WorkspaceLine>) -> Result<String, AppError> {
    workspaces.retain(|workspace| !workspace.archived);
    match workspaces.len() {
        0 => Err(AppError::new(ErrorCode::NotFound, "there is no workspace")
            .with_hint("`wst workspace create NAME` makes one")),
        1 => Ok(workspaces.remove(0).id),
        _ => {
            let names = workspaces.iter().map(|one| printable::line(&one.name));
            let names: Vec<String> = names.collect();
            Err(AppError::usage(format!(
                "there are several workspaces: say which with --workspace, of {}",
                names.join(", ")
            )))
        }
    }
}

/// Takes the name of a variable; whatever else it is, is not repeated.
fn variable(name: &str) -> Result<(), AppError> {
    match is_variable(name) {
        true => Ok(()),
        false => Err(AppError::usage(
            "--variable takes the name of a variable, of letters, digits and _, and never a token",
        )),
    }
}

fn not_an_address(why: NoMcpUrl) -> AppError {
    AppError::usage(why.to_string())
}

fn unusable(place: &Place, why: &Unusable) -> AppError {
    AppError::new(
        ErrorCode::Failed,
        format!(
            "{}: {why}; mend it, then try again (nothing was changed)",
            place.shown
        ),
    )
}

/// Reads `.env` into the shell: few clients do so by themselves.
const LOAD: &str = "set -a; . ./.env; set +a";
