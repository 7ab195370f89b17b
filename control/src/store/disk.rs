//! The store of a single process that survives it: a file (redb, <https://www.redb.org>).
//!
//! All is in memory as [`Tables`]; the file is written before an answer is given. One thread of its own does
//! that, for all calls that wait at that moment together, so that the cost of making a write durable
//! (fsync(2)) is shared. A write is in the file or is not: redb copies on write and swaps the root last. A
//! lock on the file keeps a second process out.
//!
//! One table, `rows`: `format`; `record/MOID`, `domain/MOID`, `note/NODE` (JSON); `occupant/DOMAIN/CLASS/MOID`
//! (milliseconds since 1970 in decimal, with the domain's slashes as `%2F`).

use super::embedded::unix_ms;
use super::tables::Row;
use super::{Base, Changes, Cursor, Peer, Place, Store, StoreError, Tables};
use crate::conference::{Domain, NodeNote, Record};
use anyhow::{Context, Result, anyhow, bail};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use tokio::sync::oneshot;

const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");
/// Raised when an older program would misread the rows.
const FORMAT: &str = "1";
/// Memory for pages that are read again: what is read is in the tables already.
const CACHE_BYTES: usize = 4 << 20;
/// Calls that one write to the file may answer.
const BATCH_MAX: usize = 1_000;

/// A store in a file.
pub struct DiskStore {
    jobs: mpsc::Sender<Job>,
    name: String,
}

/// What to do with the tables; then who is told how it went, when the file has it.
type Job = Box<dyn FnOnce(&mut Tables) -> Told + Send>;
type Told = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

impl DiskStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// Another process uses it; it is damaged, of a newer motet, or something else; it cannot be opened.
    pub fn open(path: &Path) -> Result<DiskStore> {
        let mut file =
            File { path: path.to_owned(), database: None, tables: Tables::default(), generation: 0 };
        file.reopen()?;
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new().name("motet-store".into());
        thread.spawn(move || file.work(&waiting)).context("cannot start a thread")?;
        Ok(DiskStore { jobs, name: format!("embedded:{}", path.display()) })
    }

    /// Has the thread do something, and waits until the file has it.
    async fn on_tables<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Tables) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |tables| {
            let done = ask(tables);
            Box::new(move |written| {
                let _ = answer.send(written.and(done));
            })
        });
        let ended = || StoreError::Unavailable(format!("{}: its thread has ended", self.name));
        self.jobs.send(job).map_err(|_| ended())?;
        wait.await.map_err(|_| ended())?
    }
}

/// The file, and what is in it.
struct File {
    path: PathBuf,
    /// None: to be opened again after a failure.
    database: Option<Database>,
    tables: Tables,
    generation: u64,
}

impl File {
    /// Does jobs until nobody can send any more.
    fn work(mut self, waiting: &mpsc::Receiver<Job>) {
        while let Ok(first) = waiting.recv() {
            let jobs: Vec<Job> =
                std::iter::once(first).chain(waiting.try_iter().take(BATCH_MAX - 1)).collect();
            let result = self.ready();
            let told: Vec<Told> = jobs.into_iter().map(|job| job(&mut self.tables)).collect();
            let result = result.and_then(|()| self.write()).map_err(|error| {
                // What is in the tables is not in the file: they are read again before the next call.
                self.database = None;
                StoreError::Unavailable(format!("{error:#}"))
            });
            for tell in told {
                tell(result.clone());
            }
        }
    }

    fn ready(&mut self) -> Result<()> {
        if self.database.is_none() { self.reopen() } else { Ok(()) }
    }

    /// Opens the file and reads all of it.
    fn reopen(&mut self) -> Result<()> {
        self.database = None;
        self.generation += 1;
        let generation = self.generation;
        // A damaged file must not end the process, whatever the library makes of it.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = open_database(&self.path)?;
            let tables = read(&database, generation)?;
            Ok((database, tables))
        }));
        let (database, tables) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(explain(&self.path, error)),
            Err(_) => return Err(damaged(&self.path, "reading it failed")),
        };
        (self.database, self.tables) = (Some(database), tables);
        Ok(())
    }

    /// Writes what has changed, durably.
    fn write(&mut self) -> Result<()> {
        let touched = self.tables.take_touched();
        let Some(database) = self.database.as_ref().filter(|_| !touched.is_empty()) else { return Ok(()) };
        let failed = || format!("cannot write {}", self.path.display());
        let transaction = database.begin_write().with_context(failed)?;
        {
            let mut rows = transaction.open_table(ROWS).with_context(failed)?;
            for row in &touched {
                let key = key(row);
                match value(&self.tables, row) {
                    Some(value) => drop(rows.insert(&*key, &*value).with_context(failed)?),
                    None => drop(rows.remove(&*key).with_context(failed)?),
                }
            }
        }
        transaction.commit().with_context(failed)
    }
}

fn open_database(path: &Path) -> Result<Database> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
    let transaction = database.begin_write()?;
    let format = {
        let mut rows = transaction.open_table(ROWS)?;
        let known = rows.get("format")?.map(|format| String::from_utf8_lossy(format.value()).into_owned());
        if known.is_none() {
            rows.insert("format", FORMAT.as_bytes())?;
        }
        known
    };
    match format {
        None => transaction.commit()?,
        Some(format) if format == FORMAT => transaction.abort()?,
        Some(format) => bail!("it was written by another version of motet (format {format}, not {FORMAT})"),
    }
    Ok(database)
}

/// Reads everything.
fn read(database: &Database, generation: u64) -> Result<Tables> {
    let mut tables = Tables::of_generation(generation);
    let rows = database.begin_read()?.open_table(ROWS)?;
    for row in rows.iter()? {
        let (key, value) = row?;
        let (key, value) = (key.value(), value.value());
        if key == "format" {
            continue;
        }
        take(&mut tables, key, value).with_context(|| format!("its row {key} cannot be read"))?;
    }
    Ok(tables)
}

fn take(tables: &mut Tables, key: &str, value: &[u8]) -> Result<()> {
    let (kind, rest) = key.split_once('/').ok_or_else(|| anyhow!("of an unknown kind"))?;
    match kind {
        "record" => tables.insert(serde_json::from_slice::<Record>(value)?),
        "domain" => tables.insert_domain(serde_json::from_slice::<Domain>(value)?),
        "note" => tables.insert_note(serde_json::from_slice::<NodeNote>(value)?),
        "occupant" => {
            let [domain, class, conference] =
                rest.splitn(3, '/').collect::<Vec<_>>().try_into().map_err(|_| anyhow!("a short key"))?;
            let place = Place { domain: domain.replace("%2F", "/"), class: class.to_owned() };
            tables.insert_occupant(place, conference.to_owned(), std::str::from_utf8(value)?.parse()?);
        }
        _ => bail!("of an unknown kind"),
    }
    Ok(())
}

fn key(row: &Row) -> String {
    match row {
        Row::Record(id) => format!("record/{id}"),
        Row::Domain(id) => format!("domain/{id}"),
        Row::Note(node) => format!("note/{node}"),
        Row::Occupant(place, id) => {
            format!("occupant/{}/{}/{id}", place.domain.replace('/', "%2F"), place.class)
        }
    }
}

/// None: it is not there any more.
fn value(tables: &Tables, row: &Row) -> Option<Vec<u8>> {
    match row {
        Row::Record(id) => {
            tables.record(id).map(|row| serde_json::to_vec(row).expect("a record is plain data"))
        }
        Row::Domain(id) => {
            tables.domain(id).map(|row| serde_json::to_vec(row).expect("a domain is plain data"))
        }
        Row::Note(node) => {
            tables.note(node).map(|row| serde_json::to_vec(row).expect("a note is plain data"))
        }
        Row::Occupant(place, id) => tables.occupant(place, id).map(|until| until.to_string().into_bytes()),
    }
}

/// Says what the user can do.
fn explain(path: &Path, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<DatabaseError>() {
        Some(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => {
            return anyhow!(
                "{} is used by another process; give each control process a file of its own, or all of them \
                 one Redis",
                path.display()
            );
        }
        Some(DatabaseError::Storage(StorageError::Io(io)))
            if !matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            return anyhow!("cannot open {}: {io}", path.display());
        }
        _ => {}
    }
    damaged(path, &format!("{error:#}"))
}

fn damaged(path: &Path, why: &str) -> anyhow::Error {
    anyhow!(
        "{} is damaged, or is not a file of motet ({why}); it was left as it is. Move it away to begin anew: \
         what nodes still run is taken over from them",
        path.display()
    )
}

#[tonic::async_trait]
impl Store for DiskStore {
    async fn changes(&self, since: Cursor) -> Result<Changes, StoreError> {
        self.on_tables(move |tables| Ok(tables.changes(since))).await
    }

    async fn get(&self, conference: &str) -> Result<Option<Record>, StoreError> {
        let conference = conference.to_owned();
        self.on_tables(move |tables| Ok(tables.get(&conference))).await
    }

    async fn put(&self, record: &Record, base: Option<Base>) -> Result<(), StoreError> {
        let record = record.clone();
        self.on_tables(move |tables| tables.put(&record, base)).await
    }

    async fn remove(&self, conference: &str) -> Result<(), StoreError> {
        let conference = conference.to_owned();
        self.on_tables(move |tables| {
            tables.remove(&conference);
            Ok(())
        })
        .await
    }

    async fn renew(&self, me: &Peer, lease_ms: u64) -> Result<Vec<Peer>, StoreError> {
        let me = me.clone();
        self.on_tables(move |tables| Ok(tables.renew(&me, lease_ms, unix_ms()))).await
    }

    async fn leave(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.on_tables(move |tables| {
            tables.leave(&id);
            Ok(())
        })
        .await
    }

    async fn occupy(
        &self,
        place: &Place,
        conference: &str,
        limit: u64,
        lease_ms: u64,
    ) -> Result<(), StoreError> {
        let (place, conference) = (place.clone(), conference.to_owned());
        self.on_tables(move |tables| tables.occupy(&place, &conference, limit, lease_ms, unix_ms())).await
    }

    async fn vacate(&self, place: &Place, conference: &str) -> Result<(), StoreError> {
        let (place, conference) = (place.clone(), conference.to_owned());
        self.on_tables(move |tables| {
            tables.vacate(&place, &conference);
            Ok(())
        })
        .await
    }

    async fn occupants(&self, place: &Place) -> Result<Vec<String>, StoreError> {
        let place = place.clone();
        self.on_tables(move |tables| Ok(tables.occupants(&place, unix_ms()))).await
    }

    async fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        self.on_tables(|tables| Ok(tables.domains())).await
    }

    async fn put_domain(&self, domain: &Domain) -> Result<(), StoreError> {
        let domain = domain.clone();
        self.on_tables(move |tables| tables.put_domain(&domain)).await
    }

    async fn notes(&self) -> Result<Vec<NodeNote>, StoreError> {
        self.on_tables(|tables| Ok(tables.notes())).await
    }

    async fn put_note(&self, note: &NodeNote) -> Result<(), StoreError> {
        let note = note.clone();
        self.on_tables(move |tables| {
            tables.put_note(&note);
            Ok(())
        })
        .await
    }

    async fn remove_domain(&self, domain: &str) -> Result<(), StoreError> {
        let domain = domain.to_owned();
        self.on_tables(move |tables| {
            tables.remove_domain(&domain);
            Ok(())
        })
        .await
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
