//! Where checkpoints and rule sets lie: a folder, or a bucket. Moves whole objects; knows nothing of Kafka.
//!
//! Names: `checkpoints/<stream>/<index>/<epoch>-<n>-<next offset>.fwck`, numbers padded, so that the order of
//! texts is the order of age and two owners never share a name; `rules/<hash>.json`.
//!
//! Objects appear whole or not at all. In a folder they are also on the disk before `put` returns: the library
//! renames what it has written but does not ask the disk to keep it, so that is done here.

use std::fmt;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use arrow::buffer::Buffer;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::event::{Checkpoint, PartitionId, Timestamp};

/// What all names of checkpoints begin with.
const CHECKPOINTS: &str = "checkpoints";

/// The place that lasts as long as the process: for tests.
pub const MEMORY: &str = "memory:";

/// How names of checkpoints end.
const ENDING: &str = ".fwck";

/// A place for objects.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// What is on the disk there, if it is a folder.
    folder: Option<Arc<LocalFileSystem>>,
    /// As it was named.
    place: Arc<str>,
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub written: Timestamp,
}

/// What could not be done, with what, where and why.
#[derive(Debug)]
pub struct StoreError {
    what: String,
    place: Arc<str>,
    hint: &'static str,
    source: Box<object_store::Error>,
}

impl StoreError {
    /// Whether the object is not there.
    pub fn is_missing(&self) -> bool {
        matches!(*self.source, object_store::Error::NotFound { .. })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_missing() {
            true => write!(f, "cannot {} in {}: it is not there; {}", self.what, self.place, self.hint),
            false => write!(f, "cannot {} in {}: {}; {}", self.what, self.place, self.source, self.hint),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Whether a text names a place as [`Store::open`] reads it.
pub fn is_place(text: &str) -> bool {
    match text.split_once("://") {
        Some((scheme, rest)) => ["file", "s3", "gs", "az"].contains(&scheme) && !rest.is_empty(),
        None => !text.trim().is_empty(),
    }
}

/// The name of the `n`-th checkpoint of an owner.
pub fn name(checkpoint: &Checkpoint, n: u64) -> String {
    let Checkpoint { epoch, next_offset, .. } = checkpoint;
    let file = format!("{epoch:020}-{n:010}-{next_offset:020}{ENDING}");
    folder(&checkpoint.partition).join(file).into()
}

fn folder(partition: &PartitionId) -> Path {
    Path::from_iter([CHECKPOINTS, &*partition.stream, &partition.index.to_string()])
}

fn rules_name(hash: u128) -> String {
    format!("rules/{hash:032x}.json")
}

impl Store {
    /// Opens a store by a path, `file://`, `memory:`, or with the feature `cloud` `s3://`, `gs://`, `az://`,
    /// and makes sure that it can be written to. Credentials of clouds are those of the environment.
    pub async fn open(place: &str) -> Result<Store, StoreError> {
        let store = Store::unchecked(place)?;
        store.check_writable().await?;
        Ok(store)
    }

    /// A store that is there already, to read it; a folder is not made.
    pub fn existing(place: &str) -> Result<Store, StoreError> {
        let path = place.strip_prefix("file://").unwrap_or(place);
        if !path.contains("://") && path != MEMORY && !FilePath::new(path).is_dir() {
            let source = io::Error::new(io::ErrorKind::NotFound, "there is no such folder");
            return Err(StoreError {
                what: "open a folder".into(),
                place: place.into(),
                hint: "name the folder or URL that stands at [checkpoints] url",
                source: Box::new(generic(Box::new(source))),
            });
        }
        Store::unchecked(place)
    }

    /// The same without the check: for what is known to be writable, and for reading.
    pub fn unchecked(place: &str) -> Result<Store, StoreError> {
        match place.split_once("://") {
            None if place == MEMORY => Ok(Store::of(Arc::new(InMemory::new()), place)),
            None => Store::folder(FilePath::new(place), place),
            Some(("file", path)) => Store::folder(FilePath::new(path), place),
            Some((scheme, _)) => cloud(scheme, place).map(|objects| Store::of(objects, place)),
        }
    }

    /// A store on anything that holds objects.
    pub fn of(objects: Arc<dyn ObjectStore>, place: &str) -> Store {
        Store { objects, folder: None, place: place.into() }
    }

    fn folder(path: &FilePath, place: &str) -> Result<Store, StoreError> {
        let opened = std::fs::create_dir_all(path)
            .map_err(|error| generic(Box::new(error)))
            .and_then(|()| LocalFileSystem::new_with_prefix(path));
        let folder = opened.map_err(|source| StoreError {
            what: "open a folder".into(),
            place: place.into(),
            hint: "make the folder writable for the user that runs this, or name another at [checkpoints] url",
            source: Box::new(source),
        })?;
        let folder = Arc::new(folder);
        Ok(Store { objects: folder.clone(), folder: Some(folder), place: place.into() })
    }

    /// How it was named.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Writes, reads and deletes an object of its own.
    async fn check_writable(&self) -> Result<(), StoreError> {
        let mut dice = [0; 8];
        getrandom::fill(&mut dice).map_err(|error| {
            self.error("begin", "the system gives no random numbers", generic(Box::new(error)))
        })?;
        let name = format!("probe/{:016x}", u64::from_le_bytes(dice));
        let hint = "the credentials must allow to write, read, list and delete objects there";
        let probed = async {
            self.put(&name, b"fleetwarden".to_vec()).await?;
            self.get(&name).await?;
            self.delete(&name).await
        };
        probed.await.map_err(|error| StoreError { hint, ..error })
    }

    /// Writes an object whole. In a folder it is on the disk once this returns.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let failed = |source| {
            let hint = "the state of before is kept; see to room and rights there";
            self.error(&format!("write {name}"), hint, source)
        };
        let path = path(name).map_err(failed)?;
        self.objects.put(&path, bytes.into()).await.map_err(failed)?;
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let synced = tokio::task::spawn_blocking(move || keep(&folder, &path)).await;
        synced.unwrap_or_else(|error| Err(generic(Box::new(error)))).map_err(failed)
    }

    /// Reads an object whole.
    pub async fn get(&self, name: &str) -> Result<Buffer, StoreError> {
        let hint = "is this the store that the last run wrote to? [checkpoints] url must name the same place \
                    in all processes of the group";
        let failed = |source| self.error(&format!("read {name}"), hint, source);
        let path = path(name).map_err(failed)?;
        let found = self.objects.get(&path).await.map_err(failed)?;
        Ok(Buffer::from(found.bytes().await.map_err(failed)?))
    }

    /// Deletes an object; one that is not there is deleted already.
    pub async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let failed = |source| {
            self.error(&format!("delete {name}"), "the credentials must allow to delete objects", source)
        };
        let path = path(name).map_err(failed)?;
        match self.objects.delete(&path).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            done => done.map_err(failed),
        }
    }

    /// The checkpoints of a partition, newest first.
    pub async fn list(&self, partition: &PartitionId) -> Result<Vec<Listed>, StoreError> {
        self.below(&folder(partition)).await
    }

    /// The checkpoints of all partitions, by partition as text, newest first.
    pub async fn list_all(&self) -> Result<Vec<Listed>, StoreError> {
        let mut all = self.below(&Path::from(CHECKPOINTS)).await?;
        let folder = |one: &Listed| one.name.rsplit_once('/').map(|(folder, _)| folder.to_string());
        all.sort_by_cached_key(folder);
        Ok(all)
    }

    async fn below(&self, folder: &Path) -> Result<Vec<Listed>, StoreError> {
        let listed: Result<Vec<ObjectMeta>, _> = self.objects.list(Some(folder)).try_collect().await;
        let hint = "the credentials must allow to list objects";
        let listed = listed.map_err(|source| self.error(&format!("list {folder}"), hint, source))?;
        let mut found: Vec<Listed> = listed
            .into_iter()
            .filter(|meta| meta.location.as_ref().ends_with(ENDING))
            .map(|meta| Listed {
                written: Timestamp(meta.last_modified.timestamp_micros()),
                bytes: meta.size,
                name: meta.location.into(),
            })
            .collect();
        found.sort_by(|a, b| b.name.cmp(&a.name));
        Ok(found)
    }

    /// Deletes checkpoints of a partition that are older than the one in use, but for the newest of them; with
    /// the one in use, `keep` stay. What is newer is left alone: another owner may be about to use it. Says
    /// how many have gone.
    pub async fn prune(
        &self,
        partition: &PartitionId,
        keep: usize,
        in_use: &str,
    ) -> Result<usize, StoreError> {
        let all = self.list(partition).await?;
        let older = all.iter().filter(|one| one.name.as_str() < in_use);
        let mut gone = 0;
        for old in older.skip(keep.saturating_sub(1)) {
            self.delete(&old.name).await?;
            gone += 1;
        }
        if let Some(store) = &self.folder {
            // What a process that was killed has not finished writing; the list does not show it.
            for left in left_behind(store, &folder(partition), in_use) {
                gone += usize::from(std::fs::remove_file(left).is_ok());
            }
        }
        Ok(gone)
    }

    /// Deletes checkpoints of a partition that owners before `epoch` wrote behind the one that was published last:
    /// the group never accepted them, so what they stand on may not be what was said. Says how many have gone.
    pub async fn discard(
        &self,
        partition: &PartitionId,
        published: Option<&str>,
        epoch: i64,
    ) -> Result<usize, StoreError> {
        let ours = folder(partition).join(format!("{epoch:020}")).to_string();
        let mut gone = 0;
        for one in self.list(partition).await? {
            if one.name < ours && published.is_none_or(|published| one.name.as_str() > published) {
                self.delete(&one.name).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// Keeps the texts of a rule set, if they are not kept yet.
    pub async fn put_rules(&self, hash: u128, text: Vec<u8>) -> Result<(), StoreError> {
        let name = rules_name(hash);
        let path = Path::from(name.as_str());
        match self.objects.head(&path).await {
            Ok(_) => Ok(()),
            Err(_) => self.put(&name, text).await,
        }
    }

    /// The texts of a rule set.
    pub async fn get_rules(&self, hash: u128) -> Result<Buffer, StoreError> {
        self.get(&rules_name(hash)).await
    }

    fn error(&self, what: &str, hint: &'static str, source: object_store::Error) -> StoreError {
        StoreError { what: what.into(), place: self.place.clone(), hint, source: Box::new(source) }
    }
}

fn path(name: &str) -> Result<Path, object_store::Error> {
    Path::parse(name).map_err(|source| object_store::Error::InvalidPath { source })
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "checkpoint store", source }
}

/// Asks the disk to keep a file, and every folder on the way to it.
fn keep(folder: &LocalFileSystem, path: &Path) -> Result<(), object_store::Error> {
    let file = folder.path_to_filesystem(path)?;
    let synced = || -> io::Result<()> {
        std::fs::File::open(&file)?.sync_all()?;
        if cfg!(unix) {
            for above in file.ancestors().skip(1).take(path.parts_count()) {
                std::fs::File::open(above)?.sync_all()?;
            }
        }
        Ok(())
    };
    synced().map_err(|error| generic(Box::new(error)))
}

/// Files that were never finished: their name is that of an object older than the one in use, `#` and a number.
fn left_behind(store: &LocalFileSystem, folder: &Path, in_use: &str) -> Vec<PathBuf> {
    let Ok(folder) = store.path_to_filesystem(folder) else { return Vec::new() };
    let current = in_use.rsplit('/').next().unwrap_or_default().to_string();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let unfinished = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.split_once(".fwck#").is_some_and(|(stem, _)| format!("{stem}{ENDING}") < current)
    };
    entries.map(|entry| entry.path()).filter(unfinished).collect()
}

#[cfg(feature = "cloud")]
fn cloud(scheme: &str, place: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    use object_store::aws::AmazonS3Builder;
    use object_store::azure::MicrosoftAzureBuilder;
    use object_store::gcp::GoogleCloudStorageBuilder;
    use object_store::prefix::PrefixStore;
    fn below<S: ObjectStore>(objects: S, place: &str) -> Arc<dyn ObjectStore> {
        let prefix = place.splitn(4, '/').nth(3).unwrap_or_default();
        Arc::new(PrefixStore::new(objects, Path::from(prefix)))
    }
    let opened = match scheme {
        "s3" => AmazonS3Builder::from_env().with_url(place).build().map(|store| below(store, place)),
        "gs" => GoogleCloudStorageBuilder::from_env().with_url(place).build().map(|s| below(s, place)),
        "az" => MicrosoftAzureBuilder::from_env().with_url(place).build().map(|store| below(store, place)),
        _ => return Err(unknown(scheme, place)),
    };
    opened.map_err(|source| StoreError {
        what: "open a bucket".into(),
        place: place.into(),
        hint: "credentials and region are read from the environment, as the cloud's own tools read them",
        source: Box::new(source),
    })
}

#[cfg(not(feature = "cloud"))]
fn cloud(scheme: &str, place: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    if !["s3", "gs", "az"].contains(&scheme) {
        return Err(unknown(scheme, place));
    }
    Err(StoreError {
        what: "open a bucket".into(),
        place: place.into(),
        hint: "build it with them: cargo build --release --features cloud",
        source: Box::new(generic("this program was built without object stores of clouds".into())),
    })
}

fn unknown(scheme: &str, place: &str) -> StoreError {
    StoreError {
        what: "open a store".into(),
        place: place.into(),
        hint: "write a folder, or a URL that begins with file://, s3://, gs:// or az://",
        source: Box::new(generic(format!("\"{scheme}\" is no kind of store").into())),
    }
}

#[cfg(test)]
mod tests;
