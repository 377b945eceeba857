//! Control messages: JSON with its length before it on a QUIC stream, in frames of their own over TCP.

use std::io;

use bytes::Bytes;
use lanrage_shared::ids::MemberId;
use lanrage_shared::wire::relay::{Frame, FrameKind, MAX_CONTROL};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Reads one message. Not safe to cancel: half a message would be lost. None when the stream ended between two.
pub async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_CONTROL {
        return Err(invalid("a control message that is too long"));
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    serde_json::from_slice(&text).map(Some).map_err(invalid)
}

/// Writes one message.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let text = text(message)?;
    let length = u32::try_from(text.len()).map_err(invalid)?;
    stream
        .write_all(&[&length.to_be_bytes(), text.as_slice()].concat())
        .await
}

/// The message as a frame.
pub fn to_frame(message: &impl Serialize) -> io::Result<Bytes> {
    let text = text(message)?;
    let frame = Frame {
        kind: FrameKind::Control,
        ..Frame::data(MemberId(0), &text)
    };
    let mut bytes = Vec::with_capacity(frame.len());
    frame.write(&mut bytes);
    Ok(bytes.into())
}

/// The message in a frame's payload.
pub fn from_payload<T: DeserializeOwned>(payload: &[u8]) -> io::Result<T> {
    serde_json::from_slice(payload).map_err(invalid)
}

fn text(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message).map_err(invalid)?;
    if text.len() > MAX_CONTROL {
        return Err(invalid("a control message that is too long"));
    }
    Ok(text)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use lanrage_shared::wire::relay::FromRelay;

    use super::*;

    #[tokio::test]
    async fn messages_survive_a_stream_and_a_frame() {
        let message = FromRelay::Drain { seconds: 9 };
        let mut bytes = Vec::new();
        write(&mut bytes, &message).await.unwrap();
        write(&mut bytes, &message).await.unwrap();
        let mut stream = bytes.as_slice();
        assert_eq!(read(&mut stream).await.unwrap(), Some(message.clone()));
        assert_eq!(read(&mut stream).await.unwrap(), Some(message.clone()));
        assert_eq!(read::<FromRelay>(&mut stream).await.unwrap(), None);

        let frame = to_frame(&message).unwrap();
        let frame = Frame::parse(&frame).unwrap();
        assert_eq!(from_payload::<FromRelay>(frame.payload).unwrap(), message);
    }

    #[tokio::test]
    async fn a_length_without_end_is_refused_before_it_is_believed() {
        let error = read::<FromRelay>(&mut [0xff; 64].as_slice()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
