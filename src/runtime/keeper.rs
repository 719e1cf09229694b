//! Does for workers what takes time: asks the group and the brokers, reads and writes checkpoints, reads the
//! journal, compiles rule sets of before. Questions never wait for each other longer than their number demands,
//! and no worker waits for an answer: it comes through its channel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::prober::{Prober, Wanted};
use super::publish::Shelf;
use super::worker::{Compiled, Past};
use crate::checkpoint::{self, Store, rules};
use crate::event::{Checkpoint, PartitionId, Root, Timestamp, Told};
use crate::journal::{self, Tail};
use crate::kafka::{self, Error, Scout, Settings, Start, Topics};

/// Questions that are worked on at once.
const AT_ONCE: usize = 16;

/// How long one answer of Kafka may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a question is tried, and how long it rests in between, before its partition is claimed anew.
const TRIES: u32 = 10;
const REST: Duration = Duration::from_millis(500);

/// What a worker wants done.
#[derive(Debug)]
pub enum Question {
    /// What has the group committed?
    Root {
        /// Of which partition.
        partition: PartitionId,
        /// In which tenure.
        tenure: u64,
    },
    /// Which offsets does the broker hold?
    Range(PartitionId),
    /// Is there a record at this offset?
    End {
        /// The partition.
        partition: PartitionId,
        /// The offset.
        next_offset: i64,
        /// When it was asked.
        asked: Timestamp,
    },
    /// What was saved, told and said before?
    Past {
        /// Of which partition.
        partition: PartitionId,
        /// In which tenure.
        tenure: u64,
        /// The checkpoint, and where in the journal to begin.
        root: Root,
        /// Where in the journal to end.
        until: i64,
    },
    /// Write this.
    Save {
        /// In which tenure.
        tenure: u64,
        /// The state.
        cut: Box<Checkpoint>,
    },
    /// What is older than this may go, but for a few.
    Prune {
        /// The partition.
        partition: PartitionId,
        /// The checkpoint that the group names.
        name: Arc<str>,
    },
}

/// What comes of it. Some questions have none: nobody waits for it.
#[derive(Debug)]
pub enum Answer {
    /// What the group has committed.
    Rooted {
        /// Of which partition.
        partition: PartitionId,
        /// In which tenure it was asked.
        tenure: u64,
        /// Where reading goes on.
        next_offset: i64,
        /// Where its state lies.
        root: Option<Root>,
    },
    /// It could not be found out.
    Unknown {
        /// The partition.
        partition: PartitionId,
        /// In which tenure it was asked.
        tenure: u64,
    },
    /// The offsets that the broker holds.
    Ranged {
        /// Of which partition.
        partition: PartitionId,
        /// The oldest.
        oldest: i64,
        /// The one that comes next.
        end: i64,
    },
    /// There was no record at that offset.
    AtEnd {
        /// The partition.
        partition: PartitionId,
        /// The offset.
        next_offset: i64,
        /// When it was asked.
        asked: Timestamp,
    },
    /// The past of a partition.
    Loaded {
        /// The partition.
        partition: PartitionId,
        /// In which tenure it was asked.
        tenure: u64,
        /// What there was.
        past: Box<Past>,
    },
    /// A checkpoint has been written; none: it could not be.
    Saved {
        /// The partition.
        partition: PartitionId,
        /// In which tenure it was asked.
        tenure: u64,
        /// Its name.
        name: Option<Arc<str>>,
    },
}

/// What a keeper is given.
pub struct Keeping {
    /// How to reach Kafka.
    pub settings: Arc<Settings>,
    /// What is read.
    pub topics: Arc<Topics>,
    /// How many partitions the journal has.
    pub journal: i32,
    /// Where checkpoints are.
    pub store: Store,
    /// How many of a partition are kept.
    pub keep: usize,
    /// Whether a partition whose state is lost may start without it.
    pub cold: bool,
    /// Where rule sets come from: which rules of an old one run here. None: all.
    pub shelf: Option<Arc<dyn Shelf>>,
}

/// Answers all workers of a process.
pub struct Keeper {
    with: Arc<With>,
    handle: Handle,
    prober: Prober,
}

/// What answers are made of.
struct With {
    keeping: Keeping,
    scout: Scout,
    gate: Semaphore,
    /// Numbers checkpoints.
    number: AtomicU64,
    /// Sets that have been compiled, by hash.
    sets: Mutex<BTreeMap<u128, Compiled>>,
    /// Why nothing can go on.
    refusal: Mutex<Option<String>>,
    failures: AtomicU64,
}

impl Keeper {
    /// Ready for questions; works on `handle`. The error is one of settings.
    pub fn open(keeping: Keeping, handle: Handle) -> Result<Keeper, Error> {
        let scout = Scout::open(&keeping.settings, &keeping.topics)?;
        let prober = Prober::start(keeping.settings.clone(), keeping.topics.clone())?;
        let with = With {
            keeping,
            scout,
            gate: Semaphore::new(AT_ONCE),
            number: AtomicU64::new(0),
            sets: Mutex::default(),
            refusal: Mutex::default(),
            failures: AtomicU64::new(0),
        };
        Ok(Keeper { with: Arc::new(with), handle, prober })
    }

    /// A set that need not be compiled again.
    pub fn knows(&self, compiled: &Compiled) {
        lock(&self.with.sets).insert(compiled.rules.hash, compiled.clone());
    }

    /// Why nothing can go on, if that is so.
    pub fn refusal(&self) -> Option<String> {
        lock(&self.with.refusal).clone()
    }

    /// Checkpoints that could not be written.
    pub fn failures(&self) -> u64 {
        self.with.failures.load(Ordering::Relaxed)
    }

    /// Asks; the answer comes to `back`.
    pub fn ask(&self, question: Question, back: &Sender<Answer>) {
        let back = back.clone();
        if let Question::End { partition, next_offset, asked } = question {
            return self.prober.ask(Wanted { partition, next_offset, asked, back });
        }
        let with = self.with.clone();
        self.handle.spawn(async move {
            let Ok(_permit) = with.gate.acquire().await else { return };
            if let Some(answer) = with.answer(question).await {
                // Whoever no longer listens has stopped.
                drop(back.send(answer));
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl With {
    async fn answer(self: &Arc<Self>, question: Question) -> Option<Answer> {
        match question {
            Question::Root { partition, tenure } => Some(self.root(partition, tenure).await),
            Question::Range(partition) => {
                let asked = partition.clone();
                let (oldest, end) = self
                    .tried("the offsets of", &partition, move |with| with.scout.range(&asked, PATIENCE))
                    .await?;
                Some(Answer::Ranged { partition, oldest, end })
            }
            Question::Past { partition, tenure, root, until } => {
                Some(match self.past(&partition, &root, until).await {
                    Some(past) => Answer::Loaded { partition, tenure, past: Box::new(past) },
                    None => Answer::Unknown { partition, tenure },
                })
            }
            Question::Save { tenure, cut } => {
                let partition = cut.partition.clone();
                let name = self.save(*cut).await;
                Some(Answer::Saved { partition, tenure, name })
            }
            Question::Prune { partition, name } => {
                let keeping = &self.keeping;
                if let Err(error) = keeping.store.prune(&partition, keeping.keep, &name).await {
                    tracing::warn!("old checkpoints of {partition} stay: {error}");
                }
                None
            }
            Question::End { .. } => None,
        }
    }

    /// Asks Kafka, on a thread that may wait, and again if there is no answer.
    async fn tried<T: Send + 'static>(
        self: &Arc<Self>,
        what: &str,
        partition: &PartitionId,
        ask: impl Fn(&With) -> Result<T, Error> + Clone + Send + 'static,
    ) -> Option<T> {
        for _ in 0..TRIES {
            let (with, ask) = (self.clone(), ask.clone());
            match tokio::task::spawn_blocking(move || ask(&with)).await {
                Ok(Ok(found)) => return Some(found),
                Ok(Err(error)) => tracing::warn!("{what} {partition}, asked again: {error}"),
                Err(error) => tracing::error!("{what} {partition}: {error}"),
            }
            tokio::time::sleep(REST).await;
        }
        None
    }

    async fn root(self: &Arc<Self>, partition: PartitionId, tenure: u64) -> Answer {
        let asked = partition.clone();
        let found = self.tried("what the group has committed of", &partition, move |with| {
            let (next_offset, root) = with.scout.root(&asked, PATIENCE)?;
            let next_offset = match next_offset {
                Some(offset) => offset,
                None => {
                    let (oldest, end) = with.scout.range(&asked, PATIENCE)?;
                    if with.keeping.settings.start == Start::Earliest { oldest } else { end }
                }
            };
            Ok((next_offset, root))
        });
        match found.await {
            Some((next_offset, root)) => Answer::Rooted { partition, tenure, next_offset, root },
            None => Answer::Unknown { partition, tenure },
        }
    }

    /// None: it is to be asked again, from the claim on.
    async fn past(self: &Arc<Self>, partition: &PartitionId, root: &Root, until: i64) -> Option<Past> {
        // What owners before us saved and did not publish must never be taken for something that they did.
        let published = root.checkpoint.as_deref();
        if let Err(error) = self.keeping.store.discard(partition, published, root.epoch).await {
            tracing::warn!("checkpoints of {partition} that nobody published stay: {error}");
        }
        let checkpoint = match &root.checkpoint {
            None => None,
            Some(name) => match self.checkpoint(partition, name).await {
                Found::Named(saved) => Some((saved, root.journal)),
                Found::Older(saved) => {
                    let journal = saved.journal;
                    Some((saved, journal))
                }
                // Without its state, what was told and said behind it means nothing.
                Found::Nothing if self.keeping.cold => return Some(Past::default()),
                Found::Nothing => {
                    let place = self.keeping.store.place();
                    let mut refusal = lock(&self.refusal);
                    refusal.get_or_insert_with(|| {
                        format!(
                            "{partition}: the group says that its state is checkpoint {name}, and {place} holds \
                             neither that nor an older one; name the right store in [checkpoints], or start \
                             with --cold, without the state"
                        )
                    });
                    return None;
                }
            },
        };
        let (journal, epoch) = match &checkpoint {
            Some((saved, journal)) => (*journal, saved.epoch),
            None => (root.journal, root.journal),
        };
        let begins = Tail::behind(partition, epoch);
        let begins = match &checkpoint {
            Some((saved, _)) => begins.covered(saved.next_offset, saved.epoch),
            None => begins,
        };
        let tail = self.tail(partition, journal..=until, begins).await?;
        let checkpoint = checkpoint.map(|(saved, _)| saved);
        let wanted: BTreeSet<u128> = checkpoint
            .iter()
            .map(|saved| saved.rules)
            .chain(tail.told.iter().filter_map(|(_, told)| match told {
                Told::Rules(hash) => Some(*hash),
                Told::Tick(_) | Told::Gap { .. } => None,
            }))
            .collect();
        let mut sets = Vec::new();
        for hash in wanted {
            sets.extend(self.set(hash).await);
        }
        Some(Past { checkpoint, tail, sets })
    }

    /// The checkpoint of that name, or the newest older one that can be read.
    async fn checkpoint(self: &Arc<Self>, partition: &PartitionId, name: &str) -> Found {
        match self.read(name).await {
            Ok(saved) => return Found::Named(saved),
            Err(error) => tracing::error!("{partition}: {error}"),
        }
        let listed = match self.keeping.store.list(partition).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::error!("{partition}: {error}");
                return Found::Nothing;
            }
        };
        for older in listed.iter().filter(|listed| listed.name.as_str() < name) {
            match self.read(&older.name).await {
                Ok(saved) => {
                    tracing::warn!("{partition} goes on from the older checkpoint {}", older.name);
                    return Found::Older(saved);
                }
                Err(error) => tracing::error!("{partition}: {error}"),
            }
        }
        Found::Nothing
    }

    async fn read(self: &Arc<Self>, name: &str) -> Result<Checkpoint, String> {
        let mut tries = 0;
        let bytes = loop {
            match self.keeping.store.get(name).await {
                Ok(bytes) => break bytes,
                Err(error) if error.is_missing() || tries >= TRIES => return Err(error.to_string()),
                Err(error) => tracing::warn!("{error}, tried again"),
            }
            tries += 1;
            tokio::time::sleep(REST).await;
        };
        let decoded = tokio::task::spawn_blocking(move || checkpoint::decode(&bytes)).await;
        match decoded {
            Ok(Ok(saved)) => Ok(saved.checkpoint),
            Ok(Err(refused)) => Err(format!("checkpoint {name}: {refused}")),
            Err(error) => Err(format!("checkpoint {name}: {error}")),
        }
    }

    async fn tail(
        self: &Arc<Self>,
        partition: &PartitionId,
        range: std::ops::RangeInclusive<i64>,
        begins: Tail,
    ) -> Option<Tail> {
        let source = partition.clone();
        self.tried("the journal of", partition, move |with| {
            let keeping = &with.keeping;
            let mut tail = begins.clone();
            let place = journal::partition_of(&source, keeping.journal);
            let (from, until) = (*range.start(), *range.end());
            let reader = kafka::Tail::open(&keeping.settings, "fleetwarden-tail")?;
            reader.read(place, from, until, PATIENCE, |offset, bytes| match journal::decode(bytes) {
                Ok(written) if written.stamp.source == source => tail.push(&written.stamp, &written.entry),
                Ok(_) => {}
                Err(error) => tracing::error!("journal, partition {place} at {offset}: {error}"),
            })?;
            Ok(tail)
        })
        .await
    }

    /// A rule set of before; none if it cannot be had, which is logged.
    async fn set(self: &Arc<Self>, hash: u128) -> Option<Compiled> {
        if let Some(known) = lock(&self.sets).get(&hash) {
            return Some(known.clone());
        }
        let compiled = match self.keeping.store.get_rules(hash).await {
            Ok(text) => {
                let compile = move || {
                    let content = rules::decode(&text)?;
                    rules::compile(hash, &content)
                };
                tokio::task::spawn_blocking(compile).await.unwrap_or_else(|error| Err(error.to_string()))
            }
            Err(error) => Err(error.to_string()),
        };
        match compiled {
            Ok((rules, schemas)) => {
                let rules = match &self.keeping.shelf {
                    Some(shelf) => shelf.fit(rules, &schemas),
                    None => rules,
                };
                let compiled = Compiled { rules: Arc::new(rules), schemas: schemas.into() };
                lock(&self.sets).insert(hash, compiled.clone());
                Some(compiled)
            }
            Err(error) => {
                tracing::error!("rules {hash:032x} judged before, and cannot be had: {error}");
                None
            }
        }
    }

    async fn save(self: &Arc<Self>, cut: Checkpoint) -> Option<Arc<str>> {
        let name = checkpoint::store::name(&cut, self.number.fetch_add(1, Ordering::Relaxed) + 1);
        let partition = cut.partition.clone();
        let encoded = tokio::task::spawn_blocking(move || checkpoint::encode(&cut)).await;
        let written = match encoded {
            Ok(Ok(bytes)) => self.keeping.store.put(&name, bytes).await.map_err(|error| error.to_string()),
            Ok(Err(refused)) => Err(refused.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match written {
            Ok(()) => Some(name.into()),
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!("the state of {partition} is not saved, the one before is kept: {error}");
                None
            }
        }
    }
}

/// What was found of a checkpoint.
enum Found {
    Named(Checkpoint),
    Older(Checkpoint),
    Nothing,
}
