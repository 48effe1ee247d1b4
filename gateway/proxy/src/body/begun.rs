//! A request body of which the beginning was read before its turn. What was read goes up first, then the rest, as if nobody had
//! looked.
//!
//! Invariants: no byte is lost, changed or sent twice; an end or an error that was met while looking is met again, in its place; what
//! was taken for it is given back when the beginning has gone up. It lies in one piece, however small the pieces were in which it
//! came: a list of single bytes would take many times what was taken for it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::sleep;

use crate::audit::{NoRoom, Room};
use crate::listener::{Inbound, InboundError};

/// A body that may have been looked at.
#[derive(Debug)]
pub struct Begun<B = Inbound> {
    first: Bytes,
    broke: Option<InboundError>,
    is_over: bool,
    rest: B,
    /// Holds the beginning's place among those that are in memory.
    room: Option<Room>,
}

/// How far the look went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// To the end.
    Whole(Bytes),
    /// There is more than was to be read.
    Longer,
    /// The rest did not come in time.
    Slow,
    /// The client broke off.
    BrokeOff,
}

impl<B> From<B> for Begun<B> {
    fn from(rest: B) -> Self {
        Self {
            first: Bytes::new(),
            broke: None,
            is_over: false,
            rest,
            room: None,
        }
    }
}

impl<B: Body<Data = Bytes, Error = InboundError> + Unpin> Begun<B> {
    /// Reads to the end, or until there are more than `most` bytes or `within` is over. Cancelled, it takes what it has read with it:
    /// nobody is left then who could send it.
    pub(crate) async fn read(rest: B, most: usize, within: Duration, room: Room) -> (Self, Beginning) {
        let mut this = Self::from(rest);
        let mut read = Vec::new();
        let mut late = std::pin::pin!(sleep(within));
        let beginning = loop {
            if read.len() > most {
                break Beginning::Longer;
            }
            if this.is_over || this.rest.is_end_stream() {
                this.is_over = true;
                break Beginning::Whole(Bytes::new());
            }
            let frame = std::future::poll_fn(|cx| Pin::new(&mut this.rest).poll_frame(cx));
            let came = tokio::select! {
                biased;
                frame = frame => frame,
                () = &mut late => break Beginning::Slow,
            };
            match came {
                None => this.is_over = true,
                // There are no trailers: the listener drops them.
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        read.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => {
                    this.broke = Some(error);
                    break Beginning::BrokeOff;
                }
            }
        };
        this.first = Bytes::from(read);
        this.room = (!this.first.is_empty()).then_some(room);
        match beginning {
            Beginning::Whole(_) => {
                let whole = Beginning::Whole(this.first.clone());
                (this, whole)
            }
            other => (this, other),
        }
    }
}

impl<B> Begun<B> {
    /// Takes room for so many bytes more, which are held as long as the beginning is.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn widen(&mut self, more: usize) -> Result<(), NoRoom> {
        match &mut self.room {
            Some(room) if more > 0 => room.widen(more),
            _ => Ok(()),
        }
    }
}

impl<B: Body<Data = Bytes, Error = InboundError> + Unpin> Body for Begun<B> {
    type Data = Bytes;
    type Error = InboundError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            this.room = None;
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.first)))));
        }
        if let Some(error) = this.broke.take() {
            this.is_over = true;
            return Poll::Ready(Some(Err(error)));
        }
        if this.is_over {
            return Poll::Ready(None);
        }
        Pin::new(&mut this.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.broke.is_none() && (self.is_over || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let first = u64::try_from(self.first.len()).unwrap_or(u64::MAX);
        if self.is_over && self.broke.is_none() {
            return SizeHint::with_exact(first);
        }
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::stream::{self, StreamExt as _};
    use http_body_util::{BodyExt as _, StreamBody};
    use proptest::prelude::*;

    use super::*;
    use crate::audit::BodyBudget;

    type Pieces = Vec<Result<Vec<u8>, ()>>;

    /// Pieces that are there at once; after them the end, or nothing ever.
    fn body(pieces: Pieces, ends: bool) -> impl Body<Data = Bytes, Error = InboundError> + Unpin {
        let there = stream::iter(pieces).map(|piece| match piece {
            Ok(data) => Ok(Frame::data(Bytes::from(data))),
            Err(()) => Err(InboundError::Stalled),
        });
        let after: stream::BoxStream<'static, _> = if ends {
            stream::empty().boxed()
        } else {
            stream::pending().boxed()
        };
        StreamBody::new(there.chain(after).boxed())
    }

    fn room() -> Room {
        BodyBudget::of(1 << 20, 1 << 19).take("s", 1).unwrap()
    }

    async fn read(
        pieces: Pieces,
        ends: bool,
        most: usize,
    ) -> (Begun<impl Body<Data = Bytes, Error = InboundError> + Unpin>, Beginning) {
        Begun::read(body(pieces, ends), most, Duration::from_secs(5), room()).await
    }

    proptest! {
        /// Whatever was looked at, the same bytes go up in the same order, and the same end comes.
        #[test]
        fn what_was_looked_at_goes_up_as_it_came(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            breaks_off in any::<bool>(),
            most in 0_usize..100,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let sent: Vec<u8> = pieces.concat();
            let mut all: Pieces = pieces.into_iter().map(Ok).collect();
            if breaks_off {
                all.push(Err(()));
            }
            let (mut begun, beginning) = runtime.block_on(read(all, true, most));
            match &beginning {
                Beginning::Whole(bytes) => prop_assert!(!breaks_off && *bytes == sent && sent.len() <= most),
                Beginning::Longer => prop_assert!(sent.len() > most),
                Beginning::BrokeOff => prop_assert!(breaks_off),
                Beginning::Slow => prop_assert!(false, "all of it is there"),
            }
            let (mut came, mut error) = (Vec::new(), false);
            while let Some(frame) = runtime.block_on(begun.frame()) {
                match frame {
                    Ok(frame) => came.extend(frame.into_data().unwrap()),
                    Err(_) => {
                        error = true;
                        break;
                    }
                }
            }
            prop_assert_eq!(came, sent);
            prop_assert_eq!(error, breaks_off);
            prop_assert!(begun.is_end_stream() || !matches!(beginning, Beginning::Whole(_)));
        }
    }

    /// promise_8: who sends slowly is not waited for without end, and the rest of it passes all the same.
    #[tokio::test(start_paused = true)]
    async fn promise_8_a_body_that_does_not_come_is_looked_at_for_so_long_and_passes_on() {
        let begun = tokio::time::Instant::now();
        let (mut body, beginning) = read(vec![Ok(b"{\"a\":".to_vec())], false, 64).await;
        assert_eq!(beginning, Beginning::Slow);
        let took = begun.elapsed().as_millis();
        assert!(
            (5_000..5_010).contains(&took),
            "{took} ms of a clock that does not run by itself"
        );
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().lower(), 5);
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, b"{\"a\":".as_slice());
        assert!(
            futures::poll!(body.frame()).is_pending(),
            "the rest is still waited for"
        );
    }

    #[tokio::test]
    async fn the_place_is_given_back_when_the_beginning_has_gone_up() {
        let budget = BodyBudget::of(100, 100);
        let room = budget.take("s", 60).unwrap();
        let pieces = vec![Ok(vec![1; 10]), Ok(vec![2; 10])];
        let (mut body, _) = Begun::read(body(pieces, true), 64, Duration::from_secs(5), room).await;
        assert!(budget.take("t", 60).is_err());
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), 20, "in one piece");
        assert!(budget.take("t", 60).is_ok());
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }
}
