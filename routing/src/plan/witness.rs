//! What a walk can tell of itself on its way, to nobody or to an account of it.

use std::sync::Arc;

use super::Target;
use crate::{
    name::Id,
    runtime::{Provider, Redirect, RedirectTarget},
};

/// Whoever is told what a walk sees. A plan is made the same whether or not anybody listens.
pub(super) trait Witness<'a> {
    fn sees(&mut self, sight: impl FnOnce() -> Sight<'a>);
}

/// Nobody: the plan is all that is wanted.
impl<'a> Witness<'a> for () {
    fn sees(&mut self, _sight: impl FnOnce() -> Sight<'a>) {}
}

/// One thing that a walk sees.
pub(super) enum Sight<'a> {
    /// The key may not ask for the model.
    NotAllowed { model: &'a str },
    /// A redirect for the model is not for the caller.
    NotForCaller { redirect: &'a Redirect, model: &'a str },
    /// A redirect takes the model, and these would have but for it.
    Redirected { redirect: &'a Redirect, model: &'a str, outranked: Vec<&'a Redirect> },
    /// A redirect takes the model that it took before.
    Again { redirect: &'a Redirect, model: &'a str },
    /// The model is a provider's by its prefix.
    Prefixed { provider: &'a Provider, model: &'a str },
    /// The prefix is a provider's that serves other models.
    Unserved { provider: &'a Provider, model: &'a str },
    /// The prefix is a disabled provider's.
    PrefixDisabled { prefix: &'a str },
    /// Providers list the name.
    Listed { model: &'a str },
    /// No provider lists the name.
    Unlisted { model: &'a str },
    /// The default provider is asked for it.
    Default { provider: &'a Provider, model: &'a str },
    /// There is no default provider, or it is disabled.
    NoDefault { disabled: Option<&'a Id>, model: &'a str },
    /// The default provider is not asked: the prefix is somebody's.
    Claimed { prefix: &'a str },
    /// A place that is in the plan, and the redirect's target that led there, if one did.
    Taken { led_by: Option<&'a RedirectTarget>, target: Target },
    /// A place that is not in the plan.
    Excluded { led_by: Option<&'a RedirectTarget>, provider: &'a Id, model: Arc<str>, exclusion: Exclusion },
}

/// Why a place that was considered is not in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exclusion {
    /// The provider is disabled.
    #[error("the provider is disabled")]
    Disabled,
    /// The provider is for callers with a client key.
    #[error("the provider is only for callers with a client key")]
    NotForStrangers,
    /// The provider does not have the endpoint.
    #[error("the provider does not serve this endpoint")]
    NoEndpoint,
    /// The same provider is asked for the same model already.
    #[error("the same model of the same provider comes earlier")]
    Repeated,
}
