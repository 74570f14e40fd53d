//! The CA, as it is asked: orders, windows and revocations, each within a bounded time.

use super::task::millis;
use crate::account::account;
use crate::backoff::Failure;
use crate::ca::CaClient;
use crate::certificate::Issued;
use crate::hook::Records;
use crate::order::{Unissued, Wish, order};
use crate::renewal::Window;
use crate::stage::Stage;
use crate::storage::Kept;
use instant_acme::{Account, CertificateIdentifier, Error, RevocationReason, RevocationRequest};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::timeout;
use weir_config::Acme;
use weir_protocol::sealed::Sealed;
use weir_rules::time::Time;

pub(super) struct Ca {
    pub(super) acme: Acme,
    pub(super) kept: Kept,
    pub(super) client: CaClient,
    pub(super) account: Option<Account>,
    pub(super) stage: Arc<dyn Stage>,
    pub(super) records: Records,
}

impl Ca {
    /// The account, from before or from now on.
    async fn account(&mut self) -> Result<Account, Error> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let account = account(&self.acme, &self.client, &self.kept).await?;
        Ok(self.account.insert(account).clone())
    }

    /// When the CA suggests to renew a certificate, and when to ask again, milliseconds; `None` if it tells nothing.
    pub(super) async fn window(&mut self, id: &CertificateIdentifier<'_>) -> Option<(Window, u64)> {
        let patience = self.acme.timeout;
        let asked = async { self.account().await?.renewal_info(id).await };
        match timeout(patience, asked).await {
            Ok(Ok((info, again))) => {
                let at = |time: SystemTime| Time::from(time);
                let (start, end) = (info.suggested_window.start, info.suggested_window.end);
                Some((Window { start: at(start.into()), end: at(end.into()) }, millis(again)))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "tls.acme: no renewal information");
                None
            }
            Err(_) => None,
        }
    }

    /// Has a certificate revoked whose key may be known to others (RFC 8555 §7.6).
    ///
    /// # Errors
    /// The CA's, in words.
    pub(super) async fn revoke(&mut self, certificate: Vec<u8>) -> Result<(), String> {
        let certificate = CertificateDer::from(certificate);
        let patience = self.acme.timeout;
        let asked = async {
            let reason = Some(RevocationReason::KeyCompromise);
            let request = RevocationRequest { certificate: &certificate, reason };
            self.account().await?.revoke(&request).await
        };
        match timeout(patience, asked).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Error::Api(problem)))
                if problem.r#type.as_deref()
                    == Some("urn:ietf:params:acme:error:alreadyRevoked") =>
            {
                Ok(())
            }
            Ok(Err(error)) => Err(self.client.unissued(&error).error),
            Err(_) => Err(self.client.late().error),
        }
    }

    /// Orders a certificate; it is kept when this returns, also as edges get it.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn order(
        &mut self,
        wish: Wish<'_>,
    ) -> Result<(Issued, Option<Sealed>), Unissued> {
        let host = wish.host;
        let refused =
            |error: String| Unissued { failure: Failure::Refused, error, unknown_account: false };
        self.kept.check().await.map_err(refused)?;
        let patience = self.acme.timeout;
        let (stage, records) = (self.stage.clone(), self.records.clone());
        let ordering = async {
            let account = self.account().await?;
            order(&account, &self.acme, (&*stage, &records), wish).await
        };
        let ended = timeout(patience, ordering).await;
        // Within a time of its own: it is to be done however the order ended.
        records.clean_up().await;
        let pem = match ended {
            Ok(Ok(pem)) => pem,
            Ok(Err(error)) => {
                let unissued = self.client.unissued(&error);
                if unissued.unknown_account {
                    self.forget_account().await;
                }
                return Err(unissued);
            }
            Err(_) => return Err(self.client.late()),
        };
        let issued = Issued::read(&pem, host);
        let issued = issued.map_err(|error| refused(format!("what the CA issued: {error}")))?;
        let sealed = self.kept.keep_certificate(host, &pem).await.map_err(refused)?;
        Ok((issued, sealed))
    }

    /// The CA does not know the account; the next order registers another one.
    async fn forget_account(&mut self) {
        self.account = None;
        if let Err(error) = self.kept.forget_account().await {
            tracing::error!(error, "tls.acme: the account that the CA does not know stays");
        }
    }
}
