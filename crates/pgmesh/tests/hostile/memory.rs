//! What a process holds, from /proc.

use std::fs;

use testbed::Pgmesh;

/// For `[proxy]`: without it only root may look.
pub(crate) const READABLE: &str = "core_dumps = true";

/// Proportional memory now, in KiB.
pub(crate) fn held(mesh: &Pgmesh) -> u64 {
    field(&format!("/proc/{}/smaps_rollup", mesh.id()), "Pss:")
}

/// The most that was resident since [`forget_peak`], in KiB.
pub(crate) fn peak(mesh: &Pgmesh) -> u64 {
    field(&format!("/proc/{}/status", mesh.id()), "VmHWM:")
}

/// Counts anew what [`peak`] tells (`clear_refs`, proc(5)).
pub(crate) fn forget_peak(mesh: &Pgmesh) {
    fs::write(format!("/proc/{}/clear_refs", mesh.id()), "5").unwrap();
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}
