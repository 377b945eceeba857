//! The two texts people pass to each other.
//!
//! A *server link* names a control server and pins its key: `lanrage://host:port#pin`. An *invite* adds the code that admits
//! to a party: `lanrage://host:port/CODE#pin`. The pin makes a server without a domain safe: no certificate authority is asked.
//!
//! The code never reaches the server. From it follow two independent values: `auth`, which the joiner shows and of which the
//! server stores a hash, and `seal`, which opens the party secret that the inviter left sealed with the server.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use hkdf::Hkdf;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::ids::Pin;
use crate::keys::PartySecret;
use crate::seal::{self, CannotOpen, NONCE_LEN};

/// The port a control server listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 8443;
/// What both texts begin with.
pub const SCHEME: &str = "lanrage://";

/// Why a text is not a server link or an invite; each says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("it does not begin with lanrage://")]
    Scheme,
    #[error("the server key after '#' is missing: copy the whole text, to its end")]
    PinMissing,
    #[error("the server key after '#' is damaged: copy the whole text again")]
    Pin,
    #[error("the server name is missing or contains characters it cannot have")]
    Host,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("this is a server link, not an invite: use it with `lanrage host`, or ask the party's host for an invite")]
    CodeMissing,
    #[error("this is an invite, not a server link: use it with `lanrage join`")]
    UnexpectedCode,
    #[error("the invite code is damaged: it should have {CODE_CHARS} letters and digits, and this one has {0}")]
    CodeLength(usize),
    #[error("the invite code is damaged: there is a character in it that is no letter or digit of a code")]
    CodeCharacter,
}

/// Where a control server is and which key it must show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerLink {
    /// DNS name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The pin of the server's key.
    pub pin: Pin,
}

impl ServerLink {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What admits a device to a party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The server the party lives on.
    pub server: ServerLink,
    /// The code.
    pub code: InviteCode,
}

impl fmt::Display for ServerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}#{}", self.authority(), self.pin)
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{SCHEME}{}/{}#{}",
            self.server.authority(),
            self.code.expose(),
            self.server.pin
        )
    }
}

impl FromStr for ServerLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        match split(text)? {
            (server, None) => Ok(server),
            (_, Some(_)) => Err(LinkError::UnexpectedCode),
        }
    }
}

impl FromStr for Invite {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (server, code) = split(text)?;
        let code = code.ok_or(LinkError::CodeMissing)?.parse()?;
        Ok(Self { server, code })
    }
}

fn split(text: &str) -> Result<(ServerLink, Option<&str>), LinkError> {
    let text = text.trim();
    let scheme = text.get(..SCHEME.len()).ok_or(LinkError::Scheme)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(LinkError::Scheme);
    }
    let (location, pin) = text[SCHEME.len()..].split_once('#').ok_or(LinkError::PinMissing)?;
    let pin = pin.parse().map_err(|_| LinkError::Pin)?;
    let (authority, code) = match location.split_once('/') {
        Some((authority, "")) => (authority, None),
        Some((authority, code)) => (authority, Some(code)),
        None => (location, None),
    };
    let (host, port) = host_port(authority)?;
    Ok((ServerLink { host, port, pin }, code))
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; the port defaults to [`DEFAULT_PORT`].
pub fn host_port(authority: &str) -> Result<(String, u16), LinkError> {
    let (host, port) = host_and_port(authority)?;
    Ok((host, port.unwrap_or(DEFAULT_PORT)))
}

/// Like [`host_port`], without a default.
pub fn host_and_port(authority: &str) -> Result<(String, Option<u16>), LinkError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(LinkError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| LinkError::Host)?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(LinkError::Host),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let dns = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || host.len() > 253 || !(host.chars().all(dns) || host.parse::<Ipv6Addr>().is_ok()) {
        return Err(LinkError::Host);
    }
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or(LinkError::Port)?),
        None => None,
    };
    Ok((host.to_owned(), port))
}

/// Letters and digits of a code: 20 × 5 bits = 100 bits.
const CODE_CHARS: usize = 20;
/// Random bytes a code is made of; the last one gives only its upper four bits.
pub const CODE_ENTROPY: usize = 13;

/// An invite code: Crockford base32 in groups of four. Whoever knows it gets in, so it prints itself only through
/// [`InviteCode::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct InviteCode(String);

/// What a joiner shows the server instead of the code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InviteAuth(pub [u8; 32]);

impl InviteCode {
    /// A code from random bytes of a cryptographic generator.
    pub fn from_entropy(entropy: [u8; CODE_ENTROPY]) -> Self {
        let mut symbols = crockford().encode(&entropy);
        symbols.truncate(CODE_CHARS);
        Self(symbols)
    }

    /// The code as people see it: `XXXX-XXXX-XXXX-XXXX-XXXX`.
    pub fn expose(&self) -> String {
        let groups: Vec<&str> = (0..CODE_CHARS / 4)
            .map(|group| &self.0[group * 4..group * 4 + 4])
            .collect();
        groups.join("-")
    }

    /// What the joiner shows the server.
    pub fn auth(&self) -> InviteAuth {
        InviteAuth(self.derive(b"auth"))
    }

    /// Seals the party's secret for whoever knows the code. `nonce` must be random.
    pub fn seal(&self, secret: &PartySecret, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        seal::seal(&self.derive(b"seal"), nonce, SEAL_AAD, secret.expose())
    }

    /// Opens what [`InviteCode::seal`] made.
    pub fn open(&self, sealed: &[u8]) -> Result<PartySecret, CannotOpen> {
        let plain = seal::open(&self.derive(b"seal"), SEAL_AAD, sealed)?;
        plain.try_into().map(PartySecret::from_bytes).map_err(|_| CannotOpen)
    }

    fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes")]
        Hkdf::<Sha256>::new(Some(b"lanrage invite v1"), self.0.as_bytes())
            .expand(purpose, &mut key)
            .expect("32 bytes can be expanded");
        key
    }
}

const SEAL_AAD: &[u8] = b"lanrage party secret v1";

impl InviteAuth {
    /// What the server stores.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteCode(…)")
    }
}

impl fmt::Debug for InviteAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteAuth(…)")
    }
}

impl FromStr for InviteCode {
    type Err = LinkError;

    /// Accepts lower case, any grouping, and the letters Crockford's alphabet takes for digits (O for 0, I and L for 1).
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let symbols = text
            .chars()
            .filter(|c| *c != '-')
            .map(|c| match c.to_ascii_uppercase() {
                'O' => Ok('0'),
                'I' | 'L' => Ok('1'),
                'U' => Err(LinkError::CodeCharacter),
                c if c.is_ascii_alphanumeric() => Ok(c),
                _ => Err(LinkError::CodeCharacter),
            })
            .collect::<Result<String, _>>()?;
        // All of them are ASCII.
        if symbols.len() == CODE_CHARS {
            Ok(Self(symbols))
        } else {
            Err(LinkError::CodeLength(symbols.len()))
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "the specification is a constant and every test goes through it"
)]
fn crockford() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification
        .encoding()
        .expect("Crockford's alphabet has 32 different symbols")
}

impl Serialize for InviteAuth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::BASE64URL_NOPAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for InviteAuth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = data_encoding::BASE64URL_NOPAD
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| de::Error::custom("not a valid invite proof"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link() -> ServerLink {
        ServerLink {
            host: "vps.example".into(),
            port: 8443,
            pin: Pin([9; 32]),
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*") {
            let _ = text.parse::<Invite>();
            let _ = text.parse::<ServerLink>();
            let _ = text.parse::<InviteCode>();
        }

        #[test]
        fn near_invites_are_parsed_or_refused(text in "lanrage://[\\[\\]a-z0-9:./#-]{0,80}") {
            let _ = text.parse::<Invite>();
            let _ = text.parse::<ServerLink>();
        }

        #[test]
        fn an_invite_survives_text(entropy: [u8; CODE_ENTROPY], port in 1u16.., pin: [u8; 32]) {
            let server = ServerLink { host: "2001:db8::1".into(), port, pin: Pin(pin) };
            let invite = Invite { server, code: InviteCode::from_entropy(entropy) };
            prop_assert_eq!(invite.to_string().parse::<Invite>(), Ok(invite));
        }
    }

    #[test]
    fn a_code_read_aloud_still_works() {
        let code = InviteCode::from_entropy([0; CODE_ENTROPY]);
        assert_eq!(code.expose(), "0000-0000-0000-0000-0000");
        assert_eq!("oooo oooo".parse::<InviteCode>(), Err(LinkError::CodeCharacter));
        assert_eq!("OOOOooooOOOOooooOOOO".parse::<InviteCode>().unwrap(), code);
    }

    #[test]
    fn a_damaged_code_says_what_it_should_have_and_what_it_has() {
        let error = "0123-4567-89AB-CDEF-GHJ".parse::<InviteCode>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the invite code is damaged: it should have 20 letters and digits, and this one has 19"
        );
    }

    #[test]
    fn a_link_and_an_invite_are_told_apart() {
        let invite = Invite {
            server: link(),
            code: InviteCode::from_entropy([5; CODE_ENTROPY]),
        };
        assert_eq!(invite.to_string().parse::<ServerLink>(), Err(LinkError::UnexpectedCode));
        assert_eq!(link().to_string().parse::<Invite>(), Err(LinkError::CodeMissing));
        assert_eq!("lanrage://h:0#AAAA".parse::<ServerLink>(), Err(LinkError::Pin));
        assert_eq!("https://h".parse::<ServerLink>(), Err(LinkError::Scheme));
        assert_eq!("lanrage://h:1/ABCD".parse::<Invite>(), Err(LinkError::PinMissing));
    }

    #[test]
    fn the_secret_opens_only_with_the_code() {
        let code = InviteCode::from_entropy([5; CODE_ENTROPY]);
        let sealed = code.seal(&PartySecret::from_bytes([1; 32]), [0; NONCE_LEN]);
        assert_eq!(code.open(&sealed).unwrap(), PartySecret::from_bytes([1; 32]));
        assert!(InviteCode::from_entropy([6; CODE_ENTROPY]).open(&sealed).is_err());
        assert_ne!(code.auth().0, code.derive(b"seal"));
    }
}
