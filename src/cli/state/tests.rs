use super::*;
use crate::checkpoint::format::fixture;
use crate::checkpoint::{encode, rules, store};
use crate::event::Checkpoint;
use crate::rule::content::Content;

async fn filled() -> (Store, Checkpoint) {
    let store = Store::open(store::MEMORY).await.unwrap();
    let mut checkpoint = fixture::checkpoint(3);
    store.put(&store::name(&checkpoint, 1), encode(&checkpoint).unwrap()).await.unwrap();
    checkpoint.next_offset += 1;
    store.put(&store::name(&checkpoint, 2), encode(&checkpoint).unwrap()).await.unwrap();
    (store, checkpoint)
}

#[tokio::test]
async fn a_list_shows_the_newest_whole_and_names_the_older() {
    let (store, checkpoint) = filled().await;
    let mut found = newest(&store, Some("t/3")).await.unwrap();
    for listed in found.iter_mut().flat_map(|one| std::iter::once(&mut one.listed).chain(&mut one.older)) {
        (listed.written, listed.bytes) = (Timestamp(5_000_000), 12_345);
    }
    let text = look::list(&found, Timestamp(12_000_000));
    let expected = format!(
        "t/3  next offset 25, epoch 17, stream time {}, rules {:032x}\n  \
           12.3 kB, 7 s old, checkpoints/t/3/00000000000000000017-0000000002-00000000000000000025.fwck\n    \
             cohort                                   8 keys\n    \
             count                                    3 keys, 1 in suppression\n    \
             distinct                                 3 keys\n    \
             every                                    0 keys, 1 in suppression\n    \
             lists                                    3 keys\n    \
             poisson                                  3 keys\n  \
           12.3 kB, 7 s old, checkpoints/t/3/00000000000000000017-0000000001-00000000000000000024.fwck\n",
        checkpoint.stream_time, checkpoint.rules
    );
    assert_eq!(text, expected);
    let none = newest(&store, Some("t/4")).await.map(drop).unwrap_err();
    assert_eq!(none, "there is no checkpoint of t/4 in memory:");
    assert!(newest(&store, Some("t")).await.map(drop).unwrap_err().contains("telemetry/3"));
}

#[tokio::test]
async fn a_key_is_shown_in_words() {
    let (store, _) = filled().await;
    let found = newest(&store, None).await.unwrap();
    let text = look::show(&found, "count", "V0,0").unwrap();
    for part in ["V0,0 in t/3\n", "seen           more than once, as key 1\n", "counted at ", "alert "] {
        assert!(text.contains(part), "{text}");
    }
    assert!(look::show(&found, "distinct", "V1,1").unwrap().contains("distinct       "));
    assert!(look::show(&found, "poisson", "V1").unwrap().contains("learned        "));
    assert!(look::show(&found, "count", "V9,9").unwrap_err().contains("knows no key"));
    assert!(look::show(&found, "nothing", "V1").unwrap_err().contains("state list"));
}

#[tokio::test]
async fn verify_finds_what_could_not_be_used() {
    let (store, checkpoint) = filled().await;
    let (text, exit) = look::verify(&store).await.unwrap();
    assert!(text.contains("not in the store") && text.ends_with("2 checkpoints, 0 bad\n"), "{text}");
    assert_eq!(exit, Exit::Ok);
    let document = rules::encode(checkpoint.rules, &Content::default());
    store.put_rules(checkpoint.rules, document).await.unwrap();
    store.put(&store::name(&checkpoint, 3), b"nonsense".to_vec()).await.unwrap();
    let (text, exit) = look::verify(&store).await.unwrap();
    assert!(text.contains("this is no checkpoint") && text.ends_with("3 checkpoints, 1 bad\n"), "{text}");
    assert_eq!(exit, Exit::Findings);
}

#[tokio::test]
async fn a_forgotten_key_is_in_no_rule_and_no_checkpoint() {
    let (store, _) = filled().await;
    let (text, exit) = erase::forget(&store, "V1").await.unwrap();
    assert_eq!(exit, Exit::Ok, "{text}");
    assert!(text.starts_with("V1: ") && text.contains("2 checkpoints"), "{text}");
    let mut left = 0;
    for listed in store.list_all().await.unwrap() {
        let saved = read(&store, &listed.name).await.unwrap();
        for table in &saved.checkpoint.tables {
            for row in table.detector.iter().flat_map(look::rows_of) {
                assert!(row.values.iter().all(|value| look::text(value) != "V1"));
                left += 1;
            }
        }
    }
    assert!(left > 20, "the others stay");
    let (text, _) = erase::forget(&store, "V1").await.unwrap();
    assert_eq!(text, "V1: 0 rows gone from 0 checkpoints\n");
}

#[tokio::test]
async fn a_deleted_rule_starts_without_memory() {
    let (store, _) = filled().await;
    let text = erase::delete_rule(&store, "count").await.unwrap();
    assert_eq!(text, "rule count is gone from 2 checkpoints, and starts without memory\n");
    assert!(erase::delete_rule(&store, "count").await.is_err());
    let found = newest(&store, None).await.unwrap();
    assert!(look::show(&found, "count", "V0,0").is_err());
    assert!(look::show(&found, "distinct", "V0,0").is_ok());
}

#[test]
fn nothing_is_deleted_while_somebody_may_run() {
    assert!(erase::only_if_stopped(None, false).unwrap_err().contains("--stopped"));
    assert_eq!(erase::only_if_stopped(None, true), Ok(()));
}

#[tokio::test]
async fn an_exported_table_is_an_arrow_file() {
    let (store, _) = filled().await;
    let found = newest(&store, None).await.unwrap();
    let path = std::env::temp_dir().join(format!("fleetwarden-export-{}.arrow", std::process::id()));
    let said = look::export(&found, "count", &path).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let reader = arrow::ipc::reader::FileReader::try_new(file, None).unwrap();
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    std::fs::remove_file(&path).unwrap();
    assert_eq!((rows, said.starts_with("3 keys of rule count in ")), (3, true), "{said}");
}
