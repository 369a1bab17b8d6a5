//! Reading request bodies, up to a limit.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// It broke off.
    Broken,
    /// It is larger than the limit.
    TooLarge,
}

/// Reads `body`, and no more of it than `limit` bytes.
pub(crate) async fn read<B: Body>(body: B, limit: usize) -> Result<Bytes, NotRead> {
    let too_large = |length: u64| usize::try_from(length).map_or(true, |length| length > limit);
    if too_large(body.size_hint().lower()) {
        return Err(NotRead::TooLarge);
    }
    let mut body = std::pin::pin!(body);
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| NotRead::Broken)?.into_data() else {
            continue;
        };
        if data.remaining() > limit - read.len() {
            return Err(NotRead::TooLarge);
        }
        let mut data = data;
        while data.has_remaining() {
            let chunk = data.chunk();
            let length = chunk.len();
            read.extend_from_slice(chunk);
            data.advance(length);
        }
    }
    Ok(read.freeze())
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn reads_up_to_the_limit_and_not_a_byte_more() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        assert_eq!(read(body(), 5).await.unwrap(), "12345");
        assert_eq!(read(body(), 4).await, Err(NotRead::TooLarge));
    }
}
