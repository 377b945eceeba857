//! What a hostile operator can make of everything the server knows and carries: no key of a tunnel.

use crate::support::{Code, Device, Request, Stream, TestServer};
use hmac::{Hmac, Mac};
use lanrage_shared::api::party::Party;
use lanrage_shared::keys::PartySecret;
use lanrage_shared::pair::PairKeys;
use lanrage_shared::seal::NONCE_LEN;
use lanrage_shared::signal::{Candidate, CandidateKind, Signal};
use sha2::{Digest, Sha256};

/// What the server side is after.
struct Wanted {
    secret: PartySecret,
    keys: PairKeys,
    sealed_secret: Vec<u8>,
    sealed_signal: String,
}

#[tokio::test]
async fn the_whole_database_and_stream_do_not_give_the_pre_shared_key() {
    let server = TestServer::start().await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    // A code and a secret without a pattern: bytes of the key must not turn up by chance.
    let mut code = Code::new(0xC5);
    code.secret = PartySecret::from_bytes(Sha256::digest(b"drawn by the agent").into());
    let hosted = anna.host(&code, None).await;
    let joined = ben.join(&code, "Ben").await;
    let keys = PairKeys::derive(&code.secret, &anna.secret, &ben.secret.public());
    let signal = Signal {
        generation: 1,
        run: 1,
        wants_answer: true,
        nat: Default::default(),
        relays: vec![],
        candidates: vec![Candidate {
            kind: CandidateKind::Mapped,
            address: "198.51.100.77:40404".parse().unwrap(),
        }],
        guess: None,
    };
    let sealed_signal = signal.seal(&keys, [3; NONCE_LEN]);

    let mut at_anna = anna.stream(hosted.party.id, Some(0)).await;
    at_anna.welcome().await;
    let mut at_ben = ben.stream(hosted.party.id, None).await;
    at_ben.welcome().await;
    at_ben.snapshot().await;
    at_anna.signal(joined.me, &sealed_signal).await;
    assert_eq!(at_ben.incoming_signal().await.1, sealed_signal);
    at_anna.presence_of(joined.me).await;

    let sealed_secret = joined.sealed_secret.clone().unwrap();
    let wanted = Wanted {
        secret: code.secret.clone(),
        keys,
        sealed_secret: data_encoding::BASE64URL_NOPAD.decode(sealed_secret.as_bytes()).unwrap(),
        sealed_signal,
    };
    let mut carried: Vec<String> = at_anna.heard.iter().chain(&at_ben.heard).cloned().collect();
    carried.push(serde_json::to_string(&hosted).unwrap());
    carried.push(serde_json::to_string(&joined).unwrap());
    // A redemption shows this to the server; it is in no table.
    let shown = code.code.auth().0.to_vec();
    let dir = server.stop().await;
    let mut known = files_of(dir.path());
    known.extend(carried.into_iter().map(String::into_bytes));

    let code_text = code.code.expose();
    for bytes in &known {
        for secret in [
            wanted.secret.expose().as_slice(),
            &wanted.keys.psk,
            code_text.as_bytes(),
            code_text.replace('-', "").as_bytes(),
            anna.secret.expose(),
            b"198.51.100.77",
        ] {
            assert!(!contains(bytes, secret), "the server knows a secret");
        }
    }
    let material = material_of(&known, shown);
    assert!(
        material.len() > 30,
        "the observer has the columns to try: {}",
        material.len()
    );
    for key in keys_from(&material) {
        assert_ne!(key, wanted.keys.psk);
        assert_ne!(&key, wanted.secret.expose());
        assert!(lanrage_shared::seal::open(&key, b"lanrage party secret v1", &wanted.sealed_secret).is_err());
        let guess = PairKeys::derive(&PartySecret::from_bytes(key), &ben.secret, &anna.secret.public());
        assert_ne!(guess.psk, wanted.keys.psk);
        assert!(Signal::open(&wanted.sealed_signal, &guess).is_err());
    }
    // The attempt itself is sound: with the secret, Ben does open what the observer could not.
    let right = PairKeys::derive(&wanted.secret, &ben.secret, &anna.secret.public());
    assert_eq!(Signal::open(&wanted.sealed_signal, &right).unwrap(), signal);
    assert_eq!(code.code.open(&wanted.sealed_secret).unwrap(), wanted.secret);
}

#[tokio::test]
async fn neither_the_server_nor_who_was_removed_gets_the_next_epochs_key() {
    let server = TestServer::start().await;
    let (anna, ben, cleo) = (
        Device::new(&server, 1).await,
        Device::new(&server, 2).await,
        Device::new(&server, 3).await,
    );
    let (mut code, mut goes_on) = (Code::new(0xC5), Code::new(0x3A));
    code.secret = PartySecret::from_bytes(Sha256::digest(b"drawn for epoch 1").into());
    goes_on.secret = code.secret.clone();
    let next = PartySecret::from_bytes(Sha256::digest(b"drawn for epoch 2").into());
    let id = anna.host(&code, None).await.party.id;
    let invites = format!("/v1/parties/{id}/invites");
    anna.send(Request::new("POST", invites).json(&goes_on.invite(None)))
        .await;
    ben.join(&code, "Ben").await;
    let cleo_id = cleo.join(&code, "Cleo").await.me;
    let mut at_ben = ben.stream(id, None).await;
    at_ben.welcome().await;
    at_ben.snapshot().await;
    let party = anna.party(id).await;
    let party: Party = anna.remove(&party, cleo_id, true).await.ok();
    let new = anna.seal(&party, &code.secret, &next, &[&goes_on]);
    let _: Party = anna.renew(&party, &new).await.ok();
    let (_, secrets) = at_ben.new_secret().await;
    // Ben, who is away, will find it when he comes back: it is in the database.
    let mut away = Stream::open(&ben, id, None, 1).await;
    away.welcome().await;
    assert_eq!(away.secrets().await, secrets);

    let mut known = files_of(server.stop().await.path());
    known.extend(
        at_ben
            .heard
            .iter()
            .chain(&away.heard)
            .map(|text| text.clone().into_bytes()),
    );
    known.push(serde_json::to_vec(&new).unwrap());
    let sealed = data_encoding::BASE64URL_NOPAD
        .decode(secrets[0].sealed.as_bytes())
        .unwrap();
    assert!(known.iter().any(|bytes| contains(bytes, secrets[0].sealed.as_bytes())));
    let psk = PairKeys::derive(&next, &anna.secret, &ben.secret.public()).psk;
    for bytes in &known {
        assert!(!contains(bytes, next.expose()) && !contains(bytes, &psk));
    }
    // The server and Cleo put together what they have: her keys and the former secret, and what follows from these.
    let hers = [anna.secret.public(), ben.secret.public()].map(|theirs| {
        let keys = PairKeys::derive(&code.secret, &cleo.secret, &theirs);
        assert!(keys.open_secret(&secrets[0].sealed, 2).is_err());
        assert!(Signal::open(&secrets[0].sealed, &keys).is_err());
        let agreed = cleo
            .secret
            .x25519()
            .diffie_hellman(&x25519_dalek::PublicKey::from(theirs.0));
        [keys.psk, keys.signal_send, keys.signal_receive, *agreed.as_bytes()]
    });
    let mut material = material_of(&known, code.code.auth().0.to_vec());
    material.extend(hers.iter().flatten().map(|key| key.to_vec()));
    material.extend([code.secret.expose(), cleo.secret.expose()].map(|key| key.to_vec()));
    let between = PairKeys::derive(&code.secret, &anna.secret, &ben.secret.public()).psk;
    let aad = [b"lanrage party secret v1".as_slice(), &2_u32.to_be_bytes()].concat();
    // She can make the pair's former pre-shared key: it follows from what every member knew. It opens nothing of theirs.
    for key in keys_from(&material).chain([between]) {
        assert_ne!(key, psk);
        assert_ne!(&key, next.expose());
        assert!(lanrage_shared::seal::open(&key, &aad, &sealed).is_err());
        assert!(lanrage_shared::seal::open(&key, b"", &sealed).is_err());
    }
    // The attempt itself is sound: Ben opens it.
    assert_eq!(ben.open(&secrets[0], &code.secret).unwrap(), next);
}

/// Every file of the server: database, write-ahead log, identity.
fn files_of(dir: &std::path::Path) -> Vec<Vec<u8>> {
    let files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(files.iter().any(|file| file.starts_with(b"SQLite format 3")));
    files
}

/// Everything that could be key material: what was shown, and every run of 32 bytes of database and messages that is not
/// plain text or zeroes.
fn material_of(known: &[Vec<u8>], shown: Vec<u8>) -> Vec<Vec<u8>> {
    let mut material = vec![shown];
    for bytes in known {
        for window in bytes.windows(32) {
            let printable = window
                .iter()
                .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
                .count();
            let distinct = window.iter().collect::<std::collections::BTreeSet<_>>().len();
            if printable < 24 && distinct > 20 {
                material.push(window.to_vec());
            }
        }
        let text = String::from_utf8_lossy(bytes);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        material.extend(words.filter_map(|word| data_encoding::BASE64URL_NOPAD.decode(word.as_bytes()).ok()));
    }
    material.sort();
    material.dedup();
    material.retain(|bytes| bytes.len() >= 16);
    material
}

/// What the design's own derivations, and the obvious others, make of it.
fn keys_from(material: &[Vec<u8>]) -> impl Iterator<Item = [u8; 32]> {
    let labels: [(&[u8], &[u8]); 4] = [
        (b"lanrage invite v1", b"seal"),
        (b"lanrage invite v1", b"auth"),
        (b"lanrage psk v1", b""),
        (b"", b""),
    ];
    material.iter().flat_map(move |bytes| {
        let as_it_is = bytes.get(..32).and_then(|key| key.try_into().ok());
        let hashed: [u8; 32] = Sha256::digest(bytes).into();
        let derived = labels.map(|(salt, info)| hkdf(salt, bytes, info));
        as_it_is.into_iter().chain([hashed]).chain(derived)
    })
}

/// RFC 5869 with SHA-256, the first 32 bytes.
fn hkdf(salt: &[u8], material: &[u8], info: &[u8]) -> [u8; 32] {
    let mac = |key: &[u8], parts: &[&[u8]]| -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    };
    let extracted = mac(salt, &[material]);
    mac(&extracted, &[info, &[1]])
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
