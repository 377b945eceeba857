//! A device with its keys, as the agent would use them.

use data_encoding::BASE64URL_NOPAD;
use lanrage_shared::api::auth::{Challenge, ChallengeRequest, TokenRequest, TokenResponse};
use lanrage_shared::api::invite::{NewInvite, RedeemInvite};
use lanrage_shared::api::party::{CreateParty, Joined, Party, RemoveMember};
use lanrage_shared::api::secret::{NewSecret, ResealedInvite, SealedSecret, SecretFor};
use lanrage_shared::ids::{DeviceId, MemberId, PartyId};
use lanrage_shared::invite::{CODE_ENTROPY, InviteCode};
use lanrage_shared::keys::{DeviceSecret, IdentitySecret, PartySecret, token_proof};
use lanrage_shared::pair::PairKeys;
use lanrage_shared::seal::{CannotOpen, NONCE_LEN};

use super::{Answer, Request, Stream, Target, TestServer};

/// An installation of the agent, signed in.
#[derive(Clone)]
pub struct Device {
    pub target: Target,
    pub identity: IdentitySecret,
    pub secret: DeviceSecret,
    pub token: String,
}

/// An invite's code and the party secret that it opens.
#[derive(Clone)]
pub struct Code {
    pub code: InviteCode,
    pub secret: PartySecret,
}

impl Code {
    pub fn new(n: u8) -> Self {
        Self {
            code: InviteCode::from_entropy([n; CODE_ENTROPY]),
            secret: PartySecret::from_bytes([n; 32]),
        }
    }

    /// One of many.
    pub fn numbered(n: u32) -> Self {
        let mut entropy = [1; CODE_ENTROPY];
        entropy[..4].copy_from_slice(&n.to_be_bytes());
        Self {
            code: InviteCode::from_entropy(entropy),
            secret: PartySecret::from_bytes([7; 32]),
        }
    }

    /// What the host registers with the server.
    pub fn invite(&self, max_uses: Option<u32>) -> NewInvite {
        NewInvite {
            auth_hash: BASE64URL_NOPAD.encode(&self.code.auth().hash()),
            sealed_secret: BASE64URL_NOPAD.encode(&self.code.seal(&self.secret, [9; NONCE_LEN])),
            secret_epoch: None,
            expires_in_s: 3600,
            max_uses,
        }
    }
}

impl Device {
    /// Device `n`, signed in.
    pub async fn new(server: &TestServer, n: u32) -> Self {
        Self::at(server.target(), n).await
    }

    /// Device `n`, signed in to any server.
    pub async fn at(target: Target, n: u32) -> Self {
        let mut device = Self::unknown(target, n);
        device.sign_in().await;
        device
    }

    fn unknown(target: Target, n: u32) -> Self {
        let mut seed = [n.to_be_bytes()[3]; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        Self {
            target,
            identity: IdentitySecret::from_bytes(seed),
            secret: DeviceSecret::from_bytes(seed.map(|byte| byte ^ 0x55)),
            token: String::new(),
        }
    }

    /// Device `n`, unless the server is gone.
    pub async fn try_at(target: Target, n: u32) -> std::io::Result<Self> {
        let mut device = Self::unknown(target, n);
        let request = ChallengeRequest {
            identity_key: device.identity.public(),
        };
        let challenge = Request::new("POST", "/v1/auth/challenge").json(&request);
        let challenge: Challenge = challenge.try_send(target).await?.ok();
        let answer = device.prove(&challenge.nonce).try_send(target).await?;
        device.token = answer.ok::<TokenResponse>().token;
        Ok(device)
    }

    pub async fn sign_in(&mut self) {
        let challenge = self.challenge().await;
        self.token = self
            .prove(&challenge.nonce)
            .send(self.target)
            .await
            .ok::<TokenResponse>()
            .token;
    }

    pub async fn challenge(&self) -> Challenge {
        let request = ChallengeRequest {
            identity_key: self.identity.public(),
        };
        Request::new("POST", "/v1/auth/challenge")
            .json(&request)
            .send(self.target)
            .await
            .ok()
    }

    /// The request for a token that answers `nonce`.
    pub fn prove(&self, nonce: &str) -> Request<'static> {
        Request::new("POST", "/v1/auth/token").json(&self.proof(nonce))
    }

    pub fn proof(&self, nonce: &str) -> TokenRequest {
        let proof = token_proof(&self.target.pin, nonce, &self.secret.public());
        TokenRequest {
            identity_key: self.identity.public(),
            device_key: self.secret.public(),
            nonce: nonce.to_owned(),
            signature: self.identity.sign(&proof),
        }
    }

    pub fn id(&self) -> DeviceId {
        self.identity.device_id()
    }

    /// Sends a request with this device's token.
    pub async fn send(&self, request: Request<'_>) -> Answer {
        request.token(&self.token).send(self.target).await
    }

    pub async fn get(&self, path: impl Into<String>) -> Answer {
        self.send(Request::new("GET", path)).await
    }

    /// Creates a party that `code` admits to.
    pub async fn host(&self, code: &Code, max_uses: Option<u32>) -> Joined {
        self.send(Request::new("POST", "/v1/parties").json(&party(code, max_uses)))
            .await
            .ok()
    }

    pub async fn redeem(&self, code: &Code, name: &str) -> Answer {
        self.redeem_from(code, name, &[]).await
    }

    pub async fn redeem_from(&self, code: &Code, name: &str, lans: &[&str]) -> Answer {
        self.send(redemption(code, name, lans)).await
    }

    pub async fn join(&self, code: &Code, name: &str) -> Joined {
        self.redeem(code, name).await.ok()
    }

    pub async fn leave(&self, party: PartyId) -> Answer {
        self.send(Request::new("DELETE", format!("/v1/parties/{party}/members/me")))
            .await
    }

    /// Removes a member of the party as it is in `party`.
    pub async fn remove(&self, party: &Party, member: MemberId, ban: bool) -> Answer {
        let path = format!("/v1/parties/{}/members/{member}/remove", party.id);
        let request = Request::new("POST", path).header("if-match", format!("\"{}\"", party.version));
        self.send(request.json(&RemoveMember { ban })).await
    }

    /// Gives the party as it is in `party` a new secret.
    pub async fn renew(&self, party: &Party, new: &NewSecret) -> Answer {
        let request = Request::new("PUT", format!("/v1/parties/{}/secret", party.id));
        let request = request.header("if-match", format!("\"{}\"", party.version));
        self.send(request.json(new)).await
    }

    /// The secret of the party's epoch, sealed to every other member with the keys that follow from the `former` one.
    pub fn seal(&self, party: &Party, former: &PartySecret, next: &PartySecret, codes: &[&Code]) -> NewSecret {
        let others = party.members.iter().filter(|member| member.device != self.id());
        let secrets = others.map(|member| {
            let keys = PairKeys::derive(former, &self.secret, &member.device_key);
            SecretFor {
                to: member.id,
                sealed: keys.seal_secret(next, party.epoch, [u8::try_from(member.id.0).unwrap(); NONCE_LEN]),
            }
        });
        let invites = codes.iter().map(|code| ResealedInvite {
            auth_hash: BASE64URL_NOPAD.encode(&code.code.auth().hash()),
            sealed_secret: BASE64URL_NOPAD.encode(&code.code.seal(next, [8; NONCE_LEN])),
        });
        NewSecret {
            epoch: party.epoch,
            secrets: secrets.collect(),
            invites: invites.collect(),
        }
    }

    /// What another member sealed to this one.
    pub fn open(&self, sealed: &SealedSecret, former: &PartySecret) -> Result<PartySecret, CannotOpen> {
        PairKeys::derive(former, &self.secret, &sealed.from_key).open_secret(&sealed.sealed, sealed.epoch)
    }

    pub async fn party(&self, id: PartyId) -> Party {
        self.get(format!("/v1/parties/{id}")).await.ok()
    }

    pub async fn relay_tokens(&self, id: PartyId) -> Answer {
        self.send(Request::new("POST", format!("/v1/parties/{id}/relay-tokens")))
            .await
    }

    /// Opens the stream and says hello.
    pub async fn stream(&self, party: PartyId, since: Option<u64>) -> Stream {
        Stream::open(self, party, since, 1).await
    }
}

/// The request of a device that shows `code`.
pub fn redemption(code: &Code, name: &str, lans: &[&str]) -> Request<'static> {
    let request = RedeemInvite {
        auth: code.code.auth(),
        member_name: name.parse().unwrap(),
        lans: lans.iter().map(|lan| lan.parse().unwrap()).collect(),
    };
    Request::new("POST", "/v1/invites/redeem").json(&request)
}

/// A party of Anna's.
pub fn party(code: &Code, max_uses: Option<u32>) -> CreateParty {
    CreateParty {
        name: "Friday".parse().unwrap(),
        member_name: "Anna".parse().unwrap(),
        persistent: false,
        max_members: None,
        lans: vec!["192.168.1.0/24".parse().unwrap()],
        invite: code.invite(max_uses),
    }
}
