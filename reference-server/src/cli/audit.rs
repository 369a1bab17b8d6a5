//! `wst audit tail|export`.

use super::{
    args::{AuditCommand, AuditOptions},
    commands::Run,
    output::Output,
    printable,
    runner::Runner,
};
use crate::{
    actions::{AuditList, ServerAudit},
    audit::{AuditEntry, AuditPage, export::Format},
    error::AppError,
};

impl Run for AuditCommand {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
        match self {
            Self::Tail { filter, lines } => {
                let mut page = filter.page(runner, None, lines).await?;
                page.entries.reverse();
                output.outcome(&page, |output, page| {
                    let lines: String = page.entries.iter().map(line).collect();
                    output.plain(&lines)
                })
            }
            Self::Export { filter, format } => {
                let format = match format.as_str() {
                    "csv" => Format::Csv,
                    _ => Format::Jsonl,
                };
                filter.export(runner, output, format).await
            }
        }
    }
}

impl AuditOptions {
    async fn export(self, runner: &Runner, output: Output, format: Format) -> Result<(), AppError> {
        let mut page = self.page(runner, None, PART).await?;
        output.plain(format.head())?;
        loop {
            let lines: String = page.entries.iter().map(|e| format.line(e)).collect();
            output.plain(&lines)?;
            if page.next_before.is_none() {
                return Ok(());
            }
            page = self.page(runner, page.next_before, PART).await?;
        }
    }

    async fn page(
        &self,
        runner: &Runner,
        before: Option<i64>,
        limit: u32,
    ) -> Result<AuditPage, AppError> {
        let (action, actor, limit) = (self.action.clone(), self.actor.clone(), Some(limit));
        match self.workspace.clone() {
            Some(workspace) => {
                let list = AuditList {
                    workspace,
                    action,
                    actor,
                    before,
                    limit,
                };
                runner.call(list).await
            }
            None => {
                let list = ServerAudit {
                    action,
                    actor,
                    before,
                    limit,
                };
                runner.call(list).await
            }
        }
    }
}

fn line(entry: &AuditEntry) -> String {
    let words = [
        Some(entry.at.as_str()),
        entry.workspace.as_deref(),
        Some(&entry.actor),
        Some(&entry.action),
        Some(&entry.subject),
        Some(&entry.detail),
        entry.address.as_deref(),
    ];
    let words = words.into_iter().flatten().filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(printable::line).collect();
    words.join("  ") + "\n"
}

const PART: u32 = 1000;
