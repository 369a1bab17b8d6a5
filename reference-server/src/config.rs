//! The server's options: from the command line, then `WST_*` variables, then a TOML file, then defaults.

use std::{fs, net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, Parser};
use serde::{Deserialize, Deserializer, de};

use crate::{
    addresses::{DEFAULT_LISTEN, Domain, PublicUrl},
    data_dir::keys::KeySource,
    error::AppError,
};

/// The options that every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct GlobalOptions {
    /// The directory with the database and the keys [default: ./data]
    #[arg(long, global = true, env = "WST_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// A TOML file with options, named as on the command line with `_` for `-`
    #[arg(long, global = true, env = "WST_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// What to log, as `level` or `target=level,...` [default: info]
    #[arg(long, global = true, env = "WST_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// The options of the server, which other commands take from variables and the file alone.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerOptions {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, env = "WST_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// The URL by which clients reach the server [default: where it listens]
    #[arg(long, env = "WST_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<PublicUrl>,

    /// Show workspaces as hosts of this domain in place of paths; accepted by default: mcp.HOST
    #[arg(long, env = "WST_MCP_DOMAIN", value_name = "DOMAIN")]
    pub(crate) mcp_domain: Option<Domain>,

    /// The database [possible values: sqlite] [default: sqlite]
    #[arg(
        long,
        env = "WST_DATABASE",
        hide_env_values = true,
        value_name = "DATABASE"
    )]
    pub(crate) database: Option<String>,

    /// A file with the keys, such as a systemd credential [default: in the data directory]
    #[arg(long, env = "WST_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// All options, settled.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) log: String,
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) mcp_domain: Option<Domain>,
    pub(crate) keys: KeySource,
}

/// What a TOML file may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    data_dir: Option<PathBuf>,
    log: Option<String>,
    listen: Option<SocketAddr>,
    #[serde(default, deserialize_with = "parsed")]
    public_url: Option<PublicUrl>,
    #[serde(default, deserialize_with = "parsed")]
    mcp_domain: Option<Domain>,
    database: Option<String>,
    key_file: Option<PathBuf>,
}

/// Reads the server's options from variables, for commands that do not take them as arguments.
#[derive(Parser)]
#[command(name = "wst")]
struct Variables {
    #[command(flatten)]
    server: ServerOptions,
}

impl ServerOptions {
    /// Reads the options from `WST_*` variables.
    pub(crate) fn from_variables() -> Result<Self, AppError> {
        Variables::try_parse_from(["wst"])
            .map(|variables| variables.server)
            .map_err(|error| AppError::usage(usage_message(&error.render().to_string())))
    }
}

impl Settings {
    /// Settles the options: what was given first, then the file, then the defaults.
    pub(crate) fn settle(global: &GlobalOptions, server: ServerOptions) -> Result<Self, AppError> {
        let file = match &global.config {
            None => ConfigFile::default(),
            Some(path) => ConfigFile::read(path)
                .map_err(|problem| AppError::usage(format!("{}: {problem}", path.display())))?,
        };
        check_database(server.database.or(file.database).as_deref())?;
        let key_file = server.key_file.or(file.key_file);
        Ok(Self {
            data_dir: (global.data_dir.clone().or(file.data_dir))
                .unwrap_or_else(|| PathBuf::from("data")),
            log: (global.log.clone().or(file.log)).unwrap_or_else(|| "info".to_owned()),
            listen: server.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            public_url: server.public_url.or(file.public_url),
            mcp_domain: server.mcp_domain.or(file.mcp_domain),
            keys: key_file.map_or(KeySource::DataDir, KeySource::Given),
        })
    }
}

impl ConfigFile {
    fn read(path: &PathBuf) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        toml::from_str(&text).map_err(|error| {
            // Its own text would quote the line, and with it whatever secret is there.
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            format!("line {line}: {}", error.message())
        })
    }
}

/// Refuses every database but the one that there is, without a word of what was given: it may hold a
/// password, which is also why clap, who would quote it, does not check it.
fn check_database(database: Option<&str>) -> Result<(), AppError> {
    match database {
        None | Some("sqlite") => Ok(()),
        Some(_) => Err(AppError::usage("the database can only be `sqlite`")),
    }
}

/// Returns what clap has to say, without what it adds for its own: the last paragraph is about `--help`.
pub(crate) fn usage_message(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text).trim();
    let text = text
        .strip_suffix("For more information, try '--help'.")
        .unwrap_or(text);
    text.trim().to_owned()
}

fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map(Some)
        .map_err(|error: T::Err| de::Error::custom(error.to_string()))
}
