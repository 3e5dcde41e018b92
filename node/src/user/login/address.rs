//! What an address is: a phone number in E.164, or a mail address. Pure.

/// An address in the one form that all ways to write it share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    channel: Channel,
    text: String,
}

/// How to reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// A phone.
    Sms,
    /// A mailbox.
    Mail,
}

// === impl Address ===

impl Address {
    /// Reads an address; the error is for the client.
    pub(crate) fn parse(text: &str) -> Result<Address, &'static str> {
        if text.contains('@') {
            let text = mail(text).ok_or("to must be a mail address like name@example.org")?;
            return Ok(Address {
                channel: Channel::Mail,
                text,
            });
        }
        let text =
            phone(text).ok_or("to must be a phone number with its country code, like +447700900123")?;
        Ok(Address {
            channel: Channel::Sms,
            text,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel
    }
}

// === impl Channel ===

impl Channel {
    /// As the webhook is told.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Channel::Sms => "sms",
            Channel::Mail => "mail",
        }
    }
}

/// `+`, then 7 to 15 digits, the first not zero. People write spaces, hyphens and dots between them.
fn phone(text: &str) -> Option<String> {
    let written = text.trim().strip_prefix('+')?;
    if written.len() > 64 || written.chars().any(|c| !matches!(c, '0'..='9' | ' ' | '-' | '.')) {
        return None;
    }
    let digits: String = written.chars().filter(char::is_ascii_digit).collect();
    let valid = (7..=15).contains(&digits.len()) && !digits.starts_with('0');
    valid.then(|| format!("+{digits}"))
}

/// A local part as it is, and a domain in lower case. Only the receiving host knows whether it tells `Alice` from
/// `alice`, so they are two; quoted local parts and domains that are not in ASCII (write `xn--…`) are not accepted.
fn mail(text: &str) -> Option<String> {
    let (local, domain) = text.trim().rsplit_once('@')?;
    let ordinary = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&c);
    let local_fits = (1..=64).contains(&local.len())
        && local.bytes().all(ordinary)
        && local.split('.').all(|part| !part.is_empty());
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let domain_fits = domain.len() <= 253 && domain.contains('.') && domain.split('.').all(label);
    (local_fits && domain_fits).then(|| format!("{local}@{}", domain.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        Address::parse(text).ok().map(|address| address.text)
    }

    #[test]
    fn all_ways_to_write_a_phone_number_are_one() {
        for text in ["+447700900123", " +44 7700 900123", "+44-7700-900.123 "] {
            assert_eq!(parsed(text).as_deref(), Some("+447700900123"), "{text}");
        }
        assert_eq!(Address::parse("+447700900123").unwrap().channel(), Channel::Sms);
        for bad in [
            "",
            "+",
            "447700900123",
            "00447700900123",
            "+0447700900123",
            "+123456",
            "+1234567890123456",
            "+44 (0)7700 900123",
            "+44770090012x",
            "+44770090\u{661}23",
            "+4477009001\n23",
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_mail_address_has_its_domain_in_lower_case_and_its_local_part_as_it_is() {
        assert_eq!(
            parsed(" Al.Ice+x@Example.ORG").as_deref(),
            Some("Al.Ice+x@example.org")
        );
        assert_eq!(Address::parse("a@b.c").unwrap().channel(), Channel::Mail);
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in [
            "@example.org",
            "a@",
            "a@localhost",
            "a@@example.org",
            "a b@example.org",
            "\"a\"@example.org",
            ".a@example.org",
            "a..b@example.org",
            "a@-x.org",
            "a@x-.org",
            "a@x..org",
            "a@exämple.org",
            "a@example.org\r\nBcc: b@example.org",
            "a@example.org,b@example.org",
            &long,
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }
}
