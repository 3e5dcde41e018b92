//! Head of a response, read by prefix: the gateways route responses without parsing them.

use bytes::{BufMut, BytesMut};

/// Head of a response, which begins with the tag and the number of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct ResponseHead<'a> {
    pub(in crate::gateway) tag: &'a str,
    /// Number of the request; `None` if the response has none.
    pub(in crate::gateway) id: Option<i64>,
    /// Everything behind tag and number, from a comma or the closing brace on.
    rest: &'a [u8],
}

// === impl ResponseHead ===

impl<'a> ResponseHead<'a> {
    /// Reads the head of a response, a whole JSON object. `None` for other bytes.
    pub(in crate::gateway) fn read(body: &'a [u8]) -> Option<ResponseHead<'a>> {
        let behind = body.strip_prefix(br#"{"t":""#)?;
        let end = behind.iter().position(|byte| *byte == b'"')?;
        let tag = std::str::from_utf8(&behind[..end]).ok()?;
        let rest = &behind[end + 1..];
        let Some(number) = rest.strip_prefix(br#","id":"#) else {
            return Some(ResponseHead { tag, id: None, rest });
        };
        let end = number.iter().position(|byte| matches!(byte, b',' | b'}'))?;
        let id = std::str::from_utf8(&number[..end]).ok()?.parse().ok()?;
        Some(ResponseHead {
            tag,
            id: Some(id),
            rest: &number[end..],
        })
    }

    /// Appends the response with another number, or without one.
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

    fn written(answer: &str, id: Option<i64>) -> String {
        let mut out = BytesMut::new();
        ResponseHead::read(answer.as_bytes()).unwrap().write(&mut out, id);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn number_of_the_request_is_replaced_or_removed() {
        let answer = r#"{"t":"ack","id":-7,"c":"g_1","s":3}"#;
        let head = ResponseHead::read(answer.as_bytes()).unwrap();
        assert_eq!((head.tag, head.id), ("ack", Some(-7)));
        assert_eq!(
            written(answer, Some(12)),
            r#"{"t":"ack","id":12,"c":"g_1","s":3}"#
        );
        assert_eq!(written(answer, None), r#"{"t":"ack","c":"g_1","s":3}"#);
        assert_eq!(written(r#"{"t":"ok","id":1}"#, None), r#"{"t":"ok"}"#);
        assert_eq!(written(r#"{"t":"ok"}"#, Some(1)), r#"{"t":"ok","id":1}"#);
    }

    #[test]
    fn other_bytes_have_no_head() {
        for other in ["", "4{}", r#"{"id":1}"#, r#"{"t":"ok"#, r#"{"t":"ok","id":x}"#] {
            assert_eq!(ResponseHead::read(other.as_bytes()), None, "{other}");
        }
    }
}
