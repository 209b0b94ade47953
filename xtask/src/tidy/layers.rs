//! A crate may use only crates of lower layers: the picture of the architecture, enforced.

use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// The layer of each crate under `crates/`. A new crate gets its place here first.
const LAYERS: [(&str, u8); 17] = [
    ("protocol", 0),
    ("filter", 0),
    ("pipeline", 1),
    ("rules", 1),
    ("session", 2),
    ("interceptors", 2),
    ("tape", 2),
    ("bridge", 2),
    ("auth", 2),
    ("cache", 2),
    ("stores", 3),
    ("transports", 3),
    ("playback", 3),
    ("watch", 3),
    ("admin", 4),
    ("gateway", 5),
    ("cli", 6),
];

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

/// Reads every crate's manifest and reports each dependency that does not point down.
pub(super) fn faults(root: &Path) -> Result<Vec<String>, Failure> {
    let folder = root.join("crates");
    let mut faults = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Failure::file(&folder))? {
        let entry = entry.map_err(Failure::file(&folder))?;
        let path = entry.path().join("Cargo.toml");
        let manifest = fs::read_to_string(&path).map_err(Failure::file(&path))?;
        faults.extend(faults_of(&entry.file_name().to_string_lossy(), &manifest));
    }
    faults.sort_unstable();
    Ok(faults)
}

fn faults_of(name: &str, manifest: &str) -> Vec<String> {
    let Some(own) = layer(name) else {
        return vec![format!("crates/{name} has no layer: give it one in xtask/src/tidy/layers.rs")];
    };
    let upward = |used: &&str| layer(used).is_none_or(|layer| layer >= own);
    let fault = |used| format!("crates/{name} (layer {own}) uses {used}, which is not below it");
    dependencies(manifest).into_iter().filter(upward).map(fault).collect()
}

/// The crates of ours that a manifest names in any of its dependency tables.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut in_table = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            in_table = table.trim_end_matches(']').ends_with("dependencies");
        } else if in_table && let Some(rest) = line.strip_prefix("shadowcat-") {
            names.extend(rest.split(['.', ' ', '=']).next());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_may_point_down_only() {
        let manifest = |used: &str| {
            format!("[package]\nname = \"x\"\n[dependencies]\nshadowcat-{used}.workspace = true\n")
        };
        assert!(faults_of("session", &manifest("protocol")).is_empty());
        assert_eq!(faults_of("session", &manifest("tape")).len(), 1);
        assert_eq!(faults_of("session", &manifest("gateway")).len(), 1);
    }

    #[test]
    fn a_crate_without_a_layer_is_a_fault() {
        assert_eq!(faults_of("surprise", "[dependencies]\n").len(), 1);
    }

    #[test]
    fn tables_that_hold_no_dependencies_are_not_read() {
        assert!(dependencies("[features]\nshadowcat-cli = []\n").is_empty());
        assert_eq!(dependencies("[dev-dependencies]\nshadowcat-cli = { path = \"\" }\n"), ["cli"]);
    }
}
