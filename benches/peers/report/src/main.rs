//! Writes the tables and charts of `docs/benchmarks.md` from `docs/benchmarks/*.json`; with `--check` it
//! writes nothing and fails where they differ.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use peers_report::{
    chart, document,
    results::{HttpResults, LayerResults},
    tables,
};
use serde::de::DeserializeOwned;

const USAGE: &str = "usage: peers-report [--check]";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_check = match &arguments[..] {
        [] => false,
        [argument] if argument == "--check" => true,
        _ => bail!(USAGE),
    };
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs");
    let files = render(&docs)?;
    if !is_check {
        for (path, text) in &files {
            fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let stale: Vec<&PathBuf> = files
        .iter()
        .filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(text))
        .map(|(path, _)| path)
        .collect();
    for path in &stale {
        let name = path.file_name().unwrap_or_default();
        eprintln!(
            "{} differs from the results: run peers-report",
            name.display()
        );
    }
    Ok(if stale.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the files of the documentation as the results say they are.
fn render(docs: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let folder = docs.join("benchmarks");
    let layers: LayerResults = read(&folder.join("layers.json"))?;
    let http: HttpResults = read(&folder.join("http.json"))?;
    let runs = [vec![layers.clone()], earlier(&folder.join("earlier"))?].concat();
    let page = docs.join("benchmarks.md");
    let text = fs::read_to_string(&page).context("docs/benchmarks.md")?;
    let machines = vec![tables::of_machines(&runs)];
    let tables = [tables::of_layers(&layers), machines, tables::of_http(&http)].concat();
    let mut files = vec![(page, document::fill(&text, &tables)?)];
    let charts = [chart::of_layers(&layers), chart::of_http(&http)].concat();
    files.extend(
        charts
            .into_iter()
            .map(|(name, svg)| (folder.join(name), svg)),
    );
    Ok(files)
}

/// Reads the races that were run before, on other machines and of other commits, the last one first.
fn earlier(folder: &Path) -> anyhow::Result<Vec<LayerResults>> {
    let files = fs::read_dir(folder).context("docs/benchmarks/earlier")?;
    let runs = files.map(|file| read::<LayerResults>(&file?.path()));
    let mut runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
    runs.sort_by_key(|run| Reverse(run.provenance.date.clone()));
    Ok(runs)
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let name = path.file_name().unwrap_or_default().display();
    let text = fs::read_to_string(path).with_context(|| format!("docs/benchmarks/{name}"))?;
    serde_json::from_str(&text).with_context(|| format!("docs/benchmarks/{name}"))
}
