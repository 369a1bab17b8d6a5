//! `wst key`: the keys that tokens are signed and sealed with.

use super::{
    args::KeyCommand,
    commands::Run,
    output::Output,
    progress::{Progress, Unit},
    runner::Runner,
};
use crate::{
    actions::{KeyLine, KeyLines, KeyList, KeyRetire, KeyRewrap, KeyRotate},
    error::AppError,
    progress::JobKind,
    text::counted,
};

impl Run for KeyCommand {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
        match self {
            Self::List => {
                let list = runner.call(KeyList {}).await?;
                output.outcome(&list, print)
            }
            Self::Rotate => {
                let rotated = runner.call(KeyRotate {}).await?;
                output.outcome(&rotated, |output, rotated| {
                    print(output, rotated)?;
                    output.advice(&format!(
                        "new keys sign and seal from here on: copy {} to where you keep its copy, then run `wst key rewrap`",
                        rotated.file
                    ));
                    Ok(())
                })
            }
            Self::Rewrap => {
                let progress = Progress::new(output, "rewrapping", Unit::Tokens);
                let done = runner
                    .call_showing(KeyRewrap {}, JobKind::Rewrap, progress)
                    .await?;
                output.outcome(&done, |output, done| {
                    output.plain(&format!(
                        "{} rewrapped, {} already current; all are sealed with {}\n",
                        counted(done.rewrapped, "token"),
                        done.already_current,
                        done.primary
                    ))?;
                    output.advice("a key that seals no token any longer can go: `wst key list`, then `wst key retire ID`");
                    Ok(())
                })
            }
            Self::Retire { id } => {
                let retired = runner.call(KeyRetire { id }).await?;
                output.outcome(&retired, |output, retired| {
                    print(output, retired)?;
                    output.advice("backups from before need the key: keep a copy of the former key file as long as you keep those");
                    Ok(())
                })
            }
        }
    }
}

fn print(output: Output, list: &KeyLines) -> Result<(), AppError> {
    let lines = list.keys.iter().map(line).collect::<String>();
    output.plain(&lines)?;
    if let Some(slots) = &list.unreadable {
        output.advice(&format!(
            "no key opens the tokens {slots}: they are refused, and want to be regenerated"
        ));
    }
    Ok(())
}

fn line(key: &KeyLine) -> String {
    format!(
        "{}  {}  {}  {}\n",
        key.id,
        key.ring,
        key.role,
        counted(key.tokens, "live token")
    )
}
