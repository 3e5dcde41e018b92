//! Head of an answer of the session, read by prefix: the gateways route answers by their number without parsing them.

use bytes::{BufMut, BytesMut};

/// Head of an answer, which begins with the tag and the number of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct AnswerHead<'a> {
    pub(in crate::gateway) tag: &'a str,
    pub(in crate::gateway) id: Option<i64>,
    /// Everything behind tag and number, from a comma or the closing brace on.
    rest: &'a [u8],
}

// === impl AnswerHead ===

impl<'a> AnswerHead<'a> {
    /// Reads the head of a whole JSON object. `None`: it is no answer.
    pub(in crate::gateway) fn read(body: &'a [u8]) -> Option<AnswerHead<'a>> {
        let behind = body.strip_prefix(br#"{"t":""#)?;
        let end = behind.iter().position(|byte| *byte == b'"')?;
        let tag = std::str::from_utf8(&behind[..end]).ok()?;
        let rest = &behind[end + 1..];
        let Some(number) = rest.strip_prefix(br#","id":"#) else {
            return Some(AnswerHead { tag, id: None, rest });
        };
        let end = number.iter().position(|byte| matches!(byte, b',' | b'}'))?;
        let id = std::str::from_utf8(&number[..end]).ok()?.parse().ok()?;
        Some(AnswerHead {
            tag,
            id: Some(id),
            rest: &number[end..],
        })
    }

    /// Appends the answer with another number, or without one.
    pub(in crate::gateway) fn write(&self, out: &mut BytesMut, id: Option<i64>) {
        out.put_slice(br#"{"t":""#);
        out.put_slice(self.tag.as_bytes());
        out.put_u8(b'"');
        if let Some(id) = id {
            out.put_slice(br#","id":"#);
            out.put_slice(itoa::Buffer::new().format(id).as_bytes());
        }
        out.put_slice(self.rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_gets_another_number() {
        let write = |body: &str, id| {
            let mut out = BytesMut::new();
            AnswerHead::read(body.as_bytes()).unwrap().write(&mut out, id);
            String::from_utf8(out.to_vec()).unwrap()
        };
        let ack = r#"{"t":"ack","id":-7,"c":"g_1","s":1}"#;
        let head = AnswerHead::read(ack.as_bytes()).unwrap();
        assert_eq!((head.tag, head.id), ("ack", Some(-7)));
        assert_eq!(write(ack, Some(12)), r#"{"t":"ack","id":12,"c":"g_1","s":1}"#);
        assert_eq!(write(ack, None), r#"{"t":"ack","c":"g_1","s":1}"#);
        assert_eq!(write(r#"{"t":"ok","id":3}"#, None), r#"{"t":"ok"}"#);
        assert_eq!(write(r#"{"t":"ok"}"#, Some(3)), r#"{"t":"ok","id":3}"#);
        assert_eq!(AnswerHead::read(b"nonsense"), None);
    }
}
