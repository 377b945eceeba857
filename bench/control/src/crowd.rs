//! Thousands of agents in parties, each with its stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::agent::Agent;
use crate::http::{Socket, Target};
use crate::member::{Crowd, keep};

/// Parties that come together at a time.
const AT_ONCE: usize = 16;
/// Longest all may take to have their streams, or to have them again.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Agents that keep their streams until this is dropped.
pub struct Gathered {
    pub crowd: Arc<Crowd>,
    agents: u32,
    _tasks: JoinSet<()>,
}

impl Gathered {
    /// Agents in parties, the members of each spread over the servers.
    pub async fn new(servers: &[&Target], agents: u32, party_of: u32) -> Result<Self> {
        let crowd = Crowd::new()?;
        let numbers: Vec<u32> = (0..agents).collect();
        let parties = numbers
            .chunks(party_of as usize)
            .map(|party| gather(servers, party.to_vec()));
        let mut tasks = JoinSet::new();
        let mut parties = stream::iter(parties).buffer_unordered(AT_ONCE);
        while let Some(members) = parties.try_next().await? {
            for (agent, target, socket) in members {
                tasks.spawn(keep(agent, target, socket, Arc::clone(&crowd)));
            }
        }
        drop(parties);
        let gathered = Self {
            crowd,
            agents,
            _tasks: tasks,
        };
        gathered.all_online().await?;
        Ok(gathered)
    }

    /// Waits until all have their streams.
    pub async fn all_online(&self) -> Result<()> {
        self.online(self.agents).await
    }

    /// Waits until so many have their streams.
    pub async fn online(&self, agents: u32) -> Result<()> {
        let began = Instant::now();
        while self.crowd.online.load(Ordering::Relaxed) < agents.into() {
            let online = self.crowd.online.load(Ordering::Relaxed);
            let refusals = self.crowd.refusals.lock().clone();
            ensure!(
                began.elapsed() < PATIENCE,
                "only {online} agents have a stream: {refusals:?}"
            );
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

async fn gather(servers: &[&Target], numbers: Vec<u32>) -> Result<Vec<(Agent, Target, Socket)>> {
    let mut members = Vec::new();
    let mut code = None;
    for (number, target) in numbers.into_iter().zip(servers.iter().copied().cycle()) {
        let mut agent = Agent::new(number);
        let joining = async {
            let mut connection = target.connect(agent.source()).await?;
            agent.sign_in(&mut connection, target.pin).await?;
            match &code {
                None => code = Some(agent.found(&mut connection).await?),
                Some(code) => agent.join(&mut connection, code).await?,
            }
            anyhow::Ok(())
        };
        joining.await.with_context(|| format!("agent {number} cannot join"))?;
        let socket = agent.open_stream(target).await;
        let socket = socket.with_context(|| format!("agent {number} has no stream"))?;
        members.push((agent, target.clone(), socket));
    }
    Ok(members)
}
