//! What works in the background for as long as the server runs.

use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};

/// Background tasks by name. None of them may end before the shutdown: a server that went on without one would look well and not be.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts one.
    pub fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.running.spawn(work);
        self.names.insert(task.id(), name);
    }

    /// The name of the first that ends. Never comes while all are at work.
    pub async fn first_to_end(&mut self) -> &'static str {
        match self.running.join_next_with_id().await {
            Some(ended) => self.names.get(&id_of(ended)).copied().unwrap_or_default(),
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended, which a shutdown has them do.
    pub async fn all_to_end(&mut self) {
        // One that panicked has ended as well.
        while self.running.join_next().await.is_some() {}
    }
}

fn id_of(ended: Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => id,
        Err(error) => error.id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_panics_or_returns_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("steady", std::future::pending());
        tasks.spawn("short", async {});
        assert_eq!(tasks.first_to_end().await, "short");
        tasks.spawn("faulty", async { panic!("on purpose") });
        assert_eq!(tasks.first_to_end().await, "faulty");
    }
}
