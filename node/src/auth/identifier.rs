//! Login identifiers: phone numbers in E.164 and mail addresses. Pure.

/// Login identifier in its canonical form, the same for all its notations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoginIdentifier {
    channel: LoginChannel,
    text: String,
}

/// Channel by which a code is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginChannel {
    Sms,
    Mail,
}

// === impl LoginIdentifier ===

impl LoginIdentifier {
    /// Parses and normalizes an identifier; the error is a text for the client.
    pub(crate) fn parse(text: &str) -> Result<LoginIdentifier, &'static str> {
        if text.contains('@') {
            let text = mail(text).ok_or("to must be a mail address like name@example.org")?;
            return Ok(LoginIdentifier {
                channel: LoginChannel::Mail,
                text,
            });
        }
        let text =
            phone(text).ok_or("to must be a phone number with its country code, like +447700900123")?;
        Ok(LoginIdentifier {
            channel: LoginChannel::Sms,
            text,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn channel(&self) -> LoginChannel {
        self.channel
    }
}

// === impl LoginChannel ===

impl LoginChannel {
    /// Returns the name of the channel in webhook requests.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            LoginChannel::Sms => "sms",
            LoginChannel::Mail => "mail",
        }
    }
}

/// Normalizes a phone number: the country code behind `+` or `00`, then the number, 7 to 15 digits in all, the first
/// not zero. Common separators and pasted characters are ignored: spaces of every width, hyphens, dots, slashes,
/// brackets, and bidirectional marks. A zero in brackets, `(0)`, is refused, because its meaning depends on the
/// country.
fn phone(text: &str) -> Option<String> {
    let written: String = text.chars().filter(|c| !is_unseen(*c)).collect();
    // Bounded before the loop: the input comes from clients without authentication.
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
    // `+00…` is malformed: both prefixes together have no meaning.
    let number = match digits.strip_prefix("00") {
        _ if plus => &digits,
        // Without a prefix it would be a national number, whose country is unknown.
        number => number?,
    };
    let valid = (7..=15).contains(&number.len()) && !number.starts_with('0');
    valid.then(|| format!("+{number}"))
}

/// Returns true for invisible characters: bidirectional marks, joiners, the byte order mark, the soft hyphen.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// Normalizes a mail address to lower case. By the standard only the receiving host may equate `Alice` and `alice`, but
/// every common one does, and phones capitalize the first letter. Quoted local parts and domains outside ASCII (instead
/// of `xn--…`) are refused.
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
        LoginIdentifier::parse(text).ok().map(|address| address.text)
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
            // Some address books copy numbers to the clipboard like this.
            "\u{202a}+44 7700 900123\u{202c}",
            "\u{2066}+44 7700 900123\u{2069}\u{200e}",
            "+44 (7700) 900123",
            "(+44) 7700/900123",
            "+44\u{2011}7700\u{2013}900123",
            "\u{ff0b}44 7700 900123",
        ] {
            assert_eq!(parsed(text).as_deref(), Some("+447700900123"), "{text:?}");
        }
        assert_eq!(
            LoginIdentifier::parse("+447700900123").unwrap().channel(),
            LoginChannel::Sms
        );
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
        // Some mail clients copy addresses like this.
        assert_eq!(
            parsed("\u{202a}alice@example.org\u{202c}\u{a0}").as_deref(),
            Some("alice@example.org")
        );
        assert_eq!(
            LoginIdentifier::parse("a@b.c").unwrap().channel(),
            LoginChannel::Mail
        );
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
