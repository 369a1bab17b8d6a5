//! Data directories of earlier versions: each is opened by this one.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;

use crate::common::{Home, read, text};

#[test]
fn opens_a_data_directory_of_version_1() {
    let home = Home::new();
    let v1 = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/v1");
    fs::create_dir(home.data_dir()).unwrap();
    for path in [home.database(), home.key_file()] {
        fs::copy(v1.join(path.file_name().unwrap()), &path).unwrap();
        // A checkout does not keep modes.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let contents: Value = serde_json::from_str(&read(&v1.join("contents.json"))).unwrap();
    let server = home.serve();
    let all = home.json(&["workspace", "list"]);
    let id_of = |name: &str| {
        let mut all = all["workspaces"].as_array().unwrap().iter();
        text(&all.find(|workspace| workspace["name"] == name).unwrap()["id"])
    };
    let (kept, gone) = (id_of("kept"), id_of("gone"));
    for (workspace, token, is_admitted) in [
        (&kept, "current", true),
        (&kept, "superseded", false),
        (&kept, "revoked", false),
        (&gone, "archived", false),
    ] {
        let secret = text(&contents[token]);
        assert_eq!(server.admits(workspace, &secret), is_admitted, "{token}");
    }
    let tasks = home.json(&["task", "list", "--workspace", "kept"]);
    assert_eq!(tasks["tasks"][0]["id"], contents["task"]);
    let rotated = home.json(&["token", "rotate", "--workspace", "kept"]);
    assert_eq!(rotated["generation"], 3);
    assert!(server.admits(&kept, &text(&rotated["secret"])));
    assert!(!server.admits(&kept, &text(&contents["current"])));
}
