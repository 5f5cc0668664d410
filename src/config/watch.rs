//! Notices that the files of the configuration changed.
//!
//! It looks at them every two seconds rather than asking the system to tell: the store lives in the
//! same folder by default, and a watched folder would report every one of its writes; and mounts
//! that swap links (Kubernetes) or lie on a network tell nothing at all.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};

use super::{Config, Live, input};

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What tells a file's content from another without reading it; none for a file that is not there.
type Mark = Option<(SystemTime, u64, u64)>;
type Marks = BTreeMap<PathBuf, Mark>;

/// Watches the files of the configuration in force: `sluice.toml`, the tenants' files, and what
/// they refer to (secrets, schemas).
#[derive(Debug)]
pub struct Watch {
    main: PathBuf,
    live: Live,
    marks: Marks,
}

/// The files as they were before anything was made of them: what changes while the gateway starts is
/// noticed as well.
#[derive(Debug)]
pub struct Before {
    main: PathBuf,
    marks: Marks,
}

impl Before {
    /// To be taken before the configuration at `path` (`sluice.toml` or its folder) is read.
    pub fn reading(path: &Path) -> Self {
        let main = input::main_file(path);
        let marks = marks(&main, &[]);
        Self { main, marks }
    }

    /// Adds what the configuration refers to, which only reading it tells.
    #[must_use]
    pub fn starting(mut self, config: &Config) -> Self {
        self.marks.extend(config.files.iter().map(|path| (path.clone(), mark(path))));
        self
    }

    /// Watches from then on.
    pub fn watch(self, live: Live) -> Watch {
        let Self { main, marks } = self;
        Watch { main, live, marks }
    }
}

impl Watch {
    /// Returns once a file changed and has been quiet for a moment, so that a file that is being
    /// written is not read half. Safe to drop and call again.
    pub async fn changed(&mut self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut last = self.marks.clone();
        loop {
            ticks.tick().await;
            let now = self.look().await;
            if now == last && now != self.marks {
                self.marks = now;
                return;
            }
            last = now;
        }
    }

    async fn look(&self) -> Marks {
        let (main, live) = (self.main.clone(), self.live.load_full());
        let looked = tokio::task::spawn_blocking(move || marks(&main, &live.files)).await;
        looked.unwrap_or_else(|_| self.marks.clone())
    }
}

/// Of the configuration's own files and of those that it refers to.
fn marks(main: &Path, referred: &[PathBuf]) -> Marks {
    let tenants = input::tenant_files(main.parent().unwrap_or(Path::new("")), &mut Vec::new());
    let files = referred.iter().cloned().chain(tenants).chain([main.to_owned()]);
    files.map(|path| (path.clone(), mark(&path))).collect()
}

fn mark(path: &Path) -> Mark {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arc_swap::ArcSwap;

    use super::*;
    use crate::config::load;

    const SOURCE: &str = "[sources.a]\nvendor = 'generic'\nsecrets = ['file:a.secret']\n";

    fn folder() -> (tempfile::TempDir, Watch) {
        watched(|_| {})
    }

    /// A folder in which something happens while the gateway starts.
    fn watched(meanwhile: impl Fn(&Path)) -> (tempfile::TempDir, Watch) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tenants")).unwrap();
        fs::write(dir.path().join("sluice.toml"), "").unwrap();
        fs::write(dir.path().join("tenants/acme.toml"), SOURCE).unwrap();
        fs::write(dir.path().join("a.secret"), "one").unwrap();
        let before = Before::reading(dir.path());
        let config = load(dir.path()).unwrap();
        let before = before.starting(&config);
        meanwhile(dir.path());
        let watch = before.watch(Arc::new(ArcSwap::from_pointee(config)));
        (dir, watch)
    }

    async fn notices(watch: &mut Watch) -> bool {
        tokio::time::timeout(LOOK_EVERY * 4, watch.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_a_new_and_a_removed_file_are_noticed_once() {
        let (dir, mut watch) = folder();
        assert!(!notices(&mut watch).await);
        for change in ["a.secret", "sluice.toml", "tenants/acme.toml", "tenants/beta.toml"] {
            fs::write(dir.path().join(change), "# another length").unwrap();
            assert!(notices(&mut watch).await, "{change}");
            assert!(!notices(&mut watch).await, "{change}, twice");
        }
        fs::remove_file(dir.path().join("tenants/beta.toml")).unwrap();
        assert!(notices(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changes_while_the_gateway_starts_is_noticed() {
        for change in ["a.secret", "sluice.toml", "tenants/acme.toml", "tenants/beta.toml"] {
            let (_dir, mut watch) = watched(|dir| fs::write(dir.join(change), "# another length").unwrap());
            assert!(notices(&mut watch).await, "{change}");
            assert!(!notices(&mut watch).await, "{change}, twice");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_whose_links_are_swapped_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = dir.path().join("mounted");
        fs::create_dir_all(dir.path().join("tenants")).unwrap();
        for generation in ["..1", "..2"] {
            fs::create_dir_all(mounted.join(generation)).unwrap();
            fs::write(mounted.join(generation).join("a"), generation).unwrap();
        }
        std::os::unix::fs::symlink("..1", mounted.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a", mounted.join("a")).unwrap();
        fs::write(dir.path().join("sluice.toml"), "").unwrap();
        fs::write(dir.path().join("tenants/acme.toml"), SOURCE.replace("a.secret", "mounted#a")).unwrap();
        let before = Before::reading(dir.path());
        let config = load(dir.path()).unwrap();
        let mut watch = before.starting(&config).watch(Arc::new(ArcSwap::from_pointee(config)));
        std::os::unix::fs::symlink("..2", mounted.join("..tmp")).unwrap();
        fs::rename(mounted.join("..tmp"), mounted.join("..data")).unwrap();
        assert!(notices(&mut watch).await);
        assert!(!notices(&mut watch).await, "twice");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_store_writes_beside_it_is_not_noticed() {
        let (dir, mut watch) = folder();
        fs::write(dir.path().join("sluice.db"), "pages").unwrap();
        assert!(!notices(&mut watch).await);
    }
}
