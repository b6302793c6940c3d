//! The audit, over gRPC: newest first, a page at a time. It only looks.

use prost_reflect::{DynamicMessage, MessageDescriptor};
use signalbox_proto::{
    DESCRIPTORS,
    admin::v1::{AuditEntry, ListAuditEntriesRequest, ListAuditEntriesResponse, audit_service_server::AuditService},
};
use tonic::{Request, Response, Status};

use super::{
    error::Error,
    filter::Filter,
    page::{self, Asked, Listing, Page},
};
use crate::{
    audit::{Deed, What},
    ledger::{self, Ledger},
    store,
};

const COLLECTION: &str = "auditEntries";

/// Entries never change, so that a page can be continued in any history.
const LISTING: Listing<'static> = Listing { collection: COLLECTION, epoch: "" };

/// Entries that are read at a time where a filter lets few of them through.
const CHUNK: usize = 1_000;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct AuditTrail {
    ledger: Ledger,
}

impl AuditTrail {
    /// The entries that are kept where this ledger is.
    pub(crate) const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    async fn list(&self, request: ListAuditEntriesRequest) -> Result<ListAuditEntriesResponse, Error> {
        let ListAuditEntriesRequest { page_size, page_token, filter } = request;
        let asked = Asked { size: page_size, token: page_token, filter, at_revision: 0 };
        let Page { size, after, revision } = Page::read(&asked, LISTING)?;
        let filter = Filter::parse(&asked.filter, &descriptor())?;
        let continued = |after: String| after.parse().map_err(|_| page::Fault::Token(COLLECTION.to_owned()));
        let before = after.map(continued).transpose()?.unwrap_or(u64::MAX);
        let mut entries = self.entries(before, &filter, size + 1).await.map_err(ledger::Error::from)?;
        let more = entries.len() > size;
        entries.truncate(size);
        let next_page_token = match entries.last() {
            Some(last) if more => page::token(&asked, LISTING, revision, &last.sequence.to_string()),
            _ => String::new(),
        };
        Ok(ListAuditEntriesResponse { audit_entries: entries, next_page_token })
    }

    /// At most so many entries before that number that the filter lets through.
    async fn entries(&self, mut before: u64, filter: &Filter, most: usize) -> Result<Vec<AuditEntry>, store::Error> {
        let mut entries = Vec::new();
        let mut reader = self.ledger.reader().await?;
        let chunk = if filter.is_empty() { most } else { CHUNK };
        loop {
            let rows = store::audit::before(&mut reader, before, chunk).await?;
            let last = rows.len() < chunk;
            for row in rows {
                let (sequence, deed) = row.read()?;
                before = sequence;
                let entry = entry(sequence, deed);
                if filter.is_empty() || filter.matches(&dynamic(&entry)) {
                    entries.push(entry);
                }
                if entries.len() == most {
                    return Ok(entries);
                }
            }
            if last {
                return Ok(entries);
            }
        }
    }
}

fn descriptor() -> MessageDescriptor {
    #[expect(clippy::expect_used, reason = "the schemas are compiled in, and every test of the audit asks for it")]
    DESCRIPTORS.get_message_by_name("signalbox.admin.v1.AuditEntry").expect("entries have a schema")
}

fn dynamic(entry: &AuditEntry) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(descriptor());
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    dynamic.transcode_from(entry).expect("a generated type has the fields of its schema");
    dynamic
}

fn entry(sequence: u64, deed: Deed) -> AuditEntry {
    let Deed { time, what, revision, repeated } = deed;
    let What { actor, source_ip, method, resource, code, reason, request_id } = what;
    AuditEntry {
        sequence,
        time: Some(time.into()),
        actor: actor.as_ref().to_owned(),
        source_ip: source_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        method: method.into_owned(),
        resource,
        code: code.into_owned(),
        reason: reason.into_owned(),
        revision: revision.unwrap_or_default(),
        request_id,
        repeated_count: repeated,
    }
}

#[tonic::async_trait]
impl AuditService for AuditTrail {
    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }
}
