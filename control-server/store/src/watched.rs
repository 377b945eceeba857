//! A database of which nobody waits for long, whichever it is: every call goes through [`Silence`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lanrage_shared::api::relay::Revocation;
use lanrage_shared::api::secret::SealedSecret;
use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::{DeviceId, IdentityKey, MemberId, PartyId};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::database::{Database, Overview, Removals, Replication, Transaction};
use crate::error::{Result, StoreError};
use crate::news::News;
use crate::rows::{BanRow, InviteRow, PartyRow, SeatRow};
use crate::silence::Silence;
use crate::soft::{ReplicaRow, SoftWrite};
use crate::store::Totals;

/// The database and what is known of its answers.
pub(crate) struct Watched {
    pub(crate) database: Arc<dyn Database>,
    silence: Arc<Shared>,
}

#[derive(Debug)]
struct Shared(Mutex<Silence>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Silence> {
        // Every change sets plain values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    pub(crate) fn new(database: Arc<dyn Database>) -> Self {
        let silence = Silence::new(Instant::now());
        Self {
            database,
            silence: Arc::new(Shared(Mutex::new(silence))),
        }
    }

    /// As [`Database::read`]; no call of it outlasts `patience` of silence.
    pub(crate) async fn read(&self, patience: Duration) -> Result<Box<dyn Transaction>> {
        let calls = self.calls(patience)?;
        let inner = calls.watch(self.database.read()).await?;
        let changes = false;
        Ok(Box::new(WatchedTransaction { inner, calls, changes }))
    }

    /// As [`Database::write`]; no call of it outlasts `patience` of silence.
    pub(crate) async fn write(&self, patience: Duration) -> Result<Box<dyn Transaction>> {
        let calls = self.calls(patience)?;
        let inner = calls.watch(self.database.write()).await?;
        let changes = true;
        Ok(Box::new(WatchedTransaction { inner, calls, changes }))
    }

    /// How long the database has not answered.
    pub(crate) fn silent_for(&self) -> Duration {
        self.silence.lock().last_answer().elapsed()
    }

    fn calls(&self, patience: Duration) -> Result<Calls> {
        if !self.silence.lock().handle_request(Instant::now()) {
            return Err(StoreError::Unavailable("it is away, and was asked a moment ago".into()));
        }
        Ok(Calls {
            database: Arc::clone(&self.database),
            silence: Arc::clone(&self.silence),
            patience,
        })
    }
}

/// The calls of one transaction.
struct Calls {
    database: Arc<dyn Database>,
    silence: Arc<Shared>,
    patience: Duration,
}

impl Calls {
    async fn watch<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        tokio::pin!(call);
        loop {
            let give_up_at = self.silence.lock().give_up_at(began, self.patience);
            if let Ok(outcome) = timeout_at(give_up_at, &mut call).await {
                if !matches!(outcome, Err(StoreError::Unavailable(_))) {
                    self.silence.lock().handle_answer(Instant::now());
                }
                return outcome;
            }
            let mut silence = self.silence.lock();
            // Somebody may have been answered meanwhile.
            if silence.give_up_at(began, self.patience) <= give_up_at {
                if silence.handle_given_up(Instant::now()) {
                    self.database.start_anew();
                }
                return Err(StoreError::Unavailable("it does not answer".into()));
            }
        }
    }
}

struct WatchedTransaction {
    inner: Box<dyn Transaction>,
    calls: Calls,
    /// It may have something to lose.
    changes: bool,
}

/// Implements a trait by passing every call on, and watching over it.
macro_rules! watched {
    ($trait:ident { $(fn $name:ident($($argument:ident: $type:ty),*) -> $output:ty;)* } $($by_hand:tt)*) => {
        #[async_trait]
        impl $trait for WatchedTransaction {
            $($by_hand)*
            $(
                async fn $name(&mut self, $($argument: $type),*) -> Result<$output> {
                    self.calls.watch(self.inner.$name($($argument),*)).await
                }
            )*
        }
    };
}

watched! {
    Transaction {
        fn secret(name: &str) -> Option<Vec<u8>>;
        fn insert_secret(name: &str, value: &[u8]) -> ();
        fn counter(name: &str) -> Option<u64>;
        fn set_counter(name: &str, value: u64) -> ();
        fn party(id: PartyId) -> Option<PartyRow>;
        fn lock_party(id: PartyId) -> Option<PartyRow>;
        fn lock_device(device: DeviceId) -> ();
        fn parties_of(device: DeviceId) -> Vec<PartyId>;
        fn empty_parties() -> Vec<PartyId>;
        fn forgotten_parties(before_ms: u64) -> Vec<PartyId>;
        fn insert_party(party: &PartyRow) -> ();
        fn save_party(party: &PartyRow) -> ();
        fn delete_party(id: PartyId) -> ();
        fn seats(party: PartyId) -> Vec<SeatRow>;
        fn insert_seat(party: PartyId, seat: &SeatRow) -> ();
        fn save_seat(party: PartyId, seat: &SeatRow) -> ();
        fn delete_seat(party: PartyId, number: MemberId) -> ();
        fn mark_seen(seen: &[(PartyId, MemberId, u64)]) -> u64;
        fn unseen_since(before_ms: u64) -> Vec<(PartyId, DeviceId)>;
        fn append_event(party: PartyId, seq: u64, json: &str, at_ms: u64) -> ();
        fn drop_events(party: PartyId, seq: u64) -> ();
        fn events_after(party: PartyId, seq: u64) -> Vec<(u64, String)>;
        fn without_host(gone_ms: u64, present_ms: u64) -> Vec<(PartyId, MemberId)>;
        fn insert_invite(invite: &InviteRow) -> bool;
        fn invite(auth_hash: &[u8; 32]) -> Option<InviteRow>;
        fn invites(party: PartyId) -> Vec<InviteRow>;
        fn delete_invite(party: PartyId, id: Uuid) -> bool;
        fn use_invite(id: Uuid, now_ms: u64) -> bool;
        fn count_invites(party: PartyId, now_ms: u64) -> u64;
        fn trim_invites(party: PartyId, kept: u64, now_ms: u64) -> ();
        fn delete_invites_expired(before_ms: u64) -> u64;
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        let Self { inner, calls, changes } = *self;
        match calls.watch(inner.commit()).await {
            Err(StoreError::Unavailable(why)) if changes => Err(StoreError::Uncertain(why)),
            outcome => outcome,
        }
    }
}

watched! {
    Overview {
        fn totals() -> Totals;
        fn parties_after(after: Option<PartyId>, limit: u32) -> Vec<PartyRow>;
    }
}

watched! {
    Removals {
        fn reseal_invite(party: PartyId, auth_hash: &[u8; 32], sealed_secret: &[u8], epoch: u32) -> ();
        fn end_invites(party: PartyId, epoch: u32, now_ms: u64) -> ();
        fn insert_secret_for(party: PartyId, secret: &SealedSecret) -> ();
        fn secrets_for(party: PartyId, member: MemberId) -> Vec<SealedSecret>;
        fn drop_secrets_for(party: PartyId, member: MemberId, epoch: u32) -> ();
        fn drop_secrets(party: PartyId, epoch: u32) -> ();
        fn note_arrival(party: PartyId, member: MemberId, invite: Uuid) -> ();
        fn arrival(party: PartyId, member: MemberId) -> Option<Uuid>;
        fn insert_ban(party: PartyId, ban: &BanRow) -> ();
        fn bans(party: PartyId) -> Vec<BanRow>;
        fn delete_ban(party: PartyId, device: DeviceId) -> bool;
        fn append_revocation(party: PartyId, epoch: u32, removed: &[IdentityKey], at_ms: u64) -> ();
        fn last_revocation() -> u64;
        fn revocations_after(seq: u64, limit: u32) -> Vec<Revocation>;
        fn drop_revocations(before_ms: u64) -> ();
    }
}

watched! {
    Replication {
        fn announce(news: &News) -> ();
        fn save_replica(replica: &ReplicaRow) -> ();
        fn drop_replica(name: &str) -> ();
        fn replicas(lease_ms: u64) -> Vec<ReplicaRow>;
        fn save_soft_writes(writes: &[SoftWrite]) -> u64;
        fn soft_writes_after(marks: &[(ReplicaId, u64)]) -> Vec<SoftWrite>;
        fn soft_writes_of(scope: Uuid) -> Vec<SoftWrite>;
        fn drop_soft_writes(silent_ms: u64, gone_before: u64) -> ();
        fn last_numbers(parties: &[PartyId]) -> Vec<(PartyId, u64)>;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::news::Listener;
    use crate::silence::{LONG_PATIENCE, PATIENCE, PROBE_EVERY};

    /// A database that answers or hangs, as the test says.
    #[derive(Default)]
    struct Moody {
        hangs: AtomicBool,
        asked: AtomicUsize,
        begun_anew: AtomicUsize,
    }

    #[async_trait]
    impl Database for Arc<Moody> {
        fn kind(&self) -> &'static str {
            "moody"
        }
        async fn read(&self) -> Result<Box<dyn Transaction>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            Err(StoreError::NotFound)
        }
        async fn write(&self) -> Result<Box<dyn Transaction>> {
            self.read().await
        }
        fn start_anew(&self) {
            self.begun_anew.fetch_add(1, Ordering::Relaxed);
        }
        fn is_shared(&self) -> bool {
            false
        }
        fn replica(&self) -> ReplicaId {
            ReplicaId(1)
        }
        async fn listen(&self) -> Result<Option<Box<dyn Listener>>> {
            Ok(None)
        }
        async fn close(&self) {}
    }

    async fn is_away(watched: &Watched) -> bool {
        matches!(watched.write(PATIENCE).await, Err(StoreError::Unavailable(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_hangs_costs_one_request_in_a_while_its_patience_and_others_nothing() {
        let moody = Arc::new(Moody::default());
        let watched = Watched::new(Arc::new(Arc::clone(&moody)));
        assert!(!is_away(&watched).await);
        moody.hangs.store(true, Ordering::Relaxed);
        let began = Instant::now();
        assert!(is_away(&watched).await);
        assert_eq!(began.elapsed(), PATIENCE);
        assert_eq!(moody.begun_anew.load(Ordering::Relaxed), 1);

        let (began, asked) = (Instant::now(), moody.asked.load(Ordering::Relaxed));
        for _ in 0..100 {
            assert!(is_away(&watched).await);
        }
        assert_eq!(
            (began.elapsed(), moody.asked.load(Ordering::Relaxed)),
            (Duration::ZERO, asked)
        );

        moody.hangs.store(false, Ordering::Relaxed);
        tokio::time::advance(PROBE_EVERY).await;
        assert!(!is_away(&watched).await);
        assert_eq!(watched.silent_for(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_let_be_while_others_are_answered() {
        let moody = Arc::new(Moody::default());
        let watched = Watched::new(Arc::new(Arc::clone(&moody)));
        let calls = watched.calls(PATIENCE).unwrap();
        let slow = calls.watch(async {
            tokio::time::sleep(PATIENCE * 4).await;
            Ok(())
        });
        let others = async {
            for _ in 0..8 {
                tokio::time::sleep(PATIENCE / 2).await;
                assert!(!is_away(&watched).await);
            }
        };
        let (outcome, ()) = tokio::join!(slow, others);
        outcome.unwrap();

        let long = watched.calls(LONG_PATIENCE).unwrap();
        let cleaning = long.watch(async {
            tokio::time::sleep(PATIENCE * 4).await;
            Ok(())
        });
        cleaning.await.unwrap();
    }
}
