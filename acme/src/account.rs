//! The account at a CA: registered once, and kept.

use crate::ca::CaClient;
use crate::storage::Kept;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use instant_acme::{Account, AccountCredentials, Error, ExternalAccountKey, NewAccount};
use weir_config::Acme;

/// base64url as CAs show it, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The account that is kept, or a new one, which is kept there.
///
/// # Errors
/// The CA's, or that of the storage.
pub(crate) async fn account(acme: &Acme, client: &CaClient, kept: &Kept) -> Result<Account, Error> {
    let builder = || Account::builder_with_http(Box::new(client.clone()));
    let unkept = |error: String| Error::Other(format!("the account: {error}").into());
    if let Some(text) = kept.account().await.map_err(unkept)? {
        let credentials: AccountCredentials = serde_json::from_str(&text)
            .map_err(|error| Error::Other(format!("account.json: {error}").into()))?;
        return builder().from_credentials(credentials).await;
    }
    let contact = acme.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.as_deref().into_iter().collect();
    let external = match &acme.external_account {
        None => None,
        Some(external) => {
            let key = BASE64.decode(external.hmac_key.reveal());
            let key = key.map_err(|_| Error::Str("tls.acme.eab_hmac_key in base64url"))?;
            Some(ExternalAccountKey::new(external.key_id.clone(), &key))
        }
    };
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let created = builder().create(&new, acme.directory.clone(), external.as_ref()).await?;
    let (account, credentials) = created;
    kept.keep_account(&serde_json::to_string(&credentials)?).await.map_err(unkept)?;
    tracing::info!(directory = acme.directory, "tls.acme: registered an account");
    Ok(account)
}
