//! Frames over TCP: each with its length (2 bytes, big endian) before it.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use lanrage_shared::wire::relay::{HEADER_LEN, MAX_CONTROL};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes before each frame.
pub const LENGTH_LEN: usize = 2;
/// Longest frame: a control message.
pub const MAX_FRAME: usize = HEADER_LEN + MAX_CONTROL;
/// Read at once, in bytes: a TLS record.
const READ: usize = 16 * 1024;

/// Appends a frame to what is to be written. False, and nothing appended, when it is too long.
pub fn put(out: &mut BytesMut, frame: &[u8]) -> bool {
    match u16::try_from(frame.len()) {
        Ok(length) if frame.len() <= MAX_FRAME => {
            out.put_u16(length);
            out.put_slice(frame);
            true
        }
        _ => false,
    }
}

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    read: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `stream`.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
        }
    }

    /// The next frame; none when the stream has ended. Safe to cancel.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(frame) = self.ready()? {
                return Ok(Some(frame));
            }
            self.read.reserve(READ);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// A frame that has arrived already.
    pub fn ready(&mut self) -> io::Result<Option<Bytes>> {
        let Some((length, rest)) = self.read.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that is too long"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.read.advance(LENGTH_LEN);
        Ok(Some(self.read.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut_of_the_stream(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20), cut in 1usize..100,
        ) {
            let mut out = BytesMut::new();
            for frame in &frames {
                prop_assert!(put(&mut out, frame));
            }
            let read = runtime().block_on(async {
                let (reading, mut writing) = tokio::io::duplex(cut);
                let write = async {
                    tokio::io::AsyncWriteExt::write_all(&mut writing, &out).await.unwrap();
                    drop(writing);
                };
                let read = async {
                    let mut reader = FrameReader::new(reading);
                    let mut read = Vec::new();
                    while let Some(frame) = reader.next().await.unwrap() {
                        read.push(frame.to_vec());
                    }
                    read
                };
                tokio::join!(write, read).1
            });
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn any_bytes_are_frames_or_refused(bytes: Vec<u8>) {
            runtime().block_on(async {
                let mut reader = FrameReader::new(bytes.as_slice());
                while let Ok(Some(_)) = reader.next().await {}
            });
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_not_written() {
        let mut out = BytesMut::new();
        assert!(!put(&mut out, &vec![0; MAX_FRAME + 1]));
        assert!(out.is_empty());
    }
}
