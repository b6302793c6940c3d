//! Everything that is wrong with a document, at once, and what it would change and mean. The document is tried as it is; where that
//! fails, what is at fault is set aside and the rest is tried again, so that one fault does not hide another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use signalbox_proto::admin::v1::{Change, Config, Finding, ValidateConfigRequest, ValidateConfigResponse};
use signalbox_routing::{self as routing, Fault, Kind, ResourceName};
use tokio::task::spawn_blocking;

use super::{Document, Plan, changes, prunes};
use crate::{
    admin::{
        error::{Error, Places, Violation},
        verbs::Verbs,
    },
    impact,
    ledger::{self, Ledger, Referenced, Refused, Written},
};

/// How often what is left of a document is tried again.
const MAX_ROUNDS: usize = 8;

/// A document under judgement.
struct Trial {
    config: Config,
    owner_labels: BTreeMap<String, String>,
    max_deletes: Option<u32>,
    standalone: bool,
    /// What was found to be at fault.
    aside: BTreeSet<ResourceName>,
    findings: Vec<Finding>,
}

impl Verbs {
    /// Judges a document.
    pub(in crate::admin) async fn validate(
        &self,
        request: ValidateConfigRequest,
    ) -> Result<ValidateConfigResponse, Error> {
        let ValidateConfigRequest { config, mode, owner_labels, standalone } = request;
        let max_deletes = prunes(mode, &owner_labels)?.then_some(u32::MAX);
        let config = config.ok_or_else(|| Violation::missing("config"))?;
        let says_settings = config.settings.is_some();
        let (aside, findings) = (BTreeSet::new(), Vec::new());
        let mut trial = Trial { config, owner_labels, max_deletes, standalone, aside, findings };
        let written = trial.run(self).await?;
        let revision = self.ledger().state().position.revision.get();
        let Trial { mut findings, .. } = trial;
        let Some(written) = written.filter(|_| findings.is_empty()) else {
            return Ok(ValidateConfigResponse { findings, changes: Vec::new(), revision });
        };
        let revision = if standalone { 0 } else { written.revision.get() };
        let mut changes: Vec<Change> = changes(&written, true);
        if standalone && !says_settings {
            changes.retain(|change| change.resource != ResourceName::settings().as_str());
        }
        findings.extend(spawn_blocking(move || meaning(&written, standalone)).await?);
        Ok(ValidateConfigResponse { findings, changes, revision })
    }
}

/// What the outcome means for clients, and what in it leads nowhere though the document does not touch it.
fn meaning(written: &Written, standalone: bool) -> Vec<Finding> {
    let Written { before, state, changes, .. } = written;
    let mut findings = if standalone { Vec::new() } else { impact::impact(before, state, changes) };
    let told: BTreeSet<(String, String)> =
        findings.iter().map(|finding| (finding.resource.clone(), finding.code.clone())).collect();
    let standing = impact::standing(state).into_iter();
    findings.extend(standing.filter(|finding| !told.contains(&(finding.resource.clone(), finding.code.clone()))));
    findings
}

impl Trial {
    /// Tries until nothing is left to be found. `None` = not even the rest can be had.
    async fn run(&mut self, verbs: &Verbs) -> Result<Option<Arc<Written>>, Error> {
        let unreadable = Document::read_some(self.config.clone(), &Arc::default()).1;
        self.findings.extend(unreadable.into_iter().map(of_violation));
        for _ in 0..MAX_ROUNDS {
            let error = match self.attempt(verbs).await {
                Ok(written) => return Ok(Some(Arc::new(written))),
                Err(error) => error,
            };
            let before = self.aside.len();
            self.learn(error)?;
            if self.aside.len() == before {
                break;
            }
        }
        Ok(None)
    }

    async fn attempt(&self, verbs: &Verbs) -> Result<Written, ledger::Error> {
        let (Document { mut wanted, .. }, _) = Document::read_some(self.config.clone(), &Arc::default());
        wanted.retain(|wanted| !self.aside.contains(&wanted.name));
        let (owner_labels, max_deletes) = (self.owner_labels.clone(), self.max_deletes);
        let plan = Plan { wanted, owner_labels, expected_revision: 0, max_deletes };
        if self.standalone { Ledger::alone(|state| plan.edits(state)) } else { verbs.rehearse(plan).await }
    }

    /// Takes down what an attempt failed on, and sets it aside.
    fn learn(&mut self, error: ledger::Error) -> Result<(), Error> {
        match error {
            ledger::Error::Invalid(findings) | ledger::Error::Refused(Refused::Invalid(findings)) => {
                findings.into_iter().for_each(|finding| self.blame(finding));
            }
            ledger::Error::Refused(Refused::Owned(owned)) => {
                for owned in owned {
                    self.findings.push(blocking(owned.name.as_str(), "labels", "OTHER_OWNER", owned.to_string()));
                    self.aside.insert(owned.name);
                }
            }
            ledger::Error::Referenced(referenced) => {
                for referenced in referenced {
                    let words = referenced.to_string();
                    let Referenced { name, by: _ } = referenced;
                    self.findings.push(blocking(name.as_str(), "", "REFERENCED", words));
                }
            }
            source => return Err(Error::Write { source, places: Places::default() }),
        }
        Ok(())
    }

    fn blame(&mut self, finding: routing::Finding) {
        let routing::Finding { resource, field, fault, effect: _ } = finding;
        // Whatever refers to what was set aside dangles for no fault of its own.
        let follows = matches!(&fault, Fault::Dangling(name) if self.aside.contains(name));
        if !follows {
            self.findings.push(blocking(resource.as_str(), &field, fault.reason(), fault.to_string()));
        }
        if resource.kind() == Kind::Settings {
            self.config.settings = None;
        }
        self.aside.insert(resource);
    }
}

fn of_violation(violation: Violation) -> Finding {
    let Violation { field, reason, description } = violation;
    blocking("", &field, reason, description)
}

fn blocking(resource: &str, field: &str, code: &str, message: String) -> Finding {
    Finding { resource: resource.to_owned(), field: field.to_owned(), code: code.to_owned(), message, blocking: true }
}
