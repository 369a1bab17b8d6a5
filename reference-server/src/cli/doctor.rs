//! `wst doctor`: says what is wrong with a server, on its own machine or from a laptop.

use std::fmt::Write as _;

use serde::Serialize;

use super::{args::DoctorOptions, output::Output, printable, runner::Runner};
use crate::{
    actions::{Health, KeyCheck, ServerCheck, ServerHealth, ServerProbe, ServerProbed},
    addresses::PublicUrl,
    client::{HttpClient, ServerAddress, Trust},
    clients::McpUrl,
    config::{GlobalOptions, Origin, ServerOptions, Settings},
    data_dir::DataDir,
    doctor::{
        Check, CheckState, files, inside,
        outside::{Outside, judge_arrival},
    },
    error::{AppError, ErrorCode},
    logging,
    text::counted,
};

#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
    /// How many of them failed.
    failed: usize,
    warnings: usize,
}

/// Looks at everything that can be looked at from here.
pub(super) fn doctor(
    global: &GlobalOptions,
    output: Output,
    options: DoctorOptions,
) -> Result<(), AppError> {
    let settings = Settings::settle(global, ServerOptions::from_variables()?)?;
    if global.log.is_some() {
        logging::start(&settings.log)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let checks = runtime.block_on(look(&settings, options))?;
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let report = Report {
        failed: count(CheckState::Fail),
        warnings: count(CheckState::Warn),
        checks,
    };
    output.outcome(&report, |output, report| output.plain(&lines(report)))?;
    match report.failed {
        0 => Ok(()),
        failed => Err(AppError::new(
            ErrorCode::Failed,
            format!("{} failed", counted(failed, "check")),
        )),
    }
}

async fn look(settings: &Settings, options: DoctorOptions) -> Result<Vec<Check>, AppError> {
    // Not left to clap, who would quote what may hold a token.
    let url = options.url.as_deref().map(str::parse::<McpUrl>).transpose();
    let url = url.map_err(|problem| AppError::usage(format!("--url: {problem}")))?;
    let trust = options.ca_file.map_or(Trust::System, Trust::File);
    let client = HttpClient::new(&trust)?;
    let mut checks = Vec::new();
    match DataDir::open(&settings.data_dir) {
        Ok(data_dir) => {
            let server = Server {
                settings,
                client: &client,
                trust: &trust,
                public_url: options.public_url.as_ref().or(settings.public_url.as_ref()),
            };
            server.look(&data_dir, &mut checks).await;
        }
        // Whoever names one means that one.
        Err(error)
            if error.code() == ErrorCode::NoDataDir
                && settings.data_dir_origin() == Origin::Default =>
        {
            match (&url, &options.public_url) {
                (None, None) => {
                    return Err(error.with_hint("on another machine, `wst doctor --url MCP_URL`"));
                }
                (_, Some(public_url)) => {
                    let address = address(&public_url.to_string())?;
                    let outside = Outside {
                        client: &client,
                        trust: &trust,
                        address: &address,
                    };
                    checks.extend([outside.name().await, outside.certificate().await]);
                    checks.extend(outside.alive(None).await);
                }
                (Some(_), None) => {}
            }
        }
        Err(error) => return Err(error),
    }
    if let Some(url) = &url {
        let outside = Outside {
            client: &client,
            trust: &trust,
            address: url.server(),
        };
        checks.extend([outside.name().await, outside.certificate().await]);
        checks.extend(outside.endpoint(url.path()).await);
    }
    Ok(checks)
}

/// The server of a data directory.
struct Server<'a> {
    settings: &'a Settings,
    client: &'a HttpClient,
    trust: &'a Trust,
    public_url: Option<&'a PublicUrl>,
}

impl Server<'_> {
    async fn look(&self, data_dir: &DataDir, checks: &mut Vec<Check>) {
        const NAME: &str = "server";
        checks.extend(files::check(data_dir, &self.settings.keys));
        let runner = match Runner::find(self.settings).await {
            Ok(runner) => runner,
            Err(error) => {
                let advice = "mend that first: what is in the database could not be looked at";
                checks.push(Check::fail(NAME, error.to_string(), advice));
                return;
            }
        };
        let is_server = matches!(runner, Runner::Server(..));
        match self.inside(&runner, is_server, checks).await {
            Err(error) => checks.push(Check::fail(
                NAME,
                error.to_string(),
                "see the log of the server",
            )),
            Ok(_) if !is_server => checks.push(Check::warn(
                NAME,
                "no server runs on this data directory, so nothing was asked from outside",
                "start `wst serve`",
            )),
            Ok(health) => {
                checks.push(Check::ok(
                    NAME,
                    format!(
                        "version {} runs since {}",
                        health.version, health.started_at
                    ),
                ));
                if let Err(error) = self.outside(&runner, &health, checks).await {
                    checks.push(Check::fail(
                        "public URL",
                        error.to_string(),
                        "see --public-url",
                    ));
                }
            }
        }
        runner.close().await;
    }

    async fn inside(
        &self,
        runner: &Runner,
        is_server: bool,
        checks: &mut Vec<Check>,
    ) -> Result<Health, AppError> {
        checks.extend(inside::judge(
            &runner.call(ServerCheck {}).await?,
            is_server,
        ));
        checks.push(inside::judge_keys(&runner.call(KeyCheck {}).await?));
        let health = runner.call(ServerHealth {}).await?;
        checks.extend(inside::judge_safety(&health));
        Ok(health)
    }

    /// Asks by the public URL, and sees whether and how that arrives.
    async fn outside(
        &self,
        runner: &Runner,
        health: &Health,
        checks: &mut Vec<Check>,
    ) -> Result<(), AppError> {
        let public_url = match self.public_url {
            Some(public_url) => public_url.to_string(),
            None => health.public_url.clone(),
        };
        let address = address(&public_url)?;
        let outside = Outside {
            client: self.client,
            trust: self.trust,
            address: &address,
        };
        checks.extend([outside.name().await, outside.certificate().await]);
        if address.is_name() {
            let line = health
                .configuration
                .iter()
                .find(|line| line.name == "mcp_domain");
            let shown = line.filter(|line| line.origin != Origin::Default);
            let domain = shown.map_or_else(
                || format!("mcp.{}", address.host()),
                |line| line.value.clone(),
            );
            checks.push(outside.wildcard(&domain, shown.is_some()).await);
        }
        let word = runner.call(ServerProbe {}).await?.word;
        let answered = outside.alive(Some(&word)).await;
        let is_alive = answered
            .first()
            .is_some_and(|check| check.state == CheckState::Ok);
        checks.extend(answered);
        if is_alive {
            let arrival = runner.call(ServerProbed { word }).await?;
            checks.extend(judge_arrival(&address, arrival.arrived.as_ref()));
        }
        Ok(())
    }
}

/// Takes plain http as well: no token is sent.
fn address(url: &str) -> Result<ServerAddress, AppError> {
    let (address, _) =
        ServerAddress::of_url(url).map_err(|error| AppError::usage(error.to_string()))?;
    Ok(address)
}

fn lines(report: &Report) -> String {
    let mut lines = String::new();
    for check in &report.checks {
        let state = match check.state {
            CheckState::Fail => "FAIL",
            CheckState::Ok => "ok",
            CheckState::Skipped => "-",
            CheckState::Warn => "warn",
        };
        // Writing to a text does not fail.
        let _ = writeln!(
            lines,
            "{state:4}  {}: {}",
            check.name,
            printable::line(&check.found)
        );
        if let Some(advice) = &check.advice {
            let _ = writeln!(lines, "      → {}", printable::line(advice));
        }
    }
    lines
}
