use std::sync::atomic::{AtomicI64, Ordering};

use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};

use super::*;
use crate::checkpoint::format::fixture;

/// A store in memory that fails as planned.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    /// So many requests go well.
    left: AtomicI64,
    /// Then: whether what fails has been done all the same, and only the answer is lost.
    lies: bool,
}

impl Faulty {
    fn store(left: i64, lies: bool) -> (Arc<Faulty>, Store) {
        let faulty = Arc::new(Faulty { inner: InMemory::new(), left: AtomicI64::new(left), lies });
        (faulty.clone(), Store::of(faulty, "faulty"))
    }

    fn fails(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) <= 0
    }

    fn lost() -> object_store::Error {
        generic("the connection was lost".into())
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        if !self.fails() {
            return self.inner.put_opts(path, payload, options).await;
        }
        if self.lies {
            self.inner.put_opts(path, payload, options).await?;
        }
        Err(Faulty::lost())
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if self.fails() { Err(Faulty::lost()) } else { self.inner.get_opts(path, options).await }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A folder of its own that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("fleetwarden-store-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Folder(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn cut(epoch: i64, next_offset: i64) -> Checkpoint {
    Checkpoint { epoch, next_offset, tables: Vec::new(), ..fixture::checkpoint(1) }
}

fn names(listed: Vec<Listed>) -> Vec<String> {
    listed.into_iter().map(|one| one.name).collect()
}

#[tokio::test]
async fn names_in_the_order_of_texts_are_in_the_order_of_age() {
    // An owner whose topic was made anew, then the next owner; a zombie of the first goes on.
    let ages = [name(&cut(9, 5000), 1), name(&cut(9, 20), 2), name(&cut(9, 40), 10), name(&cut(10, 30), 1)];
    assert!(ages.is_sorted());
    assert_eq!(ages[0], "checkpoints/t/3/00000000000000000009-0000000001-00000000000000005000.fwck");
    let odd = Checkpoint { partition: PartitionId { stream: "a/b ü".into(), index: 0 }, ..cut(1, 1) };
    assert!(name(&odd, 1).is_ascii());
    let store = Store::open("memory:").await.unwrap();
    store.put(&name(&odd, 1), b"x".to_vec()).await.unwrap();
    assert_eq!(names(store.list(&odd.partition).await.unwrap()), [name(&odd, 1)]);
}

#[tokio::test]
async fn objects_come_back_and_go() {
    let folder = Folder::new("round");
    for place in ["memory:", folder.text(), &format!("file://{}", folder.text())] {
        let store = Store::open(place).await.unwrap();
        let (old, new) = (name(&cut(1, 5), 1), name(&cut(1, 9), 2));
        let partition = cut(1, 5).partition;
        assert!(store.get(&old).await.unwrap_err().is_missing());
        store.put(&old, b"old".to_vec()).await.unwrap();
        store.put(&new, b"new".to_vec()).await.unwrap();
        assert_eq!(&*store.get(&old).await.unwrap(), b"old");
        let listed = store.list(&partition).await.unwrap();
        assert_eq!((listed[0].bytes, listed[0].written.is_plausible()), (3, true));
        assert_eq!(names(listed), [new.clone(), old.clone()]);
        assert_eq!(store.list_all().await.unwrap().len(), 2, "{place}");
        store.delete(&old).await.unwrap();
        store.delete(&old).await.unwrap();
        store.delete(&new).await.unwrap();
        assert_eq!(store.list(&partition).await.unwrap(), []);
        store.put_rules(7, b"{}".to_vec()).await.unwrap();
        store.put_rules(7, b"else".to_vec()).await.unwrap();
        assert_eq!(&*store.get_rules(7).await.unwrap(), b"{}", "what a hash names does not change");
        store.delete(&rules_name(7)).await.unwrap();
    }
}

#[tokio::test]
async fn prune_keeps_the_newest_up_to_the_one_in_use_and_all_above() {
    let folder = Folder::new("prune");
    let store = Store::open(folder.text()).await.unwrap();
    let all: Vec<String> = (1..=6).map(|n| name(&cut(1, n), n as u64)).collect();
    for name in &all {
        store.put(name, b"x".to_vec()).await.unwrap();
    }
    let partition = cut(1, 1).partition;
    let unfinished = |name: &str| folder.0.join(format!("{name}#1"));
    std::fs::write(unfinished(&all[0]), "half").unwrap();
    std::fs::write(unfinished(&all[5]), "half").unwrap();
    let gone = store.prune(&partition, 3, &all[4]).await.unwrap();
    let mut left = names(store.list(&partition).await.unwrap());
    left.reverse();
    assert_eq!((gone, left.as_slice()), (3, &all[2..]));
    assert!(!unfinished(&all[0]).exists() && unfinished(&all[5]).exists());
    assert_eq!(
        store.prune(&partition, 0, &all[4]).await.unwrap(),
        2,
        "the one in use stays, whatever is asked"
    );
    assert_eq!(store.list(&partition).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_store_that_fails_says_what_failed_and_keeps_what_it_had() {
    let (faulty, store) = Faulty::store(1, false);
    let (old, new) = (name(&cut(1, 5), 1), name(&cut(1, 9), 2));
    store.put(&old, b"old".to_vec()).await.unwrap();
    let error = store.put(&new, b"new".to_vec()).await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with(&format!("cannot write {new} in faulty: ")) && said.contains("lost"), "{said}");
    assert!(!error.is_missing() && !store.get(&old).await.unwrap_err().is_missing());
    faulty.left.store(i64::MAX, Ordering::SeqCst);
    assert_eq!(names(store.list(&cut(1, 1).partition).await.unwrap()), [old]);
}

/// What was written although the answer was lost is an object that nothing names: it is overwritten by the
/// next try, or pruned once a newer one is in use.
#[tokio::test]
async fn a_write_whose_answer_was_lost_can_be_tried_again() {
    let (faulty, store) = Faulty::store(0, true);
    let (one, two) = (name(&cut(1, 5), 1), name(&cut(1, 9), 2));
    let partition = cut(1, 1).partition;
    store.put(&one, b"first try".to_vec()).await.unwrap_err();
    faulty.left.store(i64::MAX, Ordering::SeqCst);
    assert_eq!(names(store.list(&partition).await.unwrap()), std::slice::from_ref(&one));
    store.put(&one, b"again".to_vec()).await.unwrap();
    assert_eq!(&*store.get(&one).await.unwrap(), b"again");
    store.put(&two, b"next".to_vec()).await.unwrap();
    assert_eq!(store.prune(&partition, 1, &two).await.unwrap(), 1);
    assert_eq!(names(store.list(&partition).await.unwrap()), [two]);
}

#[tokio::test]
async fn a_store_that_cannot_be_used_does_not_open() {
    let (faulty, store) = Faulty::store(0, false);
    let said = store.check_writable().await.unwrap_err().to_string();
    assert!(said.contains("credentials must allow"), "{said}");
    faulty.left.store(1, Ordering::SeqCst);
    assert!(store.check_writable().await.is_err(), "what was written must be readable");
    let folder = Folder::new("file");
    std::fs::write(&folder.0, "a file").unwrap();
    let said = Store::open(folder.text()).await.unwrap_err().to_string();
    std::fs::remove_file(&folder.0).unwrap();
    assert!(said.contains("[checkpoints] url"), "{said}");
    let said = Store::open("ftp://x").await.unwrap_err().to_string();
    assert!(said.contains("\"ftp\" is no kind of store") && said.contains("s3://"), "{said}");
    if cfg!(not(feature = "cloud")) {
        let said = Store::open("s3://bucket/state").await.unwrap_err().to_string();
        assert!(said.contains("--features cloud"), "{said}");
    }
    let store = Store::open("memory:").await.unwrap();
    assert!(store.put("../../etc/passwd", Vec::new()).await.is_err());
    assert!(store.get("checkpoints//x").await.is_err());
}
