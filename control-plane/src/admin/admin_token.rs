//! Admin tokens, over gRPC. A secret that is made up here is in one answer and nowhere else.

use std::{sync::Arc, time::SystemTime};

use futures_util::FutureExt as _;
use secrecy::ExposeSecret as _;
use signalbox_proto::admin::v1::{
    AdminToken, CreateAdminTokenRequest, DeleteAdminTokenRequest, DeleteAdminTokenResponse, GetAdminTokenRequest,
    ListAdminTokensRequest, ListAdminTokensResponse, Role, UpdateAdminTokenRequest,
    admin_token_service_server::AdminTokenService,
};
use sqlx::SqliteConnection;
use tonic::{Request, Response, Status};

use super::{
    auth::ROOT,
    error::{Error, Violation},
    mask::Mask,
    page::{self, Asked, Listing, Page},
    verbs::{Call, parse_id},
};
use crate::{
    audit::Deed,
    key::{self, Fingerprint},
    ledger::{Entry, Ledger},
    source,
    store::{
        self,
        admin_tokens::{self, Row},
    },
    tokens::{self, COLLECTION, Held, KnownBy, Roster, Tokens},
};

/// What a token is in a ResourceInfo.
const TYPE: &str = "AdminToken";

/// Who acts without a token: nobody else may seem to be one of them.
const TAKEN: [&str; 3] = [ROOT, "signalbox", source::ACTOR];

/// The tokens are as they are now: they have no history.
const LISTING: Listing<'static> = Listing { collection: COLLECTION, epoch: "" };

/// Longest display name or certificate's name, in bytes.
const MAX_BYTES: usize = 256;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct AdminTokens {
    ledger: Ledger,
    tokens: Tokens,
}

/// What a change comes to.
enum Step {
    Put(Row),
    Remove,
    Nothing,
}

/// A change that is made, or would be.
struct Changed {
    roster: Arc<Roster>,
    done: Option<Deed>,
}

impl AdminTokens {
    /// These tokens, kept where this ledger is.
    pub(crate) const fn new(ledger: Ledger, tokens: Tokens) -> Self {
        Self { ledger, tokens }
    }

    /// Decides a change on the tokens as they are when its turn comes, and brings it about.
    async fn change<F>(&self, entry: Entry, id: String, decide: F) -> Result<Arc<Roster>, Error>
    where
        F: FnOnce(&Roster) -> Result<Step, Error> + Send + 'static,
    {
        let tokens = self.tokens.clone();
        let memory = self.tokens.clone();
        let changed = self.ledger.maintain(
            move |connection| {
                async move {
                    let now = tokens.now();
                    let step = decide(&now)?;
                    let roster = match &step {
                        Step::Put(row) => Arc::new(now.with(row.clone())?),
                        Step::Remove => Arc::new(now.without(&id)),
                        Step::Nothing => now,
                    };
                    if entry.validate_only {
                        return Ok(Changed { roster, done: None });
                    }
                    let done = entry.done(format!("{COLLECTION}/{id}"), None, SystemTime::now());
                    keep(connection, &id, &step, &done).await?;
                    Ok::<_, Error>(Changed { roster, done: Some(done) })
                }
                .boxed()
            },
            move |changed: &Changed| {
                if let Some(done) = &changed.done {
                    memory.replace(Arc::clone(&changed.roster));
                    done.log();
                }
            },
        );
        Ok(changed.await?.roster)
    }

    async fn create(&self, call: Call, request: CreateAdminTokenRequest) -> Result<AdminToken, Error> {
        let CreateAdminTokenRequest { admin_token_id, admin_token, validate_only } = request;
        let id = parse_id(&admin_token_id, "admin_token_id")?.as_str().to_owned();
        let said = admin_token.ok_or_else(|| Violation::missing("admin_token"))?;
        judge(&said)?;
        let secret = said.certificate_name.is_empty().then(key::generate_admin);
        let known_by = match &secret {
            Some(secret) => {
                let Fingerprint { sha256, display_prefix } = Fingerprint::of_admin(secret);
                KnownBy::Secret { sha256, display_prefix }
            }
            None => KnownBy::Certificate(said.certificate_name.clone()),
        };
        let row = tokens::row(&id, &said, known_by, SystemTime::now());
        let made = id.clone();
        let decide = move |roster: &Roster| {
            require_free(roster, &row)?;
            Ok(Step::Put(row))
        };
        let roster = self.change(call.entry(validate_only)?, id, decide).await?;
        let mut shown = find(&roster, &made)?.shown();
        if let (Some(secret), false) = (secret, validate_only) {
            shown.secret = secret.expose_secret().to_owned();
        }
        Ok(shown)
    }

    async fn update(&self, call: Call, request: UpdateAdminTokenRequest) -> Result<AdminToken, Error> {
        let UpdateAdminTokenRequest { admin_token, update_mask, validate_only } = request;
        let mask = Mask::read(update_mask, &tokens::descriptor())?;
        let wanted = admin_token.ok_or_else(|| Violation::missing("admin_token"))?;
        let id = parse_name(&wanted.name, "admin_token.name")?;
        let changed = id.clone();
        let decide = move |roster: &Roster| {
            let held = find(roster, &id)?;
            check(held, &wanted.etag)?;
            let mut merged = tokens::dynamic(&held.shown());
            mask.merge(&tokens::dynamic(&wanted), &mut merged);
            next(held, &tokens::typed(&merged)).map(Step::Put)
        };
        let roster = self.change(call.entry(validate_only)?, changed.clone(), decide).await?;
        Ok(find(&roster, &changed)?.shown())
    }

    async fn delete(&self, call: Call, request: DeleteAdminTokenRequest) -> Result<DeleteAdminTokenResponse, Error> {
        let DeleteAdminTokenRequest { name, etag, allow_missing, validate_only } = request;
        let id = parse_name(&name, "name")?;
        let gone = id.clone();
        let decide = move |roster: &Roster| match find(roster, &gone) {
            Ok(held) => check(held, &etag).map(|()| Step::Remove),
            Err(_) if allow_missing => Ok(Step::Nothing),
            Err(error) => Err(error),
        };
        self.change(call.entry(validate_only)?, id, decide).await?;
        Ok(DeleteAdminTokenResponse {})
    }

    fn list(&self, request: &ListAdminTokensRequest) -> Result<ListAdminTokensResponse, Error> {
        let ListAdminTokensRequest { page_size, page_token } = request;
        let asked = Asked { size: *page_size, token: page_token.clone(), ..Asked::default() };
        let Page { size, after, revision } = Page::read(&asked, LISTING)?;
        let roster = self.tokens.now();
        let mut rest = roster.after(after.as_deref());
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let next_page_token = match (page.last(), rest.next()) {
            (Some(last), Some(_)) => page::token(&asked, LISTING, revision, &last.id),
            _ => String::new(),
        };
        Ok(ListAdminTokensResponse {
            admin_tokens: page.into_iter().map(|held| held.shown()).collect(),
            next_page_token,
        })
    }
}

/// Writes down a change, and the entry that says so.
async fn keep(connection: &mut SqliteConnection, id: &str, step: &Step, done: &Deed) -> Result<(), store::Error> {
    match step {
        Step::Put(row) => admin_tokens::put(connection, row).await?,
        Step::Remove => admin_tokens::delete(connection, id).await?,
        Step::Nothing => {}
    }
    store::audit::add(connection, done).await
}

fn parse_name(name: &str, field: &str) -> Result<String, Error> {
    match name.split_once('/') {
        Some((COLLECTION, id)) => Ok(parse_id(id, field)?.as_str().to_owned()),
        _ if name.is_empty() => Err(Violation::missing(field).into()),
        _ => Err(Violation::new(field, "INVALID_NAME", "is not a name like adminTokens/ID").into()),
    }
}

fn find<'a>(roster: &'a Roster, id: &str) -> Result<&'a Arc<Held>, Error> {
    let missing = || Error::NotFound { resource_type: TYPE, name: format!("{COLLECTION}/{id}") };
    roster.get(id).ok_or_else(missing)
}

fn check(held: &Held, etag: &str) -> Result<(), Error> {
    let shown = held.shown();
    if etag.is_empty() || etag == shown.etag {
        return Ok(());
    }
    Err(Error::Stale { resource_type: TYPE, name: shown.name, given: etag.to_owned(), current: shown.etag })
}

fn require_free(roster: &Roster, row: &Row) -> Result<(), Error> {
    if TAKEN.contains(&row.id.as_str()) || roster.get(&row.id).is_some() {
        return Err(Error::Taken { resource_type: TYPE, name: format!("{COLLECTION}/{}", row.id) });
    }
    let same = row.certificate_name.as_deref().and_then(|name| roster.by_certificate(name));
    same.map_or(Ok(()), |same| Err(Error::Taken { resource_type: TYPE, name: format!("{COLLECTION}/{}", same.id) }))
}

/// The token as it is wanted, one version on.
fn next(held: &Held, wanted: &AdminToken) -> Result<Row, Error> {
    judge(wanted)?;
    if wanted.certificate_name != held.row.certificate_name.as_deref().unwrap_or_default() {
        let rule = "cannot be changed: make another token and remove this one";
        return Err(Violation::new("admin_token.certificate_name", "IMMUTABLE_FIELD", rule).into());
    }
    Ok(held.rewritten(wanted, SystemTime::now()))
}

/// What a token may say of itself.
fn judge(said: &AdminToken) -> Result<(), Error> {
    let mut violations = Vec::new();
    let mut wrong = |field: &str, reason, rule: &str| {
        violations.push(Violation::new(format!("admin_token.{field}"), reason, rule));
    };
    match Role::try_from(said.role) {
        Ok(Role::Unspecified) => wrong("role", "FIELD_REQUIRED", ROLES),
        Ok(Role::Viewer | Role::Operator | Role::KeyIssuer | Role::Admin) => {}
        Err(_) => wrong("role", "INVALID_ENUM", ROLES),
    }
    for (field, text) in [("display_name", &said.display_name), ("certificate_name", &said.certificate_name)] {
        if text.len() > MAX_BYTES || text.contains(char::is_control) {
            wrong(field, "OUT_OF_RANGE", "at most 256 bytes, without control characters");
        }
    }
    if said
        .expire_time
        .is_some_and(|time| SystemTime::try_from(time).is_err() || !(0..1_000_000_000).contains(&time.nanos))
    {
        wrong("expire_time", "OUT_OF_RANGE", "is no time that there is");
    }
    if violations.is_empty() { Ok(()) } else { Err(Error::Request(violations)) }
}

const ROLES: &str = "is one of ROLE_VIEWER, ROLE_OPERATOR, ROLE_KEY_ISSUER and ROLE_ADMIN";

#[tonic::async_trait]
impl AdminTokenService for AdminTokens {
    async fn get_admin_token(&self, request: Request<GetAdminTokenRequest>) -> Result<Response<AdminToken>, Status> {
        let id = parse_name(&request.into_inner().name, "name")?;
        Ok(Response::new(find(&self.tokens.now(), &id)?.shown()))
    }

    async fn list_admin_tokens(
        &self,
        request: Request<ListAdminTokensRequest>,
    ) -> Result<Response<ListAdminTokensResponse>, Status> {
        Ok(Response::new(self.list(request.get_ref())?))
    }

    async fn create_admin_token(
        &self,
        request: Request<CreateAdminTokenRequest>,
    ) -> Result<Response<AdminToken>, Status> {
        let call = Call::of(&request, "AdminTokenService/CreateAdminToken");
        Ok(Response::new(self.create(call, request.into_inner()).await?))
    }

    async fn update_admin_token(
        &self,
        request: Request<UpdateAdminTokenRequest>,
    ) -> Result<Response<AdminToken>, Status> {
        let call = Call::of(&request, "AdminTokenService/UpdateAdminToken");
        Ok(Response::new(self.update(call, request.into_inner()).await?))
    }

    async fn delete_admin_token(
        &self,
        request: Request<DeleteAdminTokenRequest>,
    ) -> Result<Response<DeleteAdminTokenResponse>, Status> {
        let call = Call::of(&request, "AdminTokenService/DeleteAdminToken");
        Ok(Response::new(self.delete(call, request.into_inner()).await?))
    }
}
