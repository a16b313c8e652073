use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::condition::Condition;

/// A config of one mapping.
fn text(port: u16) -> String {
    format!(r#"{{"data":[{{"port":{port},"remoteIP":"http://demo:8080"}}]}}"#)
}

/// A folder with a config that is watched while a test runs.
struct Scene {
    folder: TempDir,
    watched: Watched,
}

impl Scene {
    /// Plays `test` against a watcher of a file that maps port 1, with its usual times or without
    /// waiting for time stamps to settle.
    async fn play(settle: Option<Duration>, test: impl AsyncFnOnce(&mut Self)) {
        let folder = tempfile::tempdir().expect("a folder");
        // Laid out as kubelet mounts a ConfigMap.
        fs::create_dir(folder.path().join("..v1")).expect("a folder");
        fs::write(folder.path().join("..v1/config.json"), text(1)).expect("a file");
        symlink("..v1", folder.path().join("..data")).expect("a link");
        symlink("..data/config.json", folder.path().join("config.json")).expect("a link");

        let path = folder.path().join("config.json");
        let initial = Config::load(&path).expect("a config");
        let (mut watcher, watched) = Watcher::new(path, initial);
        watcher.pause = Duration::from_millis(5);
        watcher.settle = settle.unwrap_or(watcher.settle);
        let mut scene = Self { folder, watched };
        tokio::select! {
            () = watcher.run() => panic!("the watcher ended"),
            done = tokio::time::timeout(Duration::from_secs(10), test(&mut scene)) => {
                done.expect("the state within 10 s");
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("a write");
    }

    /// Waits until this port is the mapped one and the file is in step.
    async fn maps(&mut self, port: u16) {
        let digest = digest_of(text(port).as_bytes());
        let in_step = |status: &Status| status.digest == digest && status.error.is_none();
        self.watched.status.wait_for(in_step).await.expect("a watcher");
        assert!(self.watched.config.borrow().route(&Condition::from(port)).is_some());
    }

    /// Waits until the file is refused, and takes the reason.
    async fn refusal(&mut self) -> String {
        let refused = self.watched.status.wait_for(|status| status.error.is_some()).await;
        refused.expect("a watcher").error.clone().unwrap_or_default()
    }

    fn counts(&self) -> (u64, u64) {
        let status = self.watched.status.borrow();
        (status.applied, status.refused)
    }
}

#[tokio::test]
async fn an_edit_in_place_is_applied() {
    Scene::play(None, async |scene| {
        scene.write(&text(2));
        scene.maps(2).await;
        // Of the same length as before.
        scene.write(&text(3));
        scene.maps(3).await;
        assert_eq!(scene.counts(), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn a_rename_over_the_file_is_applied_by_its_stamp_alone() {
    Scene::play(Some(Duration::ZERO), async |scene| {
        for port in 2..5 {
            let new = scene.folder.path().join("new");
            fs::write(&new, text(port)).expect("a write");
            fs::rename(&new, scene.path()).expect("a rename");
            scene.maps(port).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_config_map_swap_is_applied() {
    Scene::play(None, async |scene| {
        for port in 2..5 {
            let folder = scene.folder.path();
            let version = format!("..v{port}");
            fs::create_dir(folder.join(&version)).expect("a folder");
            fs::write(folder.join(&version).join("config.json"), text(port)).expect("a write");
            symlink(&version, folder.join("..data_tmp")).expect("a link");
            let old = fs::read_link(folder.join("..data")).expect("a link");
            fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("a rename");
            fs::remove_dir_all(folder.join(old)).expect("a removal");
            scene.maps(port).await;
        }
        assert_eq!(scene.counts(), (3, 0));
    })
    .await;
}

#[tokio::test]
async fn a_broken_file_leaves_the_last_good_config() {
    Scene::play(None, async |scene| {
        let before = scene.watched.config.borrow().clone();
        scene.write(r#"{"data":[{"port":"80x","remoteIP":"http://demo"},7]}"#);
        let refusal = scene.refusal().await;
        assert_eq!(refusal.lines().count(), 2, "{refusal}");
        assert!(refusal.contains("data[0].port"), "{refusal}");
        assert!(Arc::ptr_eq(&before, &scene.watched.config.borrow()));
        assert_eq!(scene.watched.status.borrow().digest, before.digest());

        scene.write(&text(2));
        scene.maps(2).await;
        assert_eq!(scene.counts(), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn the_old_content_is_no_new_config() {
    Scene::play(None, async |scene| {
        let before = scene.watched.config.borrow().clone();
        scene.write("{");
        scene.refusal().await;
        scene.write(&text(1));
        scene.maps(1).await;
        assert!(Arc::ptr_eq(&before, &scene.watched.config.borrow()));
        assert_eq!(scene.counts(), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn a_deleted_file_may_come_back() {
    Scene::play(None, async |scene| {
        fs::remove_file(scene.path()).expect("a removal");
        let refusal = scene.refusal().await;
        assert!(refusal.contains("there is no such file"), "{refusal}");
        assert!(scene.watched.config.borrow().route(&Condition::from(1)).is_some());

        scene.write(&text(2));
        scene.maps(2).await;
        assert_eq!(scene.counts(), (1, 1));
    })
    .await;
}

/// Looks one at a time, so that what lies between them is certain.
#[tokio::test]
async fn content_counts_once_two_looks_found_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    fs::write(&path, text(1)).expect("a write");
    let (mut watcher, watched) = Watcher::new(path.clone(), Config::default());

    watcher.look().await;
    for half in ["{", "{\"data\":", "{\"data\":["] {
        fs::write(&path, half).expect("a write");
        watcher.look().await;
    }
    fs::write(&path, text(2)).expect("a write");
    watcher.look().await;
    assert_eq!(*watched.status.borrow(), Status::default());
    watcher.look().await;
    assert_eq!(watched.status.borrow().applied, 1);
    assert_eq!(watched.config.borrow().digest(), digest_of(text(2).as_bytes()));

    fs::write(&path, "{").expect("a write");
    for _ in 0..5 {
        watcher.look().await;
    }
    assert_eq!(watched.status.borrow().refused, 1);
}

#[test]
fn a_settled_file_is_not_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    fs::write(&path, text(1)).expect("a write");

    let first = Found::at(&path, None, Duration::ZERO);
    assert!(matches!(first.content, Some(Ok(_))));
    assert!(Found::at(&path, first.stamp, Duration::ZERO).content.is_none());
    assert!(Found::at(&path, first.stamp, Duration::from_secs(3600)).content.is_some());
}

#[tokio::test]
async fn the_watch_ends_when_nobody_listens() {
    let (watched, watching) = file(PathBuf::from("/nowhere"), Config::default());
    drop(watched.config);
    tokio::time::timeout(Duration::from_secs(10), watching).await.expect("an end");
}

#[test]
fn the_watch_may_run_on_another_thread() {
    fn is_send(_: impl Send + 'static) {}
    is_send(file(PathBuf::new(), Config::default()).1);
}
