//! Lists: a page of what there is, or was, of a kind, by name. All pages of a list are of the revision that the first was of.

use std::sync::Arc;

use signalbox_routing::{Id, Kind, ResourceName};
use tokio::task::spawn_blocking;

use super::{Asked, Verbs, find, shape};
use crate::{
    admin::{
        error::Error,
        filter::Filter,
        page::{self, Listing, Page},
        resource::Resource,
    },
    message,
    state::{State, Stored},
};

/// One page of a list that is to be filled.
struct Wanted {
    state: Arc<State>,
    provider: Option<Id>,
    after: Option<ResourceName>,
    filter: Filter,
    size: usize,
}

impl Verbs {
    /// A page of a kind's resources by name, and the token of the next page. With a provider, only what belongs to it.
    pub(crate) async fn list<R: Resource>(
        &self,
        provider: Option<&Id>,
        asked: &Asked,
    ) -> Result<(Vec<R>, String), Error> {
        let filter = Filter::parse(&asked.filter, &message::descriptor(R::KIND))?;
        let present = self.ledger.state();
        let collection = collection(R::KIND, provider);
        let listing = Listing { collection: &collection, epoch: &present.position.epoch };
        let Page { size, after, revision } = Page::read(asked, listing)?;
        let after = after.map(|name| continued(&name, R::KIND, &collection)).transpose()?;
        let state = self.state_at(revision).await?;
        let revision = state.position.revision.get();
        let provider = provider.cloned();
        let wanted = Wanted { state, provider, after, filter, size };
        let (page, more) = if wanted.filter.is_empty() {
            wanted.fill::<R>()?
        } else {
            // Whatever does not match is looked at too, which takes a while where there is much of it.
            spawn_blocking(move || wanted.fill::<R>()).await??
        };
        let next = match page.last() {
            Some(last) if more => page::token(asked, listing, revision, last.name()),
            _ => String::new(),
        };
        Ok((page, next))
    }

    /// The configuration at a revision; 0 = the current one.
    ///
    /// # Errors
    /// [`Error::Past`] where it is not kept.
    pub(crate) async fn state_at(&self, revision: u64) -> Result<Arc<State>, Error> {
        match revision {
            0 => Ok(self.ledger.state()),
            revision => Ok(self.ledger.at(revision).await?),
        }
    }
}

impl Wanted {
    /// The page, and whether there is a further one.
    fn fill<R: Resource>(self) -> Result<(Vec<R>, bool), Error> {
        let Self { state, provider, after, filter, size } = self;
        let rest: Box<dyn Iterator<Item = &Arc<Stored>>> = match &provider {
            None => Box::new(state.range(R::KIND, after.as_ref())),
            Some(provider) => {
                find(&state, &ResourceName::provider(provider))?;
                Box::new(state.credentials(provider, after.as_ref()))
            }
        };
        let messages = rest.map(|stored| stored.message());
        let mut wanted = messages.filter(|message| filter.is_empty() || filter.matches(&message.dynamic()));
        let page: Vec<R> = wanted.by_ref().take(size).filter_map(|message| R::of(&message).cloned()).collect();
        Ok((page, wanted.next().is_some()))
    }
}

/// What a list is called in its page tokens.
fn collection(kind: Kind, provider: Option<&Id>) -> String {
    let parent = provider.map_or("-", Id::as_str);
    shape(kind).trim_end_matches("/ID").replace("ID", parent)
}

fn continued(after: &str, kind: Kind, collection: &str) -> Result<ResourceName, page::Fault> {
    let name = ResourceName::parse(after).ok().filter(|name| name.kind() == kind);
    name.ok_or_else(|| page::Fault::Token(collection.to_owned()))
}
