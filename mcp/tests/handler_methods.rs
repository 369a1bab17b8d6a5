//! Every method of rmcp's handler trait is passed on: one that is not would answer with a default.

use std::{error::Error, fs, path::Path, process::Command};

use serde_json::Value;

#[test]
fn every_method_of_the_handler_trait_is_passed_on() -> Result<(), Box<dyn Error>> {
    let source = handler_of_rmcp()?;
    let (_, methods) = source
        .split_once("macro_rules! server_handler_methods")
        .ok_or("rmcp's trait is written in another way: compare by hand")?;
    let (methods, _) = methods
        .split_once("pub trait ServerHandler")
        .ok_or("rmcp's trait is written in another way: compare by hand")?;
    let names: Vec<&str> = methods
        .lines()
        .filter_map(|line| line.strip_prefix("        fn ")?.split('(').next())
        .collect();
    assert!(names.len() >= 32, "{names:?}");
    let ours = include_str!("../src/handler.rs");
    let missing: Vec<_> = names
        .into_iter()
        .filter(|name| !ours.contains(&format!(" {name}(")))
        .collect();
    assert!(missing.is_empty(), "not passed on: {missing:?}");
    Ok(())
}

/// Reads the source of the trait in the rmcp that this crate is built with.
fn handler_of_rmcp() -> Result<String, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Of other platforms, the sources may not be there.
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--offline"])
        .args(["--filter-platform", &host()?, "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    let rmcp = packages.iter().find(|package| package["name"] == "rmcp");
    let manifest = rmcp.and_then(|rmcp| rmcp["manifest_path"].as_str());
    let root = Path::new(manifest.ok_or("no rmcp")?).parent();
    let source = root.ok_or("no folder")?.join("src/handler/server.rs");
    Ok(fs::read_to_string(source)?)
}

fn host() -> Result<String, Box<dyn Error>> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = String::from_utf8(Command::new(rustc).arg("-vV").output()?.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc names no host")?.to_owned())
}
