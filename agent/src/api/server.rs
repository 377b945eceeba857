//! The agent's end of the local API.
//!
//! Who may connect is the operating system's business ([`LocalListener`]); what a request does is the [`Handler`]'s. Here
//! lies only the protocol and its limits.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};

use super::{Failure, Reply, Request};
use crate::platform::LocalListener;

/// Longest request line, in bytes. The longest honest one is an invite of some 400.
pub const MAX_REQUEST: u64 = 64 * 1024;
/// Connections served at once; the next ones wait their turn.
const MAX_CONNECTIONS: usize = 32;
/// A client that connects and says nothing must not keep one of the places.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Nor one that does not take its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// When the system has no descriptor left, asking again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Does what a request asks.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. What takes a while tells `progress` in words what it is doing.
    fn handle(
        &self,
        request: Request,
        progress: mpsc::UnboundedSender<String>,
    ) -> impl Future<Output = Result<serde_json::Value, Failure>> + Send;
}

/// Serves the local API until the future is dropped. Requests that are running then are finished in their own tasks.
pub async fn serve(mut listener: LocalListener, handler: Arc<impl Handler>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok(stream) => {
                let handler = Arc::clone(&handler);
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &*handler).await {
                        debug!(%error, "a local client went away");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a local connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection: one request, its progress, its answer.
async fn converse<S>(stream: S, handler: &impl Handler) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let request = match read_request(&mut stream).await {
        Ok(request) => request,
        Err(failure) => {
            write_reply(&mut stream, &Reply::Failed(failure)).await?;
            return stream.shutdown().await;
        }
    };
    let (progress, mut steps) = mpsc::unbounded_channel();
    let handling = handler.handle(request, progress);
    tokio::pin!(handling);
    let last = loop {
        tokio::select! {
            // Progress first: a step is told before the result that follows it.
            biased;
            Some(step) = steps.recv() => write_reply(&mut stream, &Reply::Progress(step)).await?,
            result = &mut handling => break result,
        }
    };
    while let Ok(step) = steps.try_recv() {
        write_reply(&mut stream, &Reply::Progress(step)).await?;
    }
    let reply = last.map_or_else(Reply::Failed, Reply::Done);
    write_reply(&mut stream, &reply).await?;
    stream.shutdown().await
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Result<Request, Failure> {
    let bad = |message: &str| Failure::new("bad_request", message);
    let mut line = Vec::new();
    let mut limited = stream.take(MAX_REQUEST + 1);
    match tokio::time::timeout(READ_TIMEOUT, limited.read_until(b'\n', &mut line)).await {
        Err(_) => return Err(bad("no request came within 5 s; send one line of JSON")),
        Ok(Err(error)) => return Err(bad(&format!("the request cannot be read: {error}"))),
        Ok(Ok(_)) => {}
    }
    if line.len() as u64 > MAX_REQUEST {
        return Err(bad("the request is longer than 64 KiB; send one line of JSON"));
    }
    serde_json::from_slice(&line).map_err(|error| {
        // Only where it is wrong: the line may hold an invite.
        bad(&format!(
            "this is not a request of this agent's version (column {}); update the program that sent it",
            error.column()
        ))
    })
}

async fn write_reply<S: AsyncWrite + Unpin>(stream: &mut S, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    let written = async {
        stream.write_all(&line).await?;
        stream.flush().await
    };
    tokio::time::timeout(WRITE_TIMEOUT, written).await?
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::task::JoinHandle;

    use super::*;
    use crate::api::client::{CallError, call};
    use crate::platform::connect;

    struct Echo;

    impl Handler for Echo {
        async fn handle(
            &self,
            request: Request,
            progress: mpsc::UnboundedSender<String>,
        ) -> Result<serde_json::Value, Failure> {
            match request {
                Request::Ping { target, .. } => {
                    for step in ["one", "two"] {
                        progress.send(step.to_owned()).unwrap();
                    }
                    Ok(target.into())
                }
                _ => Err(Failure::new("not_in_party", "this agent is in no party")),
            }
        }
    }

    async fn start(dir: &Path) -> JoinHandle<()> {
        let listener = LocalListener::bind(dir).await.unwrap();
        tokio::spawn(serve(listener, Arc::new(Echo)))
    }

    async fn raw(dir: &Path, request: &[u8]) -> Reply {
        let mut stream = connect(dir).await.unwrap();
        // The server may answer and hang up before it has read everything.
        let _ = stream.write_all(request).await;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn ping(target: &str) -> Request {
        Request::Ping {
            target: target.to_owned(),
            timeout_ms: 1,
        }
    }

    #[tokio::test]
    async fn a_request_is_answered_after_its_progress() {
        let dir = tempfile::tempdir().unwrap();
        let _server = start(dir.path()).await;
        let mut steps = Vec::new();
        let answer = call(dir.path(), &ping("anna"), |step| steps.push(step)).await.unwrap();
        assert_eq!(answer, "anna");
        assert_eq!(steps, ["one", "two"]);
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_code_and_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let _server = start(dir.path()).await;
        let refused = call(dir.path(), &Request::Leave, |_| ()).await.unwrap_err();
        assert_eq!(
            refused,
            CallError::Failed(Failure::new("not_in_party", "this agent is in no party"))
        );
    }

    #[tokio::test]
    async fn malformed_and_oversize_requests_are_refused_and_the_next_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let _server = start(dir.path()).await;
        let secret_line = b"{\"command\":\"join\",\"invite\":\"SECRET\",\"name\":7}\n".as_slice();
        let oversize = [b'x'; MAX_REQUEST as usize + 2];
        for bad in [b"\n".as_slice(), b"nonsense\n", b"\xff\xfe\n", secret_line, &oversize] {
            let Reply::Failed(failure) = raw(dir.path(), bad).await else {
                panic!("served {bad:?}");
            };
            assert_eq!(failure.code, "bad_request");
            assert!(!failure.message.contains("SECRET"));
        }
        assert_eq!(call(dir.path(), &ping("anna"), |_| ()).await.unwrap(), "anna");
    }

    #[tokio::test]
    async fn clients_that_say_nothing_do_not_keep_the_others_out_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let _server = start(dir.path()).await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS - 1 {
            silent.push(connect(dir.path()).await.unwrap());
        }
        assert_eq!(call(dir.path(), &ping("anna"), |_| ()).await.unwrap(), "anna");
    }

    #[tokio::test]
    async fn without_an_agent_the_call_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = call(dir.path(), &Request::Status, |_| ()).await.unwrap_err();
        assert_eq!(error, CallError::NotRunning);
        assert!(Failure::from(error).message.contains("lanrage up"));
    }
}
