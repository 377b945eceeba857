//! An operation's transaction, and how long it took.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use tracing::Span;

use super::Store;
use crate::database::Transaction;
use crate::error::Result;
use crate::silence::LONG_PATIENCE;

/// How an operation's transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// It did what it should.
    Committed,
    /// It was given up: refused, in another's way, or failed halfway.
    Abandoned,
    /// The database neither began nor committed it.
    Failed,
}

/// Hears of every operation, on the task that asked for it.
pub trait Observer: Send + Sync + 'static {
    /// One has ended; waiting for the database is part of what it took.
    fn ended(&self, operation: &'static str, took: Duration, ending: Ending);
}

/// Nobody listens.
pub(super) struct Unobserved;

impl Observer for Unobserved {
    fn ended(&self, _: &'static str, _: Duration, _: Ending) {}
}

/// A transaction of an operation that has a name.
pub(super) struct Operation {
    transaction: Box<dyn Transaction>,
    watch: Watch,
}

/// Tells the observer when it is dropped.
struct Watch {
    store: Store,
    name: &'static str,
    began: Instant,
    ending: Ending,
    /// Lasts as long; nothing else is logged in it.
    _span: Span,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.store.observer.ended(self.name, self.began.elapsed(), self.ending);
    }
}

impl Store {
    /// Begins an operation that sees one moment and changes nothing.
    pub(super) async fn read(&self, name: &'static str) -> Result<Operation> {
        let watch = self.watch(name);
        let transaction = self.watched.read(self.watched.database.patience()).await?;
        Ok(Operation::begun(transaction, watch))
    }

    /// Begins an operation that may change rows.
    pub(super) async fn write(&self, name: &'static str) -> Result<Operation> {
        let watch = self.watch(name);
        let transaction = self.watched.write(self.watched.database.patience()).await?;
        Ok(Operation::begun(transaction, watch))
    }

    /// As [`Store::read`], for what looks through whole tables and nobody waits for.
    pub(super) async fn read_long(&self, name: &'static str) -> Result<Operation> {
        let watch = self.watch(name);
        let transaction = self.watched.read(LONG_PATIENCE).await?;
        Ok(Operation::begun(transaction, watch))
    }

    /// As [`Store::write`], for what looks through whole tables and nobody waits for.
    pub(super) async fn write_long(&self, name: &'static str) -> Result<Operation> {
        let watch = self.watch(name);
        let transaction = self.watched.write(LONG_PATIENCE).await?;
        Ok(Operation::begun(transaction, watch))
    }

    fn watch(&self, name: &'static str) -> Watch {
        Watch {
            store: self.clone(),
            name,
            began: Instant::now(),
            ending: Ending::Failed,
            // For traces alone: at this level no log has it.
            _span: tracing::trace_span!(
                "database",
                otel.name = name,
                otel.kind = "client",
                db.system.name = self.kind().to_ascii_lowercase(),
                db.operation.name = name
            ),
        }
    }
}

impl Operation {
    fn begun(transaction: Box<dyn Transaction>, mut watch: Watch) -> Self {
        watch.ending = Ending::Abandoned;
        Self { transaction, watch }
    }

    /// As [`Transaction::commit`].
    pub(super) async fn commit(self) -> Result<()> {
        let Self { transaction, mut watch } = self;
        watch.ending = Ending::Failed;
        transaction.commit().await?;
        watch.ending = Ending::Committed;
        Ok(())
    }
}

impl Deref for Operation {
    type Target = dyn Transaction;

    fn deref(&self) -> &Self::Target {
        &*self.transaction
    }
}

impl DerefMut for Operation {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.transaction
    }
}
