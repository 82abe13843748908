//! One connection: frames of a length and a kind, beats, and the end of it.
//!
//! On the wire: the length of what follows in four bytes, most significant first, then a byte of
//! kind, then the content. Nothing that comes in is trusted.

use std::sync::Arc;

use lictor_kernel::NodeId;
use lictor_runtime::transport::{FRAME_BYTES_MAX, Frame, Inbox};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Config;
use crate::faults::{Spoil, garbage};
use crate::links::{Held, Links};

const GREETING: u8 = 0;
const BEAT: u8 = 1;
const FRAME: u8 = 2;

const MAGIC: &[u8; 8] = b"lictor/1";

/// The length and the kind.
const HEAD: usize = 5;

/// Frames are gathered for one write until they have so many bytes.
const BATCH: usize = 64 << 10;

/// How many times the longest silence a message may take from its first byte to its last.
const WHOLE_WITHIN: u32 = 3;

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Closed,
    Silent,
    BadLength,
    BadKind,
    Failed,
    Replaced,
}

fn message(kind: u8, content: &[u8], bytes: &mut Vec<u8>) {
    let length = u32::try_from(content.len() + 1).unwrap_or(u32::MAX);
    bytes.reserve(HEAD + content.len());
    bytes.extend(length.to_be_bytes());
    bytes.push(kind);
    bytes.extend(content);
}

/// Greets, and returns who is at the other end. `None` if it is none of ours, or too slow.
pub(crate) async fn greet<S>(
    config: &Config,
    stream: &mut S,
    links: &Links,
) -> Option<(NodeId, u64)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut content = MAGIC.to_vec();
    content.extend(config.node.0.to_be_bytes());
    content.extend(config.epoch.to_be_bytes());
    let mut ours = Vec::new();
    message(GREETING, &content, &mut ours);
    let exchange = async {
        stream.write_all(&ours).await.ok()?;
        let mut theirs = vec![0; ours.len()];
        stream.read_exact(&mut theirs).await.ok()?;
        Some(theirs)
    };
    let Ok(theirs) = timeout(config.connect_timeout, exchange).await else {
        links.count(|counters| &mut counters.slow);
        return None;
    };
    let read = theirs.and_then(|theirs| {
        let numbers = theirs.strip_prefix(&ours[..HEAD + MAGIC.len()])?;
        let (node, epoch) = numbers.split_at_checked(8)?;
        Some((
            u64::from_be_bytes(node.try_into().ok()?),
            u64::from_be_bytes(epoch.try_into().ok()?),
        ))
    });
    if read.is_none() {
        links.count(|counters| &mut counters.bad_greeting);
    }
    read.map(|(node, epoch)| (NodeId(node), epoch))
}

/// Serves a link until it ends, and counts why.
pub(crate) async fn serve<S>(
    config: &Config,
    links: &Arc<Links>,
    held: Held,
    stream: S,
    inbox: &Inbox,
) where
    S: AsyncRead + AsyncWrite,
{
    let peer = held.peer;
    inbox.up(peer);
    let (read, write) = tokio::io::split(stream);
    let ended = tokio::select! {
        biased;
        ended = reading(config, links, &held, read, inbox) => ended,
        ended = writing(config, links, &held, write) => ended,
    };
    let was_current = held.is_current();
    drop(held);
    match ended {
        Ended::Closed => links.count(|counters| &mut counters.closed),
        Ended::Silent => links.count(|counters| &mut counters.silent),
        Ended::BadLength => links.count(|counters| &mut counters.bad_length),
        Ended::BadKind => links.count(|counters| &mut counters.bad_kind),
        Ended::Failed => links.count(|counters| &mut counters.failed),
        // Counted by whoever did it.
        Ended::Replaced => {}
    }
    if was_current {
        inbox.down(peer);
    }
}

async fn reading<R>(
    config: &Config,
    links: &Links,
    held: &Held,
    mut read: R,
    inbox: &Inbox,
) -> Ended
where
    R: AsyncRead + Unpin,
{
    let mut buffer: Vec<u8> = Vec::new();
    // When the message began of which a part is there.
    let mut begun: Option<Instant> = None;
    loop {
        let taken = take(&mut buffer);
        if matches!(taken, Ok(Some(_))) {
            begun = None;
        }
        match taken {
            Ok(Some((BEAT, _))) => continue,
            Ok(Some((FRAME, content))) => {
                if !held.is_current() {
                    return Ended::Replaced;
                }
                links.count(|counters| &mut counters.received);
                // One that there is no room for is lost, which a transport may do.
                inbox.frame(held.peer, Frame::new(content));
                continue;
            }
            Ok(Some(_)) => return Ended::BadKind,
            Ok(None) => {}
            Err(ended) => return ended,
        }
        let now = Instant::now();
        let mut silent_at = now + config.silent_after;
        // A length that is a lie would take beats for its content, and never be silent.
        if !buffer.is_empty() {
            let begun = *begun.get_or_insert(now);
            silent_at = silent_at.min(begun + config.silent_after * WHOLE_WITHIN);
        }
        match timeout_at(silent_at, read.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return Ended::Closed,
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Ended::Failed,
            Err(_) => return Ended::Silent,
        }
    }
}

/// The next whole message of the buffer, if there is one.
fn take(buffer: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>, Ended> {
    let Some((length, _)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length == 0 || length > FRAME_BYTES_MAX + 1 {
        return Err(Ended::BadLength);
    }
    let end = 4 + length;
    if buffer.len() < end {
        return Ok(None);
    }
    let kind = buffer[4];
    let content = buffer[HEAD..end].to_vec();
    buffer.drain(..end);
    Ok(Some((kind, content)))
}

async fn writing<W>(config: &Config, links: &Links, held: &Held, mut write: W) -> Ended
where
    W: AsyncWrite + Unpin,
{
    let mut bytes = Vec::new();
    loop {
        // What waits goes out together: a write is a segment of its own in the simulation.
        while bytes.len() < BATCH {
            let Ok(next) = held.next() else { return Ended::Replaced };
            let Some(frame) = next else { break };
            links.count(|counters| &mut counters.sent);
            message(FRAME, frame.as_bytes(), &mut bytes);
        }
        if bytes.is_empty() {
            if timeout(config.beat_every, held.stir.notified()).await.is_ok() {
                continue;
            }
            message(BEAT, &[], &mut bytes);
        }
        if links.faults.is_refused(config.node, held.peer) {
            return Ended::Failed;
        }
        let spoil = links.faults.spoilt(config.node, held.peer);
        match spoil {
            Some(Spoil::Partial) => bytes.truncate(bytes.len() / 2),
            Some(Spoil::Garbage { bytes: many, seed }) => bytes = garbage(many, seed),
            None if links.faults.is_half_open(config.node, held.peer) => bytes.clear(),
            None => {}
        }
        if write.write_all(&bytes).await.is_err() || spoil == Some(Spoil::Partial) {
            return Ended::Failed;
        }
        bytes.clear();
    }
}
