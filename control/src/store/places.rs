//! Places that conferences take in the limits of domains: taken with the first write of a record, given back
//! with the last, and renewed as long as it lives.

use super::{Place, Store, StoreError};
use crate::conference::{Claim, Record};

/// A place that is not renewed for so long is free: its control process is gone, and no other one has taken
/// the conference over.
const LEASE_MS: u64 = 300_000;

fn place(claim: &Claim) -> Place {
    Place { domain: claim.domain.clone(), class: claim.class.name().to_owned() }
}

/// Takes the places of a conference that is to be written for the first time, all or none.
pub(crate) async fn take(store: &dyn Store, record: &Record) -> Result<(), StoreError> {
    for claim in &record.claims {
        let limit = claim.max.map_or(u64::MAX, u64::from);
        let Err(error) = store.occupy(&place(claim), &record.id, limit, LEASE_MS).await else { continue };
        give_back(store, record).await;
        return Err(match error {
            StoreError::Full { .. } => StoreError::NoPlace(claim.clone()),
            other => other,
        });
    }
    Ok(())
}

/// Gives them back. What the store does not hear falls out by its lease.
pub(crate) async fn give_back(store: &dyn Store, record: &Record) {
    for claim in &record.claims {
        if let Err(error) = store.vacate(&place(claim), &record.id).await {
            tracing::debug!(conference = %record.id, domain = %claim.domain, %error, "a place is free later");
        }
    }
}

/// Renews the places of conferences that live.
pub(crate) async fn renew(store: &dyn Store, held: &[(String, Vec<Claim>)]) -> Result<(), StoreError> {
    for (conference, claims) in held {
        for claim in claims {
            // It is there: whatever the limit is by now, it stays.
            store.occupy(&place(claim), conference, u64::MAX, LEASE_MS).await?;
        }
    }
    Ok(())
}
