//! Snapshots of etcd: its folder, copied while it stands still, and put back later.

use std::path::Path;

use crate::world::World;

/// Stops the control plane, does something with the folder of etcd and the one of its snapshot, and starts it again.
pub(crate) async fn restart_etcd(world: &World, work: impl FnOnce(&Path, &Path)) {
    world.stop_apiserver();
    world.stop_etcd();
    work(&world.folder().join("etcd"), &world.folder().join("snapshot"));
    world.start_etcd().await.unwrap();
    world.start_apiserver().await.unwrap();
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// Puts a snapshot in the place of what there is.
pub(crate) fn put_back(etcd: &Path, snapshot: &Path) {
    std::fs::remove_dir_all(etcd).unwrap();
    std::fs::rename(snapshot, etcd).unwrap();
}
