//! The command line: a thin face of the actions.

mod args;
mod audit;
mod backup;
mod bench;
mod commands;
mod connect;
mod doctor;
mod headers;
mod health;
mod keys;
mod migrate;
mod output;
mod people;
mod printable;
mod progress;
mod runner;
mod scan;

use std::process::ExitCode;

use clap::{Arg, ArgAction, CommandFactory as _, FromArgMatches as _, error::ErrorKind};

use crate::{
    config::{self, Given, GlobalOptions, ServerOptions, Settings},
    db::DatabasePlace,
    error::AppError,
    hardening, logging, serve,
};
use args::{Command, CommandLine};
use output::Output;
use runner::Runner;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    let output = Output::new(wants_json);
    let done = hardening::harden()
        .map_err(AppError::from)
        .and_then(|()| match parse() {
            Ok(command_line) => run(command_line, output),
            Err(error) => explain(&error, output),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Parses the arguments of the process, and remembers which options stand there and not in variables.
fn parse() -> Result<CommandLine, clap::Error> {
    // It prints no JSON but an error's, so its help shows no option for it.
    let hidden = Arg::new("json").long("json").action(ArgAction::SetTrue);
    let command = CommandLine::command();
    let command = command.mut_subcommand("serve", |serve| serve.arg(hidden.hide(true)));
    let matches = command.try_get_matches()?;
    let mut command_line = CommandLine::from_arg_matches(&matches)?;
    command_line.global.given = Given::of(&matches);
    Ok(command_line)
}

fn run(command_line: CommandLine, output: Output) -> Result<(), AppError> {
    let CommandLine { global, command } = command_line;
    warn_of_password(&global.given, &command, output);
    match command {
        Command::Serve(server) => serve(&global, server),
        Command::Workspace(command) => ask(&global, output, command),
        Command::Token(command) => ask(&global, output, command),
        Command::Task(command) => ask(&global, output, command),
        Command::User(command) => ask(&global, output, command),
        Command::Connect(options) => connect::connect(&global, output, options),
        Command::Headers(options) => headers::headers(output, options),
        Command::Health => ask(&global, output, health::ShowHealth),
        Command::Audit(command) => ask(&global, output, command),
        Command::SetupLink => ask(&global, output, people::ShowSetupLink),
        Command::Key(command) => ask(&global, output, command),
        Command::Backup(command) => ask(&global, output, command),
        Command::Restore(command) => backup::restore(&global, output, command),
        Command::Migrate(command) => migrate::migrate(&global, output, command),
        Command::Doctor(options) => doctor::doctor(&global, output, options),
        Command::Scan(options) => scan::scan(&global, output, options),
        Command::Bench(command) => bench::bench(&global, output, command),
    }
}

/// Says so where a password was given as an argument, and goes on: it works, and has been seen already.
fn warn_of_password(given: &Given, command: &Command, output: Output) {
    let (option, url, better) = match command {
        Command::Serve(server) => (
            "database",
            &server.database,
            "--database-file or WST_DATABASE",
        ),
        Command::Migrate(migrate) => ("to", &migrate.to, "--to-file or WST_MIGRATE_TO"),
        _ => return,
    };
    let holds_password = url.as_ref().is_some_and(DatabasePlace::holds_password);
    if given.has(option) && holds_password {
        output.advice(&format!(
            "warning: everybody on this machine can read the password in --{option}, in the list of processes: change it, and use {better}"
        ));
    }
}

fn serve(global: &GlobalOptions, server: ServerOptions) -> Result<(), AppError> {
    let settings = Settings::settle(global, server)?;
    logging::start(&settings.log)?;
    hardening::log_key_memory();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(hardening::wipe_dead_stack)
        .build()
        .map_err(anyhow::Error::from)?;
    let served = runtime.block_on(serve::run(settings));
    // Whatever still runs has had its time.
    runtime.shutdown_background();
    served
}

/// Runs a command that asks the server, or works on the data directory itself.
fn ask(
    global: &GlobalOptions,
    output: Output,
    command: impl commands::Run,
) -> Result<(), AppError> {
    let settings = Settings::settle(global, ServerOptions::from_variables()?)?;
    // What a command has to say, it says; the log is for whoever asks for it.
    if global.log.is_some() {
        logging::start(&settings.log)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    runtime.block_on(async {
        let runner = Runner::find(&settings).await?;
        let done = command.run(&runner, output).await;
        runner.close().await;
        done
    })
}

/// Prints help and the version; everything else is an error of usage.
fn explain(error: &clap::Error, output: Output) -> Result<(), AppError> {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(AppError::usage("a command is missing: `--help` shows all"));
    }
    if error.use_stderr() {
        return Err(AppError::usage(config::usage_message(error)));
    }
    output.plain(&error.render().to_string())
}
