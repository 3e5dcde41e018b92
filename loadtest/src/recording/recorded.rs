//! Oracle that is fed from the lines of a recording.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;

use super::error::{Error, LineError};
use super::line::RecordedLine;
use super::sent::RecordedMessages;
use crate::oracle::{ConvIx, ListedRow, Oracle, Reading, SeenEvent, ViolationKind};
use crate::payload::{ClientIx, MessageTag, SentMessages};
use crate::wire::WireFrame;

/// Recording up to the last line that was passed in.
pub(super) struct Recorded {
    oracle: Oracle,
    sent: RecordedMessages,
    /// Numbers of members (delivered, read) of a message, as its sender was last shown.
    reach: HashMap<(ConvIx, ClientIx, u64), (u64, u64)>,
    /// Clients that reported a gap, with its last position, until they show their whole log.
    gaps: BTreeMap<(ConvIx, ClientIx), u64>,
    lines: u64,
    ended: bool,
}

// === impl Recorded ===

impl Default for Recorded {
    fn default() -> Recorded {
        Recorded {
            oracle: Oracle::new(),
            sent: RecordedMessages::default(),
            reach: HashMap::new(),
            gaps: BTreeMap::new(),
            lines: 0,
            ended: false,
        }
    }
}

impl Recorded {
    /// Passes the next line to the oracle.
    pub(super) fn line(&mut self, text: &str) -> Result<(), LineError> {
        if self.ended {
            return Err(LineError::AfterEnd);
        }
        let line: RecordedLine<'_> = serde_json::from_str(text)?;
        match line.t {
            "joined" => self.joined(&line)?,
            "sent" => self.sent(&line)?,
            "acked" => self.acked(&line)?,
            "refused" => self.refused(&line)?,
            "applied" => self.applied(&line)?,
            "gap" => self.gap(&line)?,
            "page" => self.page(&line)?,
            "reach" => self.reach(&line)?,
            "row" => self.row(&line)?,
            "log" => self.log(&line)?,
            "end" => return self.counted(&line),
            other => return Err(LineError::UnknownType(other.to_owned())),
        }
        self.lines += 1;
        Ok(())
    }

    /// Judges what is missing at the end, and returns the oracle with its verdict.
    pub(super) fn end(mut self) -> Result<Oracle, Error> {
        if !self.ended {
            return Err(Error::CutShort);
        }
        let counts = self.oracle.counts();
        // A recording in which nothing was judged proves nothing.
        if counts.acked == 0 || counts.applied == 0 {
            return Err(Error::Inconclusive(
                "no message was acknowledged, or none was shown",
            ));
        }
        for (conversation, cid, tag) in self.sent.pending() {
            let conv = self.oracle.conversation(conversation);
            let detail = format!("{tag:?} with the cid {cid:?} was never answered");
            self.oracle
                .violate(ViolationKind::Wedged, Some(conv), Some(tag.sender), 0, detail);
        }
        for ((conv, client), to) in &self.gaps {
            let detail = format!("client {client} never showed the events of its gap up to s={to}");
            self.oracle.violate(
                ViolationKind::MissedAtEnd,
                Some(*conv),
                Some(*client),
                *to,
                detail,
            );
        }
        self.oracle.finish();
        Ok(self.oracle)
    }

    fn joined(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (user, conversation, s) = (line.user()?, line.conversation()?, line.s()?);
        let conv = self.oracle.conversation(conversation);
        let client = self.sent.add_client(user);
        self.oracle.joined(conv, client, s);
        Ok(())
    }

    fn sent(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (conv, client) = self.member(line)?;
        let (cid, body) = (line.cid()?, line.body()?);
        if self.sent.has(cid) {
            return Err(LineError::SentTwice(cid.to_owned()));
        }
        let tag = MessageTag {
            sender: client,
            ordinal: self.oracle.issue(conv, client),
        };
        let since = self.oracle.since(conv);
        self.sent.add(cid, tag, line.conversation()?, body.get(), since);
        Ok(())
    }

    fn acked(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (conv, client) = self.member(line)?;
        let s = line.s()?;
        let (tag, since) = self.sent.answer(client, line.conversation()?, line.cid()?)?;
        self.oracle.appended(conv, client, s, since);
        self.oracle.acked(conv, tag, s);
        Ok(())
    }

    fn refused(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (conv, client) = self.member(line)?;
        let (tag, _) = self.sent.answer(client, line.conversation()?, line.cid()?)?;
        self.oracle.refused(conv, tag, line.code()?);
        Ok(())
    }

    fn applied(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (conv, client) = self.member(line)?;
        if let Some(seen) = self.seen(conv, client, line.conversation()?, line.event()?)? {
            self.oracle.applied(conv, client, &seen);
        }
        Ok(())
    }

    fn gap(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (conv, client) = self.member(line)?;
        let (from, to) = line.gap()?;
        self.oracle.skipped(conv, client, from, to);
        self.gaps.insert((conv, client), to);
        Ok(())
    }

    fn page(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (conv, client) = self.member(line)?;
        if let Some(seen) = self.seen(conv, client, line.conversation()?, line.event()?)? {
            self.oracle.sighted(conv, client, &seen);
        }
        Ok(())
    }

    fn reach(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (conv, client) = self.member(line)?;
        let (s, now) = (line.s()?, (line.delivered()?, line.read()?));
        let before = self.reach.insert((conv, client, s), now).unwrap_or_default();
        self.oracle.reach(conv, client, s, before, now);
        Ok(())
    }

    fn row(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (conv, client) = self.member(line)?;
        let row = ListedRow {
            last: line.last()?,
            unread: line.unread()?,
            read: line.read()?,
            delivered: line.delivered()?,
            floor: 0,
            // A recording has rows of its end only.
            is_final: true,
            at: 0,
        };
        self.oracle.listed(conv, client, row);
        Ok(())
    }

    /// Compares a whole log that was read again, from the position of the first view to its end. A hole in it is a
    /// violation, so it has the events of all gaps.
    fn log(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let (conv, client) = self.member(line)?;
        let mut reading = Reading::default();
        let mut reached = self.oracle.reread_after(conv);
        for event in &line.events {
            if let Some(seen) = self.seen(conv, client, line.conversation()?, event)? {
                self.oracle.reread(conv, &mut reading, &seen);
                reached = seen.s;
            }
        }
        // Each log is read after everything above it in the recording.
        let least = self.oracle.since(conv).event;
        self.oracle.read_reached(conv, client, "a log", reached, least);
        if line.is_window() {
            self.gaps.remove(&(conv, client));
        }
        Ok(())
    }

    fn counted(&mut self, line: &RecordedLine<'_>) -> Result<(), LineError> {
        let counted = line.lines()?;
        if counted != self.lines {
            return Err(LineError::Count {
                recorded: self.lines,
                counted,
            });
        }
        self.ended = true;
        Ok(())
    }

    fn member(&self, line: &RecordedLine<'_>) -> Result<(ConvIx, ClientIx), LineError> {
        let user = line.user()?;
        let conv = self.oracle.known(line.conversation()?);
        conv.zip(self.sent.client(user))
            .ok_or_else(|| LineError::NotJoined(user.to_owned()))
    }

    /// Parses an event. Returns `None` for one that breaks a promise by itself, which is reported.
    fn seen(
        &mut self,
        conv: ConvIx,
        client: ClientIx,
        conversation: &str,
        event: &RawValue,
    ) -> Result<Option<SeenEvent>, LineError> {
        let frame = WireFrame::parse(event.get())?;
        match SeenEvent::read(&frame, conversation, &self.sent) {
            Ok(Some(seen)) => Ok(Some(seen)),
            Ok(None) => Err(LineError::Missing("s")),
            Err((kind, detail)) => {
                let s = frame.s.unwrap_or(0);
                self.oracle.violate(kind, Some(conv), Some(client), s, detail);
                Ok(None)
            }
        }
    }
}
