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

/// The country code behind `+` or `00`, then the number: 7 to 15 digits in all, the first not zero. Between them may
/// stand what people write and what comes along when they paste: spaces of every width, hyphens, dots, slashes, brackets,
/// and marks of the direction of writing. A zero in brackets, `(0)`, is refused: whether it belongs to the number depends
/// on the country.
fn phone(text: &str) -> Option<String> {
    let written: String = text.chars().filter(|c| !is_unseen(*c)).collect();
    if written.len() > 96 || written.contains("(0)") {
        return None;
    }
    let mut digits = String::new();
    let mut plus = false;
    for c in written.chars() {
        match c {
            '0'..='9' => digits.push(c),
            '+' | '\u{ff0b}' if digits.is_empty() && !plus => plus = true,
            '-' | '.' | '/' | '(' | ')' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            c if c.is_whitespace() && !c.is_control() => {}
            _ => return None,
        }
    }
    let number = match digits.strip_prefix("00") {
        _ if plus => &digits,
        number => number?,
    };
    let valid = (7..=15).contains(&number.len()) && !number.starts_with('0');
    valid.then(|| format!("+{number}"))
}

/// Whether it takes no room: marks of the direction of writing, joiners, the byte order mark, the soft hyphen.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// The address in lower case. By the letter only the receiving host knows whether it tells `Alice` from `alice`; none
/// that people use does, and whoever types it on a telephone gets a capital. Quoted local parts and domains that are not
/// in ASCII (write `xn--…`) are not accepted.
fn mail(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_unseen(c));
    let (local, domain) = text.rsplit_once('@')?;
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
    (local_fits && domain_fits).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        Address::parse(text).ok().map(|address| address.text)
    }

    #[test]
    fn all_ways_to_write_a_phone_number_are_one() {
        for text in [
            "+447700900123",
            " +44 7700 900123",
            "+44-7700-900.123 ",
            "00447700900123",
            "00 44 7700 900123",
            "+44\u{a0}7700\u{a0}900123",
            "+44\u{202f}7700\u{2009}900123",
            // As some address books put it on the clipboard.
            "\u{202a}+44 7700 900123\u{202c}",
            "\u{2066}+44 7700 900123\u{2069}\u{200e}",
            "+44 (7700) 900123",
            "(+44) 7700/900123",
            "+44\u{2011}7700\u{2013}900123",
            "\u{ff0b}44 7700 900123",
        ] {
            assert_eq!(parsed(text).as_deref(), Some("+447700900123"), "{text:?}");
        }
        assert_eq!(Address::parse("+447700900123").unwrap().channel(), Channel::Sms);
        for bad in [
            "",
            "+",
            "00",
            "447700900123",
            "07700900123",
            "+0447700900123",
            "+00447700900123",
            "000447700900123",
            "+123456",
            "+1234567890123456",
            "+44 (0)7700 900123",
            "+44 7700 +900123",
            "+44770090012x",
            "+44770090\u{661}23",
            "+4477009001\n23",
            "+44 7700 900123 ext. 5",
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_mail_address_is_one_whatever_its_case() {
        for text in [
            " Al.Ice+x@Example.ORG",
            "al.ice+x@example.org",
            "AL.ICE+X@EXAMPLE.org ",
        ] {
            assert_eq!(parsed(text).as_deref(), Some("al.ice+x@example.org"), "{text}");
        }
        // As a mail client copies it.
        assert_eq!(
            parsed("\u{202a}alice@example.org\u{202c}\u{a0}").as_deref(),
            Some("alice@example.org")
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
