//! Secret fields of inputs: unreadable wherever they are kept, readable inside the runs that they are meant for (`INP-24`,
//! `INP-25`).
//!
//! A value is encrypted with a key of its own, and that with the public half of a pair of keys that belongs to one user and
//! one Actor. So a run can read what its user meant for its Actor, and neither what others meant for the Actor nor what the
//! user meant for other Actors. The private half is kept sealed below the server's secret, and a run gets it in its
//! environment, where the SDKs look for it.

use std::convert::Infallible;
use std::sync::Arc;

use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Key, Nonce};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::input_schema::{EncryptedValue, InputSchema};
use model::{Actor, ActorId, JsonObject, Random, Run, UserId};
use moka::sync::Cache;
use rsa::PrivateKey;
use rsa::oaep::{DecryptingKey, EncryptingKey};
use rsa::pkcs8::pkcs5::pbes2;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding, PrivateKeyInfoRef};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::{RandomizedDecryptor as _, RandomizedEncryptor as _};
use serde_json::{Map, Value};
use sha1::Sha1;

use crate::{Engine, EngineError};

/// Size of the key pairs in bits.
const KEY_BITS: usize = 2048;
/// Characters of the key of a value, which are taken as they are for the bytes of an AES-256 key.
const VALUE_KEY: usize = 32;
/// Characters of its initialization vector.
const VALUE_IV: usize = 16;
/// Rounds of PBKDF2. The passphrase is as good as a key, so it needs no stretching; decoders insist on some rounds.
const ROUNDS: u32 = 2048;

/// The cipher of values: AES-256-GCM with the long initialization vector that the SDKs use.
type ValueCipher = AesGcm<Aes256, U16>;

/// Key pairs that were used lately, and the turn to make another: it takes long, and two would be one too many.
pub(crate) struct InputKeys {
    known: Cache<(UserId, ActorId), Arc<PrivateKey>>,
    turn: tokio::sync::Mutex<()>,
}

impl Default for InputKeys {
    fn default() -> Self {
        Self { known: Cache::new(1000), turn: tokio::sync::Mutex::default() }
    }
}

/// A private key as the SDKs read it (`INP-25`).
pub(crate) struct KeyForRun {
    /// Base64 of an encrypted PEM.
    pub(crate) file: String,
    /// What opens the PEM.
    pub(crate) passphrase: String,
}

impl Engine {
    /// An input that `user` wants to keep for runs of `actor`, as a task or a schedule does, with its secret fields encrypted;
    /// a run's own input is encrypted when it is started. What is encrypted already stays as it is, and so does everything if
    /// the Actor has no such build yet.
    pub(crate) async fn seal_input(
        &self,
        user: &UserId,
        actor: &Actor,
        build: Option<&str>,
        input: &JsonObject,
    ) -> Result<JsonObject, EngineError> {
        let build = match self.resolve_build(actor, build).await {
            Ok(build) => build,
            Err(
                EngineError::NoBuildTagged(_) | EngineError::NoBuildNumbered(_) | EngineError::BuildNotRunnable { .. },
            ) => return Ok(input.clone()),
            Err(error) => return Err(error),
        };
        let view = self.view(&build)?;
        let Some(schema) = view.input_schema.as_ref().filter(|schema| schema.secret_fields().next().is_some()) else {
            return Ok(input.clone());
        };
        let mut fields: Map<String, Value> = serde_json::from_str(input.as_str()).unwrap_or_default();
        self.encrypt_fields(user, &actor.id, schema, &mut fields).await?;
        let is_secret = |name: &str| schema.secret_fields().any(|field| field.name == name);
        fields.retain(|name, _| is_secret(name));
        // Even if nothing was encrypted: of a name that stands twice, the value that does not count must not stay either.
        let sealed = JsonObject::parse(Value::Object(fields).to_string().as_bytes()).ok().flatten();
        Ok(input.merged(&sealed.unwrap_or_default()))
    }

    /// Encrypts the fields that `schema` calls secret; returns whether any was.
    pub(crate) async fn encrypt_fields(
        &self,
        user: &UserId,
        actor: &ActorId,
        schema: &InputSchema,
        input: &mut Map<String, Value>,
    ) -> Result<bool, EngineError> {
        let mut plain = Vec::new();
        for field in schema.secret_fields() {
            if let Some(text) = input.get(field.name).and_then(|value| field.plain_text(value)) {
                plain.push((field, text));
            }
        }
        if plain.is_empty() {
            return Ok(false);
        }
        let pair = self.input_key(user, actor).await?;
        let encryptor = EncryptingKey::<Sha1>::new(pair.to_public_key());
        for (field, text) in &plain {
            let (key, text) = encrypt(&encryptor, self.random(), text.as_bytes())?;
            input.insert(field.name.to_owned(), field.encrypted(&key, &text));
        }
        Ok(true)
    }

    /// Decrypts the secret fields of an input, as far as they are encrypted and with this key pair.
    pub(crate) async fn decrypt_fields(
        &self,
        user: &UserId,
        actor: &ActorId,
        schema: &InputSchema,
        input: &mut Map<String, Value>,
    ) -> Result<(), EngineError> {
        let names: Vec<_> = schema.secret_fields().map(|field| field.name.to_owned()).collect();
        for name in names {
            let Some(value) = input.get_mut(&name) else { continue };
            let Some(encrypted) = EncryptedValue::parse(value) else { continue };
            let pair = self.input_key(user, actor).await?;
            let Some(text) = decrypt(&pair, self.random(), &encrypted) else { continue };
            let opened = match encrypted.is_text {
                true => Some(Value::String(text)),
                false => serde_json::from_str(&text).ok(),
            };
            if let Some(opened) = opened {
                *value = opened;
            }
        }
        Ok(())
    }

    /// The private key for a run, behind a passphrase of its own.
    pub(crate) async fn key_for_run(&self, run: &Run) -> Result<KeyForRun, EngineError> {
        let pair = self.input_key(&run.user_id, &run.actor_id).await?;
        let passphrase = self.inner.keys.input_passphrase(&run.id);
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        self.random().fill(&mut salt);
        self.random().fill(&mut iv);
        let pem = || -> Option<String> {
            let document = pair.to_pkcs8_der().ok()?;
            let info: PrivateKeyInfoRef<'_> = document.decode_msg().ok()?;
            let scheme = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, iv).ok()?;
            let encrypted = info.encrypt_with_params(scheme, &passphrase).ok()?;
            Some(encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).ok()?.to_string())
        };
        let pem = pem().context("cannot write an input key")?;
        Ok(KeyForRun { file: STANDARD.encode(pem), passphrase })
    }

    /// The key pair for the inputs of a user to an Actor, made when it is first asked for.
    async fn input_key(&self, user: &UserId, actor: &ActorId) -> Result<Arc<PrivateKey>, EngineError> {
        let keys = &self.inner.input_keys;
        if let Some(pair) = keys.known.get(&(*user, *actor)) {
            return Ok(pair);
        }
        let _turn = keys.turn.lock().await;
        if let Some(pair) = keys.known.get(&(*user, *actor)) {
            return Ok(pair);
        }
        let kept = self.inner.store.users.input_key(user, actor).await?;
        let pair = match kept {
            Some(sealed) => Arc::new(self.open_key(&sealed)?),
            None => {
                let pair = self.make_key().await?;
                let pem = pair.to_pkcs8_pem(LineEnding::LF).context("cannot write an input key")?;
                self.inner.store.users.keep_input_key(user, actor, self.seal(&pem)).await?;
                pair
            }
        };
        keys.known.insert((*user, *actor), pair.clone());
        Ok(pair)
    }

    fn open_key(&self, sealed: &str) -> Result<PrivateKey, EngineError> {
        let pem = self.unseal(sealed).context("an input key was sealed under another secret of the server")?;
        Ok(PrivateKey::from_pkcs8_pem(&pem).context("an input key cannot be read")?)
    }

    async fn make_key(&self) -> Result<Arc<PrivateKey>, EngineError> {
        let random = self.inner.random.clone();
        let make = move || PrivateKey::new(&mut Rng(&*random), KEY_BITS);
        let made = tokio::task::spawn_blocking(make).await.context("the making of an input key broke off")?;
        Ok(Arc::new(made.context("cannot make an input key")?))
    }
}

/// The key of the text, encrypted, and the encrypted text with its tag, both in base64.
fn encrypt(
    encryptor: &EncryptingKey<Sha1>,
    random: &dyn Random,
    text: &[u8],
) -> Result<(String, String), anyhow::Error> {
    let (key, iv) = (random.base62::<VALUE_KEY>(), random.base62::<VALUE_IV>());
    let cipher = ValueCipher::new(&Key::<ValueCipher>::from(key));
    let encrypted = cipher.encrypt(&Nonce::<U16>::from(iv), text);
    let encrypted = encrypted.map_err(|_| anyhow::anyhow!("a secret is too long to be encrypted"))?;
    let key = encryptor.encrypt_with_rng(&mut Rng(random), &[&key[..], &iv[..]].concat());
    Ok((STANDARD.encode(key.context("cannot encrypt the key of a secret")?), STANDARD.encode(encrypted)))
}

fn decrypt(pair: &PrivateKey, random: &dyn Random, value: &EncryptedValue<'_>) -> Option<String> {
    let decryptor = DecryptingKey::<Sha1>::new(pair.clone());
    let secret = decryptor.decrypt_with_rng(&mut Rng(random), &STANDARD.decode(value.key).ok()?).ok()?;
    let (key, iv) = secret.split_at_checked(VALUE_KEY)?;
    let key: [u8; VALUE_KEY] = key.try_into().ok()?;
    let iv: [u8; VALUE_IV] = iv.try_into().ok()?;
    let cipher = ValueCipher::new(&Key::<ValueCipher>::from(key));
    let text = cipher.decrypt(&Nonce::<U16>::from(iv), STANDARD.decode(value.text).ok()?.as_slice()).ok()?;
    String::from_utf8(text).ok()
}

/// Our source of randomness in the words of the cryptographic libraries.
struct Rng<'a>(&'a dyn Random);

impl TryRng for Rng<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Rng<'_> {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{TestEngine, TestRandom};

    #[tokio::test(start_paused = true)]
    async fn a_text_is_read_by_who_has_the_key_and_by_nobody_if_it_was_changed() {
        let test = TestEngine::start().await;
        let pair = test.engine.input_key(&test.ada.user.id, &test.actor.id).await.unwrap();
        let other = test.engine.make_key().await.unwrap();
        let random = TestRandom::default();
        let encryptor = EncryptingKey::<Sha1>::new(pair.to_public_key());

        for text in ["x", "päss", &"long ".repeat(100_000)] {
            let (key, encrypted) = encrypt(&encryptor, &random, text.as_bytes()).unwrap();
            let value = json!(format!("ENCRYPTED_VALUE:{key}:{encrypted}"));
            let value = EncryptedValue::parse(&value).unwrap();

            assert_eq!(STANDARD.decode(&key).unwrap().len(), KEY_BITS / 8);
            assert_eq!(STANDARD.decode(&encrypted).unwrap().len(), text.len() + 16, "the tag is at its end");
            assert_eq!(decrypt(&pair, &random, &value).as_deref(), Some(text));
            assert_eq!(decrypt(&other, &random, &value), None);
            let changed = format!("{}{}", if encrypted.starts_with('A') { 'B' } else { 'A' }, &encrypted[1..]);
            assert_eq!(decrypt(&pair, &random, &EncryptedValue { text: &changed, ..value }), None);
            assert_eq!(decrypt(&pair, &random, &EncryptedValue { key: "AAAA", ..value }), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_is_made_however_many_ask_for_it() {
        let test = TestEngine::start().await;
        let ask = || test.engine.input_key(&test.ada.user.id, &test.actor.id);

        let asked = futures::future::join_all([ask(), ask(), ask()]).await;

        let keys: Vec<_> = asked.into_iter().map(Result::unwrap).collect();
        assert!(keys.iter().all(|key| Arc::ptr_eq(key, &keys[0])));
        let kept = test.engine.store().users.input_key(&test.ada.user.id, &test.actor.id).await.unwrap().unwrap();
        assert!(!kept.contains("PRIVATE KEY"), "it is kept sealed");
        assert_eq!(test.engine.open_key(&kept).unwrap(), *keys[0]);
    }
}
