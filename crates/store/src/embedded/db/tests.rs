//! The writer, its groups and what becomes of them when something fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use model::Timestamp;

use super::{Counter, Db, Sql as _};
use crate::conformance::fixtures::StoppedClock;
use crate::{Noun, StoreError};

struct Opened {
    db: Db,
    dir: tempfile::TempDir,
}

impl Opened {
    fn file(&self) -> PathBuf {
        self.dir.path().join("db.sqlite")
    }
}

fn open() -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("db.sqlite"), Arc::new(StoppedClock::default())).unwrap();
    Opened { db, dir }
}

async fn insert(db: &Db, id: &'static str) -> Result<i64, StoreError> {
    db.write(move |tx| insert_in(tx, id)).await
}

fn insert_in(tx: &mut super::WriteTx<'_>, id: &str) -> Result<i64, StoreError> {
    tx.run("INSERT INTO storage (id, kind, user_id, created_at, doc) VALUES (?1, 1, 'u', 0, '{}')", [id])?;
    let k = tx.last_insert_rowid();
    tx.create_counter(k, &Counter::default())?;
    Ok(k)
}

fn ids(db: &Db) -> Vec<String> {
    db.read(|connection| connection.all("SELECT id FROM storage ORDER BY id", [], |row| row.get(0))).unwrap()
}

/// Holds the writer up until it is told to go on, so that what comes meanwhile is one group.
fn hold(db: &Db) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel();
    let (reached, is_there) = mpsc::channel();
    let db = db.clone();
    tokio::spawn(async move {
        db.write(move |_| {
            reached.send(()).unwrap();
            wait.recv().map_err(|error| StoreError::Backend(error.into()))
        })
        .await
    });
    tokio::task::block_in_place(|| is_there.recv().unwrap());
    go
}

/// Lets tasks that were spawned before run until they wait.
async fn settle(db: &Db, waiting: usize) {
    let super::Mode::Threads { queue, .. } = &db.inner.mode else { unreachable!("opened with threads") };
    while queue.len() < waiting {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_fails_leaves_its_neighbours_alone() {
    let opened = open();
    let db = &opened.db;
    let k = insert(db, "counted").await.unwrap();
    let go = hold(db);
    let spawn = |op: fn(&mut super::WriteTx<'_>, i64) -> Result<(), StoreError>, checked: bool| {
        let db = db.clone();
        tokio::spawn(async move {
            if checked { db.write_checked(0, move |tx| op(tx, k)).await } else { db.write(move |tx| op(tx, k)).await }
        })
    };

    let count = |tx: &mut super::WriteTx<'_>, k: i64| {
        tx.counter_mut(k)?.items += 1;
        Ok(())
    };
    let first = spawn(count, true);
    settle(db, 1).await;
    let fails = spawn(
        |tx, k| {
            insert_in(tx, "half")?;
            tx.counter_mut(k)?.items += 100;
            Err(StoreError::NameTaken)
        },
        false,
    );
    settle(db, 2).await;
    let panics = spawn(
        |tx, k| {
            tx.counter_mut(k)?.items += 1000;
            insert_in(tx, "panicked")?;
            panic!("a bug")
        },
        false,
    );
    settle(db, 3).await;
    let refuses = spawn(|tx, _| tx.counter(99).map(|_| ()), true);
    settle(db, 4).await;
    let last = spawn(
        |tx, k| {
            assert_eq!(tx.counter(k)?.items, 1);
            insert_in(tx, "last").map(|_| ())
        },
        false,
    );
    settle(db, 5).await;
    go.send(()).unwrap();

    first.await.unwrap().unwrap();
    assert!(matches!(fails.await.unwrap(), Err(StoreError::NameTaken)));
    assert!(matches!(panics.await.unwrap(), Err(StoreError::Backend(_))));
    assert!(matches!(refuses.await.unwrap(), Err(StoreError::NotFound(Noun::Storage))));
    last.await.unwrap().unwrap();
    assert_eq!(ids(db), ["counted", "last"]);
    assert_eq!(db.read(|connection| Counter::load(connection, k)).unwrap().items, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_promise_undoes_the_group_and_the_next_one_is_whole() {
    let opened = open();
    let db = &opened.db;
    let k = insert(db, "counted").await.unwrap();
    let go = hold(db);
    let neighbour = tokio::spawn({
        let db = db.clone();
        async move {
            db.write(move |tx| {
                tx.counter_mut(k)?.items += 1;
                insert_in(tx, "neighbour")
            })
            .await
        }
    });
    settle(db, 1).await;
    let breaks = tokio::spawn({
        let db = db.clone();
        async move {
            db.write_checked(0, move |tx| {
                insert_in(tx, "half")?;
                Err::<(), _>(StoreError::NameTaken)
            })
            .await
        }
    });
    settle(db, 2).await;
    go.send(()).unwrap();

    assert!(matches!(neighbour.await.unwrap(), Err(StoreError::Backend(_))));
    assert!(matches!(breaks.await.unwrap(), Err(StoreError::NameTaken)));
    assert_eq!(ids(db), ["counted"]);
    db.write(move |tx| {
        tx.counter_mut(k)?.items += 1;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(db.read(|connection| Counter::load(connection, k)).unwrap().items, 1);
}

#[tokio::test]
async fn hooks_run_before_the_caller_hears_and_only_if_the_write_stands() {
    let opened = open();
    let (told, hears) = mpsc::channel();

    let (tell, never) = (told.clone(), told);
    let good = opened.db.write(move |tx| {
        tx.after_commit(move || tell.send("good").unwrap());
        Ok(())
    });
    good.await.unwrap();
    assert_eq!(hears.try_recv(), Ok("good"));
    let bad = opened.db.write(move |tx| {
        tx.after_commit(move || never.send("bad").unwrap());
        Err::<(), _>(StoreError::NameTaken)
    });
    assert!(bad.await.is_err());
    assert!(hears.try_recv().is_err());
}

#[tokio::test]
async fn a_full_disk_is_an_error_from_which_the_store_recovers() {
    let opened = open();
    let db = &opened.db;
    let k = insert(db, "counted").await.unwrap();
    let limit = |pages: i64| async move {
        db.write(move |tx| {
            tx.pragma_update(None, "max_page_count", pages)?;
            Ok(())
        })
        .await
        .unwrap();
    };
    let fill = || {
        db.write_checked(0, move |tx| {
            tx.counter_mut(k)?.items += 1;
            tx.run("INSERT INTO record_body (body) VALUES (zeroblob(1000000))", [])?;
            Ok(())
        })
    };

    limit(60).await;
    assert!(matches!(fill().await, Err(StoreError::Full)));
    assert_eq!(db.read(|connection| Counter::load(connection, k)).unwrap().items, 0);
    let small = db.write(move |tx| {
        tx.counter_mut(k)?.items += 1;
        Ok(())
    });
    small.await.unwrap();

    limit(1_000_000).await;
    fill().await.unwrap();
    assert_eq!(db.read(|connection| Counter::load(connection, k)).unwrap().items, 2);
}

#[tokio::test]
async fn closing_carries_out_what_waits_and_empties_the_log() {
    let opened = open();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let db = opened.db.clone();
            tokio::spawn(async move {
                db.write(|tx| {
                    tx.run("INSERT INTO record_body (body) VALUES (x'')", [])?;
                    Ok(())
                })
                .await
            })
        })
        .collect();
    for write in waiting {
        write.await.unwrap().unwrap();
    }

    opened.db.close();
    opened.db.close();

    assert!(insert(&opened.db, "late").await.is_err());
    let log = opened.dir.path().join("db.sqlite-wal");
    assert_eq!(std::fs::metadata(log).map_or(0, |log| log.len()), 0);
    let again = Db::open(&opened.file(), Arc::new(StoppedClock::default())).unwrap();
    let rows: u32 = again
        .read(|connection| Ok(connection.one("SELECT count(*) FROM record_body", [], |row| row.get(0))?.unwrap()))
        .unwrap();
    assert_eq!(rows, 100);
}

#[tokio::test]
async fn a_counter_made_by_an_operation_that_failed_is_not_remembered() {
    let opened = open();
    let db = &opened.db;

    let failed = db.write(|tx| {
        let k = insert_in(tx, "a")?;
        tx.counter_mut(k)?.items = 7;
        tx.counter_mut(k)?.modified_at = Timestamp::from_millis(1);
        Err::<(), _>(StoreError::NameTaken)
    });
    assert!(failed.await.is_err());

    let items = db.write(|tx| {
        let k = insert_in(tx, "b")?;
        Ok(tx.counter(k)?.items)
    });
    assert_eq!(items.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_starts_over_though_somebody_always_reads() {
    const MAX_PAGES: i64 = 256;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("db.sqlite");
    let db = Db::open_with(&file, Arc::new(StoppedClock::default()), MAX_PAGES).unwrap();
    insert(&db, "a").await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    // Each read overlaps with the next ones of the others, so there is always one from before the last commit.
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (db, is_over) = (db.clone(), is_over.clone());
            std::thread::spawn(move || {
                let count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
                             SELECT count(*) FROM n, storage";
                while !is_over.load(Ordering::Relaxed) {
                    db.read(|connection| connection.one(count, [], |row| row.get::<_, i64>(0))).unwrap();
                }
            })
        })
        .collect();

    let (mut written, mut longest) = (0, 0);
    for round in 0..150 {
        let doc = round.to_string().repeat(400_000);
        written += doc.len() as u64;
        db.write(move |tx| tx.run("UPDATE storage SET doc = ?1", [doc]).map(drop)).await.unwrap();
        longest = longest.max(std::fs::metadata(dir.path().join("db.sqlite-wal")).unwrap().len());
    }

    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(longest < written / 2, "{longest} bytes of log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_starts_over_though_the_writer_never_rests() {
    const MAX_PAGES: i64 = 256;
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(&dir.path().join("db.sqlite"), Arc::new(StoppedClock::default()), MAX_PAGES).unwrap();
    insert(&db, "a").await.unwrap();

    // Whenever one is answered, others wait already.
    let write = |number: usize| {
        let doc = number.to_string().repeat(20_000);
        let (db, size) = (&db, doc.len() as u64);
        async move { db.write(move |tx| tx.run("UPDATE storage SET doc = ?1", [doc]).map(|_| size)).await.unwrap() }
    };
    let written: u64 =
        stream::iter(10_000..10_300).map(write).buffer_unordered(4).fold(0, async |sum, size| sum + size).await;

    let log = std::fs::metadata(dir.path().join("db.sqlite-wal")).unwrap().len();
    assert!(log < written / 4, "{log} bytes of log for {written} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_emptied_when_nobody_writes_any_more() {
    let opened = open();
    insert(&opened.db, "a").await.unwrap();
    let doc = "x".repeat(8 << 20);
    opened.db.write(move |tx| tx.run("UPDATE storage SET doc = ?1", [doc]).map(drop)).await.unwrap();
    let log = opened.dir.path().join("db.sqlite-wal");
    let length = || std::fs::metadata(&log).unwrap().len();
    assert!(length() > 8 << 20);

    let deadline = Instant::now() + Duration::from_secs(60);
    while length() > 0 {
        assert!(Instant::now() < deadline, "{} bytes of log", length());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    insert(&opened.db, "b").await.unwrap();
    assert_eq!(ids(&opened.db), ["a", "b"]);
}
