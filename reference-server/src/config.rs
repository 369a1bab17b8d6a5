//! The server's options: from the command line, then `WST_*` variables, then a TOML file, then defaults.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    env, fs,
    net::SocketAddr,
    num::NonZeroU32,
    path::{self, Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, Parser, builder::BoolishValueParser, parser::ValueSource};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, de};

use tower_workspace_token::token::{AccessTokenLife, InvalidAccessTokenLife};

use crate::{
    addresses::{DEFAULT_LISTEN, Domain, PublicUrl},
    at_rest::{AtRest, Seal},
    data_dir::{
        KEY_FILE,
        keys::{KeySource, read_private},
    },
    db::DatabasePlace,
    error::AppError,
    http::client_address::{ProxyHeader, TrustedProxy},
    limits::Limits,
    listener::{Listening, certificate::CertificateFiles},
    rollback::JournalChoice,
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

    /// Which of all options stand on the command line itself.
    #[arg(skip)]
    pub(crate) given: Given,
}

/// The names of the options that stand on the command line, and not in a variable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given(BTreeSet<String>);

/// The options of the server, which other commands take from variables and the file alone.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerOptions {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, env = "WST_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// A file with the certificate for TLS and its chain, in PEM; read again when it changes
    #[arg(long, env = "WST_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// A file with the certificate's key, in PEM
    #[arg(long, env = "WST_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// A network whose hosts are proxies in front of the server; may be repeated
    #[arg(
        long,
        env = "WST_TRUSTED_PROXY",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub(crate) trusted_proxy: Vec<TrustedProxy>,

    /// Which headers trusted proxies set [default: x-forwarded]
    #[arg(long, env = "WST_PROXY_HEADER", value_name = "HEADER")]
    pub(crate) proxy_header: Option<ProxyHeader>,

    /// Let everybody on the way read logins and tokens: listen beyond loopback without TLS
    #[arg(long, env = "WST_INSECURE_HTTP", value_parser = BoolishValueParser::new())]
    pub(crate) insecure_http: bool,

    /// Where to show metrics and health, such as 127.0.0.1:9090 [default: nowhere]
    #[arg(long, env = "WST_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) admin_listen: Option<SocketAddr>,

    /// Let everybody who reaches the admin listener read metrics: it may listen beyond loopback
    #[arg(long, env = "WST_INSECURE_ADMIN", value_parser = BoolishValueParser::new())]
    pub(crate) insecure_admin: bool,

    /// How many connections may be open at a time; more wait [default: 16384]
    #[arg(long, env = "WST_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub(crate) max_connections: Option<NonZeroU32>,

    /// How many of them may be of one address; more are closed at once. Loopback and trusted proxies may
    /// have all [default: a quarter]
    #[arg(long, env = "WST_CONNECTIONS_PER_SOURCE", value_name = "NUMBER")]
    pub(crate) connections_per_source: Option<NonZeroU32>,

    /// How many calls and streams of one token may be open at a time [default: 1024]
    #[arg(long, env = "WST_CALLS_PER_TOKEN", value_name = "NUMBER")]
    pub(crate) calls_per_token: Option<NonZeroU32>,

    /// How many tokens of one source may fail at one workspace in a minute [default: 60]
    #[arg(long, env = "WST_FAILED_TOKENS_PER_MINUTE", value_name = "NUMBER")]
    pub(crate) failed_tokens_per_minute: Option<NonZeroU32>,

    /// How many seconds an access token lets in, 60 to 3600 [default: 900]
    #[arg(long, env = "WST_ACCESS_TOKEN_LIFE", value_name = "SECONDS")]
    pub(crate) access_token_life: Option<LifeSeconds>,

    /// The URL by which clients reach the server [default: where it listens]
    #[arg(long, env = "WST_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<PublicUrl>,

    /// Show workspaces as hosts of this domain in place of paths; accepted by default: mcp.HOST
    #[arg(long, env = "WST_MCP_DOMAIN", value_name = "DOMAIN")]
    pub(crate) mcp_domain: Option<Domain>,

    /// The database: `sqlite`, a file in the data directory, or, for several servers that share one,
    /// postgres://USER@HOST/NAME [default: sqlite]
    #[arg(
        long,
        env = "WST_DATABASE",
        hide_env_values = true,
        value_name = "DATABASE",
        value_parser = secret
    )]
    pub(crate) database: Option<SecretString>,

    /// A private file that says which database, where the URL holds a password
    #[arg(
        long,
        env = "WST_DATABASE_FILE",
        value_name = "FILE",
        conflicts_with = "database"
    )]
    pub(crate) database_file: Option<PathBuf>,

    /// A file with the keys, such as a systemd credential [default: in the data directory]
    #[arg(long, env = "WST_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// A file, best on another volume, by which a database that was put back from an old copy is noticed;
    /// `none` ends its use [default: the one used before, if any]
    #[arg(long, env = "WST_ROLLBACK_JOURNAL", value_name = "FILE")]
    pub(crate) rollback_journal: Option<JournalChoice>,

    /// What of a token the database holds, sealed [default: as before, and the token in a new one]
    #[arg(long, env = "WST_SEAL", value_name = "WHAT")]
    pub(crate) seal: Option<Seal>,

    /// Fill a new data directory with a workspace to look around in, and play an agent in it
    #[arg(long, env = "WST_DEMO", value_parser = BoolishValueParser::new())]
    pub(crate) demo: bool,
}

/// The life of access tokens, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "u64")]
pub(crate) struct LifeSeconds(AccessTokenLife);

impl TryFrom<u64> for LifeSeconds {
    type Error = InvalidAccessTokenLife;

    fn try_from(seconds: u64) -> Result<Self, InvalidAccessTokenLife> {
        Duration::from_secs(seconds).try_into().map(Self)
    }
}

impl FromStr for LifeSeconds {
    type Err = InvalidAccessTokenLife;

    fn from_str(text: &str) -> Result<Self, InvalidAccessTokenLife> {
        let seconds: u64 = text.parse().map_err(|_| InvalidAccessTokenLife)?;
        seconds.try_into()
    }
}

/// All options, settled.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) log: String,
    pub(crate) listening: Listening,
    pub(crate) limits: Limits,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) mcp_domain: Option<Domain>,
    pub(crate) database: DatabasePlace,
    pub(crate) keys: KeySource,
    pub(crate) at_rest: AtRest,
    pub(crate) demo: bool,
    /// The same for readers, and where each comes from.
    pub(crate) lines: Vec<SettingLine>,
}

/// An option as the administrator's page shows it. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SettingLine {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

impl Settings {
    /// Returns whether anybody said which database is to be used.
    pub(crate) fn is_database_named(&self) -> bool {
        let names = ["database", "database_file"];
        let mut lines = self.lines.iter();
        lines.any(|line| names.contains(&&*line.name) && line.origin != Origin::Default)
    }

    /// Returns where the data directory was named.
    pub(crate) fn data_dir_origin(&self) -> Origin {
        let line = self.lines.iter().find(|line| line.name == "data_dir");
        line.map_or(Origin::Default, |line| line.origin)
    }
}

/// Where the value of an option comes from, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    CommandLine,
    Variable,
    File,
    Default,
}

impl Origin {
    /// Returns it in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::CommandLine => "command line",
            Self::Variable => "variable",
            Self::File => "file",
            Self::Default => "default",
        }
    }
}

/// What a TOML file may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    data_dir: Option<PathBuf>,
    log: Option<String>,
    listen: Option<SocketAddr>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    #[serde(default, deserialize_with = "all_parsed")]
    trusted_proxy: Vec<TrustedProxy>,
    proxy_header: Option<ProxyHeader>,
    #[serde(default)]
    insecure_http: bool,
    admin_listen: Option<SocketAddr>,
    #[serde(default)]
    insecure_admin: bool,
    max_connections: Option<NonZeroU32>,
    connections_per_source: Option<NonZeroU32>,
    calls_per_token: Option<NonZeroU32>,
    failed_tokens_per_minute: Option<NonZeroU32>,
    access_token_life: Option<LifeSeconds>,
    #[serde(default, deserialize_with = "parsed")]
    public_url: Option<PublicUrl>,
    #[serde(default, deserialize_with = "parsed")]
    mcp_domain: Option<Domain>,
    #[serde(default, deserialize_with = "secret_text")]
    database: Option<SecretString>,
    database_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "parsed")]
    rollback_journal: Option<JournalChoice>,
    seal: Option<Seal>,
    #[serde(default)]
    demo: bool,
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
            .map_err(|error| AppError::usage(usage_message(&error)))
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
        let mut lines = Lines::of(&global.given);
        let listening = lines.listening(&server, &file)?;
        let limits = lines.limits(&server, &file);
        let database = lines.database(&server, &file)?;
        let data_dir = lines
            .pick("data_dir", global.data_dir.clone(), file.data_dir)
            .unwrap_or_else(|| PathBuf::from("data"));
        lines.show("data_dir", data_dir.display());
        let log = lines
            .pick("log", global.log.clone(), file.log)
            .unwrap_or_else(|| "info".to_owned());
        lines.show("log", &log);
        let public_url = lines.pick("public_url", server.public_url, file.public_url);
        lines.show_or("public_url", public_url.as_ref(), "where it listens");
        let mcp_domain = lines.pick("mcp_domain", server.mcp_domain, file.mcp_domain);
        lines.show_or("mcp_domain", mcp_domain.as_ref(), "paths are shown");
        let key_file = lines.pick("key_file", server.key_file, file.key_file);
        // Told to commands, which are run elsewhere.
        let absolute = |path: PathBuf| path::absolute(&path).unwrap_or(path);
        let key_file = key_file.map(absolute).or_else(credential);
        let shown = key_file.as_ref().map(|path| path.display());
        lines.show_or("key_file", shown, "in the data directory");
        let journal = lines.pick(
            "rollback_journal",
            server.rollback_journal,
            file.rollback_journal,
        );
        lines.show_or("rollback_journal", journal.as_ref(), "as before");
        let seal = lines.pick("seal", server.seal, file.seal);
        lines.show_or("seal", seal, "as before");
        let life = lines.pick(
            "access_token_life",
            server.access_token_life,
            file.access_token_life,
        );
        let access_token_life = life.unwrap_or_default().0;
        lines.show("access_token_life", access_token_life.duration().as_secs());
        let demo = lines.pick_any("demo", &server.demo, &file.demo);
        lines.show("demo", demo);
        Ok(Self {
            data_dir,
            log,
            listening,
            limits,
            public_url,
            mcp_domain,
            database,
            keys: key_file.map_or(KeySource::DataDir, KeySource::Given),
            at_rest: AtRest {
                rollback_journal: journal.unwrap_or_default(),
                seal,
                access_token_life,
            },
            demo,
            lines: lines.lines,
        })
    }
}

/// Settles one option after the other, and keeps where each comes from.
struct Lines<'a> {
    given: &'a Given,
    origin: Origin,
    lines: Vec<SettingLine>,
}

impl<'a> Lines<'a> {
    fn of(given: &'a Given) -> Self {
        Self {
            given,
            origin: Origin::Default,
            lines: Vec::new(),
        }
    }

    /// Returns what was given first: on the command line or in a variable, then in the file.
    fn pick<T>(&mut self, name: &str, first: Option<T>, file: Option<T>) -> Option<T> {
        self.origin = match (&first, &file) {
            (Some(_), _) if self.given.has(name) => Origin::CommandLine,
            (Some(_), _) => Origin::Variable,
            (None, Some(_)) => Origin::File,
            (None, None) => Origin::Default,
        };
        first.or(file)
    }

    /// Picks an option that may be given several times, or a switch: an empty one was not given.
    fn pick_any<T: PartialEq + Default + Clone>(&mut self, name: &str, first: &T, file: &T) -> T {
        let given = |value: &T| (*value != T::default()).then(|| value.clone());
        self.pick(name, given(first), given(file))
            .unwrap_or_default()
    }

    /// Returns which database is to be used. What is shown of it is the kind: its text may hold a password.
    fn database(
        &mut self,
        server: &ServerOptions,
        file: &ConfigFile,
    ) -> Result<DatabasePlace, AppError> {
        let path = self.pick(
            "database_file",
            server.database_file.clone(),
            file.database_file.clone(),
        );
        let shown = path.as_ref().map(|path| path.display());
        self.show_or("database_file", shown, "none");
        let text = self.pick("database", server.database.clone(), file.database.clone());
        // What stands nearer counts, also where the other kind of option stands farther off.
        let is_nearer = server.database_file.is_some() || server.database.is_none();
        let text = match path.filter(|_| is_nearer) {
            Some(path) => Some(read_secret(&path)?),
            None => text,
        };
        let database = text.map_or(Ok(DatabasePlace::Sqlite), DatabasePlace::read)?;
        self.show("database", database.kind());
        Ok(database)
    }

    fn listening(
        &mut self,
        server: &ServerOptions,
        file: &ConfigFile,
    ) -> Result<Listening, AppError> {
        let address = self
            .pick("listen", server.listen, file.listen)
            .unwrap_or(DEFAULT_LISTEN);
        self.show("listen", address);
        let certificate = self.pick("tls_cert", server.tls_cert.clone(), file.tls_cert.clone());
        let shown = certificate.as_ref().map(|path| path.display());
        self.show_or("tls_cert", shown, "none");
        let key = self.pick("tls_key", server.tls_key.clone(), file.tls_key.clone());
        let shown = key.as_ref().map(|path| path.display());
        self.show_or("tls_key", shown, "none");
        let proxies = self.pick_any("trusted_proxy", &server.trusted_proxy, &file.trusted_proxy);
        let shown: Vec<String> = proxies.iter().map(ToString::to_string).collect();
        let shown = (!shown.is_empty()).then(|| shown.join(", "));
        self.show_or("trusted_proxy", shown, "none");
        let header = self.pick("proxy_header", server.proxy_header, file.proxy_header);
        let proxy_header = header.unwrap_or_default();
        self.show("proxy_header", proxy_header.as_str());
        let insecure_http =
            self.pick_any("insecure_http", &server.insecure_http, &file.insecure_http);
        self.show("insecure_http", insecure_http);
        let admin = self.pick("admin_listen", server.admin_listen, file.admin_listen);
        self.show_or("admin_listen", admin, "nowhere");
        let insecure_admin = self.pick_any(
            "insecure_admin",
            &server.insecure_admin,
            &file.insecure_admin,
        );
        self.show("insecure_admin", insecure_admin);
        Ok(Listening {
            address,
            tls: certificate_files(certificate, key)?,
            proxies: proxies.into(),
            proxy_header,
            insecure_http,
            admin,
            insecure_admin,
        })
    }

    fn limits(&mut self, server: &ServerOptions, file: &ConfigFile) -> Limits {
        let default = Limits::default();
        let connections_per_source = self.pick(
            "connections_per_source",
            server.connections_per_source,
            file.connections_per_source,
        );
        self.show_or(
            "connections_per_source",
            connections_per_source,
            "a quarter",
        );
        let mut number = |name, first, in_file, default| {
            let number = self.pick(name, first, in_file).unwrap_or(default);
            self.show(name, number);
            number
        };
        Limits {
            connections: number(
                "max_connections",
                server.max_connections,
                file.max_connections,
                default.connections,
            ),
            connections_per_source,
            calls_per_token: number(
                "calls_per_token",
                server.calls_per_token,
                file.calls_per_token,
                default.calls_per_token,
            ),
            failed_tokens_per_minute: number(
                "failed_tokens_per_minute",
                server.failed_tokens_per_minute,
                file.failed_tokens_per_minute,
                default.failed_tokens_per_minute,
            ),
        }
    }

    /// Shows the option that was picked last.
    fn show(&mut self, name: &str, value: impl ToString) {
        self.lines.push(SettingLine {
            name: name.to_owned(),
            value: value.to_string(),
            origin: self.origin,
        });
    }

    fn show_or(&mut self, name: &str, value: Option<impl ToString>, default: &str) {
        match value {
            Some(value) => self.show(name, value),
            None => self.show(name, default),
        }
    }
}

impl Given {
    /// Finds the options that stand on the command line, before the command's name and after it.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let mut given = BTreeSet::new();
        let mut level = Some(matches);
        while let Some(matches) = level {
            let ids = matches.ids().map(|id| id.as_str());
            given.extend(
                ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
                    .map(str::to_owned),
            );
            level = matches.subcommand().map(|(_, below)| below);
        }
        Self(given)
    }

    /// Returns whether an option stands on the command line.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.0.contains(option)
    }
}

impl ConfigFile {
    fn read(path: &PathBuf) -> Result<Self, String> {
        Self::parse(&fs::read_to_string(path).map_err(|error| error.to_string())?)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            // Its own text would quote the line, and with it whatever secret is there.
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            format!("line {line}: {}", without_value(error.message()))
        })
    }
}

/// Returns the keys that systemd hands over to this service as a credential of their usual name, if it does.
fn credential() -> Option<PathBuf> {
    let directory = env::var_os("CREDENTIALS_DIRECTORY")?;
    let file = PathBuf::from(directory).join(KEY_FILE);
    file.is_file().then_some(file)
}

/// Takes what was found out of serde's words, and leaves what was expected: a secret may stand in the wrong place.
fn without_value(message: &str) -> String {
    let quotes = ["invalid type: ", "invalid value: ", "unknown variant "];
    match message.rsplit_once(", expected ") {
        Some((found, expected)) if quotes.iter().any(|begin| found.starts_with(begin)) => {
            format!("expected {expected}")
        }
        _ => message.to_owned(),
    }
}

fn certificate_files(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<CertificateFiles>, AppError> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(CertificateFiles::new(certificate, key))),
        (Some(_), None) => Err(AppError::usage("--tls-cert needs --tls-key beside it")),
        (None, Some(_)) => Err(AppError::usage("--tls-key needs --tls-cert beside it")),
    }
}

/// Reads a file that holds one secret and a line's end.
/// Reads a secret from a file that nobody else can read.
pub(crate) fn read_secret(path: &Path) -> Result<SecretString, AppError> {
    let read = || -> anyhow::Result<SecretString> {
        let text = read_private(fs::File::open(path)?, true)?;
        Ok(text.trim().into())
    };
    let read = read().with_context(|| format!("cannot use the file {}", path.display()));
    Ok(read?)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "clap takes parsers, which may fail"
)]
pub(crate) fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.into())
}

fn secret_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SecretString>, D::Error> {
    Ok(Some(String::deserialize(deserializer)?.into()))
}

/// Returns what clap has to say, without what it adds for its own: the last paragraph is about `--help`.
pub(crate) fn usage_message(error: &clap::Error) -> String {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    said_plainly(&error.render().to_string(), &arguments)
}

/// Clap takes what stands in a variable for an argument: it blames the option, and shows it in the usage line
/// as if it had to be given.
fn said_plainly(text: &str, arguments: &[String]) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text).trim();
    let text = text
        .strip_suffix("For more information, try '--help'.")
        .unwrap_or(text);
    let mut text = text.trim().to_owned();
    let mut options = GlobalOptions::augment_args(ServerOptions::augment_args(Command::new("wst")));
    // Before that, an option cannot be shown.
    options.build();
    for option in options.get_arguments() {
        let (Some(long), Some(variable)) = (option.get_long(), option.get_env()) else {
            continue;
        };
        let flag = format!("--{long}");
        let is_given = |argument: &String| {
            let rest = argument.strip_prefix(&flag);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        if arguments.iter().any(is_given) {
            continue;
        }
        let shown = option.to_string();
        let blamed = variable.to_string_lossy();
        text = text.replace(&format!("'{shown}'"), &blamed);
        if let Some(usage) = text.find("Usage: ") {
            let without = text[usage..].replace(&format!(" {shown}"), "");
            text.replace_range(usage.., &without);
        }
    }
    text
}

fn all_parsed<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parsed = texts.iter().map(|text| text.parse());
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error: T::Err| de::Error::custom(error.to_string()))
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

#[cfg(test)]
mod tests {
    use super::ConfigFile;

    #[test]
    fn a_value_that_is_refused_is_not_repeated() {
        for (text, expected) in [
            ("demo = \"a-secret\"", "expected a boolean"),
            ("max_connections = \"a-secret\"", "expected"),
            ("\nproxy_header = \"a-secret\"", "line 2: expected"),
            ("listen = \"a-secret\"", "socket address"),
            ("database = [\"a-secret\"]", "expected a string"),
            ("public_url = \"a-secret\"", "line 1"),
            ("trusted_proxy = [\"a-secret\"]", "expected a network"),
        ] {
            let problem = ConfigFile::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
            assert!(!problem.contains("a-secret"), "{problem}");
        }
        let unknown = ConfigFile::parse("lisen = \"a-secret\"").unwrap_err();
        assert!(unknown.contains("lisen"), "{unknown}");
    }
}
